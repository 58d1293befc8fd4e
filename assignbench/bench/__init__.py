"""``assignbench bench``: what assignment costs beside the least it could cost.

Definitions: docs/background/benchmarks.md.
"""
