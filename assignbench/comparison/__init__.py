"""Finished runs side by side: what may be compared, how sure a difference is, the table, and its printed forms."""
