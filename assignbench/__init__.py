"""assignbench: how much of a dense detector comes from its label assignment?"""

__version__ = "0.1.0"
