"""Convolutional GANs, one module each: `build_generator(resolution, ...)` and `build_discriminator(resolution,
...)`."""
