"""The lab: trains, prunes, rewinds, and writes down every prediction. It needs torch."""
