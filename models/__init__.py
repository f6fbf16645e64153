"""The GAN under test: `models.transgan`."""
