"""Training: one loop, its losses, and what makes it survive."""
