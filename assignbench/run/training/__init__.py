"""Learning: the loop, what it moves, what it keeps."""
