"""How much of a dense detector comes from its label assignment? This benchmark answers."""

__version__ = "0.1.0"
