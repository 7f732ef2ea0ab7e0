"""Verdicts: what the tests are, which belong to one family, and what may be said of a ticket."""
