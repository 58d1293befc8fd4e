"""Replays of golden vectors: whether a published preset is numerically its reference implementation."""
