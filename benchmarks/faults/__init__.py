"""Kill a running study at random moments, resume it, and compare what it leaves byte by byte."""
