"""A run's detector as one file that needs no assignbench, and a JSON file that says how to use it."""
