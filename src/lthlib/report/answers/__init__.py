"""Does a ticket keep its answers? Agreement beside what would come of it for a poor reason."""
