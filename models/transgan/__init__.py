"""TransGAN v1 (arXiv 2102.07074): generator and discriminator made of transformer blocks."""

from models.transgan.discriminator import Discriminator, build_discriminator
from models.transgan.generator import Generator, build_generator

__all__ = ["Discriminator", "Generator", "build_discriminator", "build_generator"]
