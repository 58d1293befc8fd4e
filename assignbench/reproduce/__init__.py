"""The paper's tables as experiments: rows, settings and claims in ``configs/experiments``."""
