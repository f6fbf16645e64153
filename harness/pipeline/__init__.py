"""Stages that need several packages: plan, sample, the choice of the best snapshot, the catalogue."""
