"""``assignbench data``: data sets on the disk."""
