"""The report: from records to measures, tests, tables and figures. Pandas, and never torch."""
