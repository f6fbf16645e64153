"""The 2015 Inception network (`inception-2015-12-05`), written once, as data.

From the table below come the GraphDef (`frozen_graph`), the names of the weights in each file format, and the torch
module (`torch_module`).

Source: the public frozen graph `classify_image_graph_def.pb`; names in the torch ports are pytorch-fid's.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SIZE = 299  # side of the network's input after ResizeBilinear, in pixels
MEAN, SCALE = 128.0, 0.0078125  # preamble: (pixel - 128) / 128
EPSILON = 0.001  # variance_epsilon of every BatchNormWithGlobalNormalization
CLASSES = 1008
FEATURE_NODES = {64: "pool", 192: "pool_1", 768: "mixed_7/join", 2048: "pool_3"}  # by channels; pytorch-fid's `--dims`
INPUT = "Mul"  # the last node of the preamble

# conv (convolution without bias -> batch norm -> relu), max, average (padding is not counted):
#   name, op, input, channels, kernel, stride, padding, name in the torch ports
# concat (over channels): name, op, inputs relative to the block
TABLE = """
conv                          conv    Mul                       32 3x3 2 VALID Conv2d_1a_3x3
conv_1                        conv    conv                      32 3x3 1 VALID Conv2d_2a_3x3
conv_2                        conv    conv_1                    64 3x3 1 SAME  Conv2d_2b_3x3
pool                          max     conv_2                     - 3x3 2 VALID
conv_3                        conv    pool                      80 1x1 1 VALID Conv2d_3b_1x1
conv_4                        conv    conv_3                   192 3x3 1 VALID Conv2d_4a_3x3
pool_1                        max     conv_4                     - 3x3 2 VALID
mixed/conv                    conv    pool_1                    64 1x1 1 SAME  Mixed_5b.branch1x1
mixed/tower/conv              conv    pool_1                    48 1x1 1 SAME  Mixed_5b.branch5x5_1
mixed/tower/conv_1            conv    mixed/tower/conv          64 5x5 1 SAME  Mixed_5b.branch5x5_2
mixed/tower_1/conv            conv    pool_1                    64 1x1 1 SAME  Mixed_5b.branch3x3dbl_1
mixed/tower_1/conv_1          conv    mixed/tower_1/conv        96 3x3 1 SAME  Mixed_5b.branch3x3dbl_2
mixed/tower_1/conv_2          conv    mixed/tower_1/conv_1      96 3x3 1 SAME  Mixed_5b.branch3x3dbl_3
mixed/tower_2/pool            average pool_1                     - 3x3 1 SAME
mixed/tower_2/conv            conv    mixed/tower_2/pool        32 1x1 1 SAME  Mixed_5b.branch_pool
mixed/join                    concat  conv tower/conv_1 tower_1/conv_2 tower_2/conv
mixed_1/conv                  conv    mixed/join                64 1x1 1 SAME  Mixed_5c.branch1x1
mixed_1/tower/conv            conv    mixed/join                48 1x1 1 SAME  Mixed_5c.branch5x5_1
mixed_1/tower/conv_1          conv    mixed_1/tower/conv        64 5x5 1 SAME  Mixed_5c.branch5x5_2
mixed_1/tower_1/conv          conv    mixed/join                64 1x1 1 SAME  Mixed_5c.branch3x3dbl_1
mixed_1/tower_1/conv_1        conv    mixed_1/tower_1/conv      96 3x3 1 SAME  Mixed_5c.branch3x3dbl_2
mixed_1/tower_1/conv_2        conv    mixed_1/tower_1/conv_1    96 3x3 1 SAME  Mixed_5c.branch3x3dbl_3
mixed_1/tower_2/pool          average mixed/join                 - 3x3 1 SAME
mixed_1/tower_2/conv          conv    mixed_1/tower_2/pool      64 1x1 1 SAME  Mixed_5c.branch_pool
mixed_1/join                  concat  conv tower/conv_1 tower_1/conv_2 tower_2/conv
mixed_2/conv                  conv    mixed_1/join              64 1x1 1 SAME  Mixed_5d.branch1x1
mixed_2/tower/conv            conv    mixed_1/join              48 1x1 1 SAME  Mixed_5d.branch5x5_1
mixed_2/tower/conv_1          conv    mixed_2/tower/conv        64 5x5 1 SAME  Mixed_5d.branch5x5_2
mixed_2/tower_1/conv          conv    mixed_1/join              64 1x1 1 SAME  Mixed_5d.branch3x3dbl_1
mixed_2/tower_1/conv_1        conv    mixed_2/tower_1/conv      96 3x3 1 SAME  Mixed_5d.branch3x3dbl_2
mixed_2/tower_1/conv_2        conv    mixed_2/tower_1/conv_1    96 3x3 1 SAME  Mixed_5d.branch3x3dbl_3
mixed_2/tower_2/pool          average mixed_1/join               - 3x3 1 SAME
mixed_2/tower_2/conv          conv    mixed_2/tower_2/pool      64 1x1 1 SAME  Mixed_5d.branch_pool
mixed_2/join                  concat  conv tower/conv_1 tower_1/conv_2 tower_2/conv
mixed_3/conv                  conv    mixed_2/join             384 3x3 2 VALID Mixed_6a.branch3x3
mixed_3/tower/conv            conv    mixed_2/join              64 1x1 1 SAME  Mixed_6a.branch3x3dbl_1
mixed_3/tower/conv_1          conv    mixed_3/tower/conv        96 3x3 1 SAME  Mixed_6a.branch3x3dbl_2
mixed_3/tower/conv_2          conv    mixed_3/tower/conv_1      96 3x3 2 VALID Mixed_6a.branch3x3dbl_3
mixed_3/pool                  max     mixed_2/join               - 3x3 2 VALID
mixed_3/join                  concat  conv tower/conv_2 pool
mixed_4/conv                  conv    mixed_3/join             192 1x1 1 SAME  Mixed_6b.branch1x1
mixed_4/tower/conv            conv    mixed_3/join             128 1x1 1 SAME  Mixed_6b.branch7x7_1
mixed_4/tower/conv_1          conv    mixed_4/tower/conv       128 1x7 1 SAME  Mixed_6b.branch7x7_2
mixed_4/tower/conv_2          conv    mixed_4/tower/conv_1     192 7x1 1 SAME  Mixed_6b.branch7x7_3
mixed_4/tower_1/conv          conv    mixed_3/join             128 1x1 1 SAME  Mixed_6b.branch7x7dbl_1
mixed_4/tower_1/conv_1        conv    mixed_4/tower_1/conv     128 7x1 1 SAME  Mixed_6b.branch7x7dbl_2
mixed_4/tower_1/conv_2        conv    mixed_4/tower_1/conv_1   128 1x7 1 SAME  Mixed_6b.branch7x7dbl_3
mixed_4/tower_1/conv_3        conv    mixed_4/tower_1/conv_2   128 7x1 1 SAME  Mixed_6b.branch7x7dbl_4
mixed_4/tower_1/conv_4        conv    mixed_4/tower_1/conv_3   192 1x7 1 SAME  Mixed_6b.branch7x7dbl_5
mixed_4/tower_2/pool          average mixed_3/join               - 3x3 1 SAME
mixed_4/tower_2/conv          conv    mixed_4/tower_2/pool     192 1x1 1 SAME  Mixed_6b.branch_pool
mixed_4/join                  concat  conv tower/conv_2 tower_1/conv_4 tower_2/conv
mixed_5/conv                  conv    mixed_4/join             192 1x1 1 SAME  Mixed_6c.branch1x1
mixed_5/tower/conv            conv    mixed_4/join             160 1x1 1 SAME  Mixed_6c.branch7x7_1
mixed_5/tower/conv_1          conv    mixed_5/tower/conv       160 1x7 1 SAME  Mixed_6c.branch7x7_2
mixed_5/tower/conv_2          conv    mixed_5/tower/conv_1     192 7x1 1 SAME  Mixed_6c.branch7x7_3
mixed_5/tower_1/conv          conv    mixed_4/join             160 1x1 1 SAME  Mixed_6c.branch7x7dbl_1
mixed_5/tower_1/conv_1        conv    mixed_5/tower_1/conv     160 7x1 1 SAME  Mixed_6c.branch7x7dbl_2
mixed_5/tower_1/conv_2        conv    mixed_5/tower_1/conv_1   160 1x7 1 SAME  Mixed_6c.branch7x7dbl_3
mixed_5/tower_1/conv_3        conv    mixed_5/tower_1/conv_2   160 7x1 1 SAME  Mixed_6c.branch7x7dbl_4
mixed_5/tower_1/conv_4        conv    mixed_5/tower_1/conv_3   192 1x7 1 SAME  Mixed_6c.branch7x7dbl_5
mixed_5/tower_2/pool          average mixed_4/join               - 3x3 1 SAME
mixed_5/tower_2/conv          conv    mixed_5/tower_2/pool     192 1x1 1 SAME  Mixed_6c.branch_pool
mixed_5/join                  concat  conv tower/conv_2 tower_1/conv_4 tower_2/conv
mixed_6/conv                  conv    mixed_5/join             192 1x1 1 SAME  Mixed_6d.branch1x1
mixed_6/tower/conv            conv    mixed_5/join             160 1x1 1 SAME  Mixed_6d.branch7x7_1
mixed_6/tower/conv_1          conv    mixed_6/tower/conv       160 1x7 1 SAME  Mixed_6d.branch7x7_2
mixed_6/tower/conv_2          conv    mixed_6/tower/conv_1     192 7x1 1 SAME  Mixed_6d.branch7x7_3
mixed_6/tower_1/conv          conv    mixed_5/join             160 1x1 1 SAME  Mixed_6d.branch7x7dbl_1
mixed_6/tower_1/conv_1        conv    mixed_6/tower_1/conv     160 7x1 1 SAME  Mixed_6d.branch7x7dbl_2
mixed_6/tower_1/conv_2        conv    mixed_6/tower_1/conv_1   160 1x7 1 SAME  Mixed_6d.branch7x7dbl_3
mixed_6/tower_1/conv_3        conv    mixed_6/tower_1/conv_2   160 7x1 1 SAME  Mixed_6d.branch7x7dbl_4
mixed_6/tower_1/conv_4        conv    mixed_6/tower_1/conv_3   192 1x7 1 SAME  Mixed_6d.branch7x7dbl_5
mixed_6/tower_2/pool          average mixed_5/join               - 3x3 1 SAME
mixed_6/tower_2/conv          conv    mixed_6/tower_2/pool     192 1x1 1 SAME  Mixed_6d.branch_pool
mixed_6/join                  concat  conv tower/conv_2 tower_1/conv_4 tower_2/conv
mixed_7/conv                  conv    mixed_6/join             192 1x1 1 SAME  Mixed_6e.branch1x1
mixed_7/tower/conv            conv    mixed_6/join             192 1x1 1 SAME  Mixed_6e.branch7x7_1
mixed_7/tower/conv_1          conv    mixed_7/tower/conv       192 1x7 1 SAME  Mixed_6e.branch7x7_2
mixed_7/tower/conv_2          conv    mixed_7/tower/conv_1     192 7x1 1 SAME  Mixed_6e.branch7x7_3
mixed_7/tower_1/conv          conv    mixed_6/join             192 1x1 1 SAME  Mixed_6e.branch7x7dbl_1
mixed_7/tower_1/conv_1        conv    mixed_7/tower_1/conv     192 7x1 1 SAME  Mixed_6e.branch7x7dbl_2
mixed_7/tower_1/conv_2        conv    mixed_7/tower_1/conv_1   192 1x7 1 SAME  Mixed_6e.branch7x7dbl_3
mixed_7/tower_1/conv_3        conv    mixed_7/tower_1/conv_2   192 7x1 1 SAME  Mixed_6e.branch7x7dbl_4
mixed_7/tower_1/conv_4        conv    mixed_7/tower_1/conv_3   192 1x7 1 SAME  Mixed_6e.branch7x7dbl_5
mixed_7/tower_2/pool          average mixed_6/join               - 3x3 1 SAME
mixed_7/tower_2/conv          conv    mixed_7/tower_2/pool     192 1x1 1 SAME  Mixed_6e.branch_pool
mixed_7/join                  concat  conv tower/conv_2 tower_1/conv_4 tower_2/conv
mixed_8/tower/conv            conv    mixed_7/join             192 1x1 1 SAME  Mixed_7a.branch3x3_1
mixed_8/tower/conv_1          conv    mixed_8/tower/conv       320 3x3 2 VALID Mixed_7a.branch3x3_2
mixed_8/tower_1/conv          conv    mixed_7/join             192 1x1 1 SAME  Mixed_7a.branch7x7x3_1
mixed_8/tower_1/conv_1        conv    mixed_8/tower_1/conv     192 1x7 1 SAME  Mixed_7a.branch7x7x3_2
mixed_8/tower_1/conv_2        conv    mixed_8/tower_1/conv_1   192 7x1 1 SAME  Mixed_7a.branch7x7x3_3
mixed_8/tower_1/conv_3        conv    mixed_8/tower_1/conv_2   192 3x3 2 VALID Mixed_7a.branch7x7x3_4
mixed_8/pool                  max     mixed_7/join               - 3x3 2 VALID
mixed_8/join                  concat  tower/conv_1 tower_1/conv_3 pool
mixed_9/conv                  conv    mixed_8/join             320 1x1 1 SAME  Mixed_7b.branch1x1
mixed_9/tower/conv            conv    mixed_8/join             384 1x1 1 SAME  Mixed_7b.branch3x3_1
mixed_9/tower/mixed/conv      conv    mixed_9/tower/conv       384 1x3 1 SAME  Mixed_7b.branch3x3_2a
mixed_9/tower/mixed/conv_1    conv    mixed_9/tower/conv       384 3x1 1 SAME  Mixed_7b.branch3x3_2b
mixed_9/tower_1/conv          conv    mixed_8/join             448 1x1 1 SAME  Mixed_7b.branch3x3dbl_1
mixed_9/tower_1/conv_1        conv    mixed_9/tower_1/conv     384 3x3 1 SAME  Mixed_7b.branch3x3dbl_2
mixed_9/tower_1/mixed/conv    conv    mixed_9/tower_1/conv_1   384 1x3 1 SAME  Mixed_7b.branch3x3dbl_3a
mixed_9/tower_1/mixed/conv_1  conv    mixed_9/tower_1/conv_1   384 3x1 1 SAME  Mixed_7b.branch3x3dbl_3b
mixed_9/tower_2/pool          average mixed_8/join               - 3x3 1 SAME
mixed_9/tower_2/conv          conv    mixed_9/tower_2/pool     192 1x1 1 SAME  Mixed_7b.branch_pool
mixed_9/join  concat  conv tower/mixed/conv tower/mixed/conv_1 tower_1/mixed/conv tower_1/mixed/conv_1 tower_2/conv
mixed_10/conv                 conv    mixed_9/join             320 1x1 1 SAME  Mixed_7c.branch1x1
mixed_10/tower/conv           conv    mixed_9/join             384 1x1 1 SAME  Mixed_7c.branch3x3_1
mixed_10/tower/mixed/conv     conv    mixed_10/tower/conv      384 1x3 1 SAME  Mixed_7c.branch3x3_2a
mixed_10/tower/mixed/conv_1   conv    mixed_10/tower/conv      384 3x1 1 SAME  Mixed_7c.branch3x3_2b
mixed_10/tower_1/conv         conv    mixed_9/join             448 1x1 1 SAME  Mixed_7c.branch3x3dbl_1
mixed_10/tower_1/conv_1       conv    mixed_10/tower_1/conv    384 3x3 1 SAME  Mixed_7c.branch3x3dbl_2
mixed_10/tower_1/mixed/conv   conv    mixed_10/tower_1/conv_1  384 1x3 1 SAME  Mixed_7c.branch3x3dbl_3a
mixed_10/tower_1/mixed/conv_1 conv    mixed_10/tower_1/conv_1  384 3x1 1 SAME  Mixed_7c.branch3x3dbl_3b
mixed_10/tower_2/pool         max     mixed_9/join               - 3x3 1 SAME
mixed_10/tower_2/conv         conv    mixed_10/tower_2/pool    192 1x1 1 SAME  Mixed_7c.branch_pool
mixed_10/join  concat  conv tower/mixed/conv tower/mixed/conv_1 tower_1/mixed/conv tower_1/mixed/conv_1 tower_2/conv
pool_3                        average mixed_10/join              - 8x8 1 VALID
"""


@dataclass(frozen=True)
class Layer:
    """One row of the table; `channels` and `port` are set for convolutions only, `kernel` is (height, width)."""

    name: str
    op: str  # conv | max | average | concat
    inputs: tuple[str, ...]
    channels: int = 0
    kernel: tuple[int, int] = (0, 0)
    stride: int = 1
    padding: str = ""  # SAME | VALID
    port: str = ""  # name in the torch ports


def _parse(row: str) -> Layer:
    name, op, *rest = row.split()
    if op == "concat":
        block = name.rsplit("/", 1)[0]
        return Layer(name, op, tuple(f"{block}/{branch}" for branch in rest))
    source, channels, kernel, stride, padding, *port = rest
    height, width = kernel.split("x")
    out = int(channels) if op == "conv" else 0
    return Layer(name, op, (source,), out, (int(height), int(width)), int(stride), padding, "".join(port))


NETWORK = tuple(_parse(row) for row in TABLE.split("\n") if row)


def layers(channels: int = 2048) -> tuple[Layer, ...]:
    """Return the rows needed for the feature layer with that many channels (64, 192, 768, 2048), inputs first."""
    names = [layer.name for layer in NETWORK]
    return NETWORK[: names.index(FEATURE_NODES[channels]) + 1]


def convolutions(channels: int = 2048) -> dict[str, tuple[int, int, int, int]]:
    """Return each convolution's kernel shape (height, width, in, out), by name, up to the feature layer `channels`."""
    width = {INPUT: 3}
    shapes = {}
    for layer in layers(channels):
        incoming = sum(width[name] for name in layer.inputs)
        width[layer.name] = layer.channels or incoming
        if layer.op == "conv":
            shapes[layer.name] = (*layer.kernel, incoming, layer.channels)
    return shapes


