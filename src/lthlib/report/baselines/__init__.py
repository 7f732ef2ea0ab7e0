"""What text alone answers: the recorded counts of rules that see no image."""
