"""The questions that the main source leaves open, one module each."""
