"""Finished runs side by side: what may be compared, the table, and its printed forms."""

from assignbench.compare.checks import select
from assignbench.compare.table import METRICS, Block, Cell, Row, Table, compare

__all__ = ["METRICS", "Block", "Cell", "Row", "Table", "compare", "select"]
