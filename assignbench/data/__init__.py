"""Data sets: annotation files in, checked arrays and batches out."""
