"""Build a detector for a mark of one's own from one picture of it."""
