"""Strategies × data sets × seeds: what is to be run, and running it."""
