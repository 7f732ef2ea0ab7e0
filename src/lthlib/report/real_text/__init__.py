"""Real captions and reports, read by the tiny models: blind, or with regions that are made up."""
