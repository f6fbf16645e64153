"""Scorers, kernels and the Inception network."""
