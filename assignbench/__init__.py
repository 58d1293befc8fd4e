"""How much of a dense detector comes from its label assignment? This benchmark answers."""

from assignbench.api import Comparison, compare, load

__all__ = ["Comparison", "__version__", "compare", "load"]

__version__ = "0.1.0"
