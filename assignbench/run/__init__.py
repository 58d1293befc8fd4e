"""Train, evaluate and record one run; the loop over a whole comparison."""
