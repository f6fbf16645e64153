"""TransGAN v1 (arXiv 2102.07074): generator and critic made of transformer blocks."""

from models.transgan.critic import Critic, build_critic
from models.transgan.generator import Generator, build_generator

__all__ = ["Critic", "Generator", "build_critic", "build_generator"]
