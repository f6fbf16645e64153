"""Convolutional GANs, one module each, with `build_generator` and `build_discriminator`."""
