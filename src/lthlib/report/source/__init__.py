"""The main source: its numbers, and each of its tables and figures made again from our records."""
