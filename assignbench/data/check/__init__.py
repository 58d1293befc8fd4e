"""Everything that is odd about a data set, found, listed and repaired."""
