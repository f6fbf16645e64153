"""SN-GAN, residual version (Miyato et al., arXiv 1802.05957): pfnet-research/sngan_projection@e84b1a5."""

from torch import nn

from baselines.blocks import build_resnet_discriminator, build_resnet_generator


def build_generator(resolution: int, *, width: int = 256, up: str = "nearest", init: str = "chainer") -> nn.Module:
    """Build the generator: latent [N,128] -> image [N,3,R,R] in (-1, 1), R of 32, 48, 64.

    Args:
        resolution: side R in pixels.
        width: 256 is the published size; another value scales every layer by width / 256.
        up: `nearest` (Chainer, sngan.pytorch, pytorch-gan-collections) or `bilinear` (mimicry).
        init: a name of `baselines.blocks.INITS`.

    Raises:
        ValueError: an option outside its list.
    """
    return build_resnet_generator(resolution, width=width, up=up, init=init)


def build_discriminator(
    resolution: int,
    *,
    width: int = 128,
    shortcut: str = "raw",
    pool: str = "sum",
    head_bias: bool = False,
    spectral_norm: bool = True,
    init: str = "chainer",
    late_init: bool = False,
) -> nn.Module:
    """Build the discriminator: image [N,3,R,R] -> logit [N,1], spectral norm on every layer.

    Args:
        resolution: side R in pixels.
        width: 128 is the published size; another value scales every layer by width / 128.
        shortcut: what the shortcuts read, `raw` or `relu` (mimicry's in-place ReLU).
        pool: `sum` or `mean` over space before the head.
        head_bias: whether the linear head has a bias (mimicry: yes).
        spectral_norm: off only to compare with numbers of the plain layers.
        init: a name of `baselines.blocks.INITS`.
        late_init: initialise after spectral norm as in sngan.pytorch: without effect, PyTorch's default stays.

    Raises:
        ValueError: an option outside its list.
    """
    return build_resnet_discriminator(
        resolution,
        width=width,
        shortcut=shortcut,
        pool=pool,
        head_bias=head_bias,
        spectral=spectral_norm,
        init=init,
        late_init=late_init,
    )