@dataclass(frozen=True)
class ConvParameters:
    """One convolution with its batch norm: kernel float32 [height, width, in, out], the others float32 [out]."""

    kernel: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    def folded(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (kernel, bias) float32 with the batch norm folded in (in float64)."""
        factor = self.gamma.astype(np.float64) / np.sqrt(self.variance.astype(np.float64) + EPSILON)
        bias = self.beta - self.mean * factor
        return (self.kernel * factor).astype(np.float32), bias.astype(np.float32)


def unfolded(kernel: np.ndarray, bias: np.ndarray) -> ConvParameters:
    """Return folded weights with the batch norm that adds the bias: gamma 1, beta = bias, mean 0, variance 1 - eps."""
    one = np.ones_like(bias, dtype=np.float32)
    return ConvParameters(kernel, one, bias, 0 * one, one - np.float32(EPSILON))


@dataclass(frozen=True)
class Parameters:
    """All weights up to a layer; the softmax pair exists only when the network reaches layer 2048."""

    convs: dict[str, ConvParameters]
    softmax_weights: np.ndarray | None  # float32 [2048, 1008]
    softmax_biases: np.ndarray | None  # float32 [1008]

    def arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield every array by name, in the order of the table."""
        for scope, conv in self.convs.items():
            for name in ("kernel", "gamma", "beta", "mean", "variance"):
                yield f"{scope}/{name}", getattr(conv, name)
        if self.softmax_weights is not None and self.softmax_biases is not None:
            yield "softmax/weights", self.softmax_weights
            yield "softmax/biases", self.softmax_biases

    def sha256(self) -> str:
        """Return the sha256 of all names, shapes and values: the same whatever file they came in."""
        digest = hashlib.sha256()
        for name, array in self.arrays():
            digest.update(f"{name} {list(array.shape)}\n".encode())
            digest.update(np.ascontiguousarray(array, dtype="<f4").data)
        return digest.hexdigest()

    @property
    def deepest(self) -> int:
        """Return the deepest feature layer (64, 192, 768, 2048) that these weights reach."""
        return max(c for c in FEATURE_NODES if convolutions(c).keys() <= self.convs.keys())


def stand_in(seed: int = 2015) -> Parameters:
    """Return seeded weights of the network's shapes: He-normal kernels (so that features neither vanish nor explode).

    The batch norms are near, not at, the identity, so that exchanging two of their vectors is visible in the features.
    """
    random = np.random.Generator(np.random.PCG64(seed))

    def normal(shape: tuple[int, ...], sd: float) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32) * np.float32(sd)

    convs = {}
    for name, shape in convolutions().items():
        out = shape[-1:]
        kernel = normal(shape, (2 / np.prod(shape[:3])) ** 0.5)
        gamma, beta, mean, variance = (c + normal(out, 0.05) for c in (1, 0, 0, 1))
        convs[name] = ConvParameters(kernel, gamma, beta, mean, np.abs(variance))
    return Parameters(convs, normal((2048, CLASSES), 0.3), normal((CLASSES,), 0.1))
