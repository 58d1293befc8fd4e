"""The built-in strategies: one strategy, one file, importing only `assignbench.core`.

They enter through the entry-point group ``assignbench.assigners``, exactly as a stranger's do.
"""
