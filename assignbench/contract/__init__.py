"""What every strategy must keep: the laws, and how two of its records are compared."""
