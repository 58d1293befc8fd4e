"""``assignbench doctor``: this machine."""
