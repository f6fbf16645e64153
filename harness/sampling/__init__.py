"""Generator to uint8 images: draws, value ranges, quantisation, grids."""
