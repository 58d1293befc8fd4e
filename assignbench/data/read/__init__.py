"""Annotation files to checked arrays: one reader a format, one gate behind them all."""
