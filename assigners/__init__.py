"""The built-in strategies: one strategy, one file, importing `assignbench.core`, its `parts` and its presets.

They enter through the entry-point group ``assignbench.assigners``, exactly as a stranger's do.
"""
