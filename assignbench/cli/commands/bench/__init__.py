"""``assignbench bench``: time and memory."""
