"""Kernels: what makes the vocabulary fast. Strategies never import them; beside each, tests hold a naive reading."""
