"""WGAN-GP, residual version (Gulrajani et al., arXiv 1704.00028).

The layout of w86763777/pytorch-gan-collections@860e90b with the mean pooling of the paper's code. The network
of that code at 64 pixels is another one: `baselines.wgan_gp_original`.
"""

from torch import nn

from baselines.blocks import build_resnet_discriminator, build_resnet_generator


def build_generator(resolution: int, *, width: int = 256, up: str = "nearest", init: str = "chainer") -> nn.Module:
    """Build the generator: latent [N,128] -> image [N,3,R,R] in (-1, 1), R of 16, 32, 48, 64.

    Args:
        resolution: side R in pixels.
        width: 256 as in every later comparison; igul222/improved_wgan_training@fa66c57 has 128 at 32 pixels.
        up: `nearest` or `bilinear` (mimicry).
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
    pool: str = "mean",
    head_bias: bool = True,
    init: str = "chainer",
) -> nn.Module:
    """Build the discriminator: image [N,3,R,R] -> value [N,1]; no normalisation, twice differentiable.

    Args:
        resolution: side R in pixels.
        width: 128 is the published size; another value scales every layer by width / 128.
        shortcut: what the shortcuts read, `raw` or `relu` (mimicry's in-place ReLU).
        pool: `mean` (the paper's code, mimicry) or `sum` (pytorch-gan-collections) over space before the head.
        head_bias: whether the linear head has a bias.
        init: a name of `baselines.blocks.INITS`.

    Raises:
        ValueError: an option outside its list.
    """
    return build_resnet_discriminator(
        resolution, width=width, shortcut=shortcut, pool=pool, head_bias=head_bias, spectral=False, init=init
    )
