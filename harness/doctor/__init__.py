"""Is this machine fit for a scale, and what will the scale cost."""
