"""DCGAN (Radford et al., arXiv 1511.06434): three unrelated networks carry the name.

`classic`: w86763777/pytorch-gan-collections@860e90b. `resnet` and `resnet-sigmoid`: kwotsin/mimicry@a7fda06. `ttur`:
bioinf-jku/TTUR@73ab375, behind the CelebA number that TransGAN's table quotes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.blocks import STAGES, build_resnet_discriminator, build_resnet_generator, checked

RESOLUTIONS = tuple(STAGES)
NETWORKS = ("classic", "resnet", "resnet-sigmoid", "ttur")
LATENT_DIM = 100
DISCRIMINATOR_WIDTHS = (64, 128, 256, 512)


class ClassicGenerator(nn.Module):
    """Five transposed convolutions without bias, batch norm and ReLU after all but the last, tanh."""

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.latent_dim = LATENT_DIM
        self.convs = nn.ModuleList([nn.ConvTranspose2d(LATENT_DIM, 1024, resolution // 16, bias=False)])
        for i, o in ((1024, 512), (512, 256), (256, 128), (128, 3)):
            self.convs.append(nn.ConvTranspose2d(i, o, 4, stride=2, padding=1, bias=False))
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) for w in (1024, 512, 256, 128))

    def forward(self, z: Tensor) -> Tensor:
        """Map latents [N,100] to images [N,3,R,R] in (-1, 1)."""
        x = z[:, :, None, None]
        for conv, norm in zip(self.convs, self.norms, strict=False):
            x = F.relu(norm(conv(x)))
        return torch.tanh(self.convs[-1](x))


class TturGenerator(nn.Module):
    """Linear layer and four transposed convolutions 5x5; batch norm and ReLU after all but the last, tanh.

    The published latent is uniform in (-1, 1); here it is that function of the N(0, 1) latent.
    """

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.latent_dim = LATENT_DIM
        self.first_shape = (512, resolution // 16, resolution // 16)
        self.linear = nn.Linear(LATENT_DIM, math.prod(self.first_shape))
        widths = ((512, 256), (256, 128), (128, 64), (64, 3))
        # TensorFlow pads the two sides of an axis the other way round: the same networks up to a mirror
        self.convs = nn.ModuleList(
            nn.ConvTranspose2d(i, o, 5, stride=2, padding=2, output_padding=1) for i, o in widths
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) for w in (512, 256, 128, 64))

    def forward(self, z: Tensor) -> Tensor:
        """Map latents [N,100] to images [N,3,R,R] in (-1, 1)."""
        x = self.linear(torch.erf(z / math.sqrt(2))).view(-1, *self.first_shape)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = conv(F.relu(norm(x)))
        return torch.tanh(x)


class StridedDiscriminator(nn.Module):
    """Four 5x5 convolutions of stride 2, then a linear head; no batch norm in the first layer.

    `norm_first`: batch norm before the leaky ReLU (and convolutions with bias), or after it (and without bias).
    """

    def __init__(self, resolution: int, norm_first: bool) -> None:
        super().__init__()
        self.resolution = resolution
        self.norm_first = norm_first
        widths = zip((3, *DISCRIMINATOR_WIDTHS[:-1]), DISCRIMINATOR_WIDTHS, strict=True)
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 5, stride=2, padding=2, bias=norm_first) for i, o in widths)
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) for w in DISCRIMINATOR_WIDTHS[1:])
        self.head = nn.Linear(DISCRIMINATOR_WIDTHS[-1] * (resolution // 16) ** 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N,3,R,R] to logits [N,1]."""
        x = F.leaky_relu(self.convs[0](x), 0.2)
        for conv, norm in zip(self.convs[1:], self.norms, strict=True):
            x = F.leaky_relu(norm(conv(x)), 0.2) if self.norm_first else norm(F.leaky_relu(conv(x), 0.2))
        return self.head(x.flatten(1))


def _initialise_ttur(net: nn.Module) -> nn.Module:
    """Draw every weight from N(0, 0.02^2), zero the biases; batch norms stay at 1 and 0 (bioinf-jku/TTUR@73ab375)."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            assert layer.bias is not None, "every layer of this network has a bias"
            nn.init.zeros_(layer.bias)
    return net


def build_generator(resolution: int, *, network: str = "classic") -> nn.Module:
    """Build the generator: latent [N,100] (residual: [N,128]) -> image [N,3,R,R] in (-1, 1), R of 32, 48, 64.

    Args:
        resolution: side R in pixels.
        network: `classic`, `resnet`, `resnet-sigmoid` (its image in (0, 1) is stretched to (-1, 1)) or `ttur`.

    Raises:
        ValueError: an option outside its list.
    """
    checked("resolution", resolution, RESOLUTIONS)
    checked("network", network, NETWORKS)
    if network == "classic":
        return ClassicGenerator(resolution)
    if network == "ttur":
        return _initialise_ttur(TturGenerator(resolution))
    output = "sigmoid" if network == "resnet-sigmoid" else "tanh"
    return build_resnet_generator(resolution, width=256, up="bilinear", init="mimicry", output=output)


def build_discriminator(resolution: int, *, network: str = "classic") -> nn.Module:
    """Build the discriminator: image [N,3,R,R] in [-1, 1] -> logit [N,1].

    Args:
        resolution: side R in pixels.
        network: as for the generator; the discriminator of `resnet-sigmoid` works on (x + 1) / 2.

    Raises:
        ValueError: an option outside its list.
    """
    checked("resolution", resolution, RESOLUTIONS)
    checked("network", network, NETWORKS)
    if network == "classic":
        return StridedDiscriminator(resolution, norm_first=False)
    if network == "ttur":
        return _initialise_ttur(StridedDiscriminator(resolution, norm_first=True))
    return build_resnet_discriminator(
        resolution,
        width=128,
        shortcut="relu",
        pool="sum",
        head_bias=True,
        spectral=False,
        init="mimicry",
        unit_range=network == "resnet-sigmoid",
    )
