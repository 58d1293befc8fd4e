"""``assignbench report``: a comparison as a page that people send to each other."""
