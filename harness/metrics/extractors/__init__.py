"""Inception features: one extractor a scorer, and the resizers before it."""
