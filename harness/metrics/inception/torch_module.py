"""The 2015 Inception network as a torch module, built from the topology table."""

import torch
from torch import nn
from torch.nn import functional

from harness.metrics.inception.topology import FEATURE_NODES, INPUT, MEAN, SCALE, Layer, Parameters, layers


class Inception(nn.Module):
    """Features of 299 px images at one layer, evaluated only that far; batch norms are folded into the weights."""

    def __init__(self, parameters: Parameters, channels: int = 2048):
        """Build the network.

        Args:
            parameters: weights that reach the layer.
            channels: 64, 192, 768 or 2048.
        """
        super().__init__()
        self._layers = layers(channels)
        self._output = FEATURE_NODES[channels]
        last_reader = {name: layer.name for layer in self._layers for name in layer.inputs}
        # activations to drop after each row: all of them at batch 50 would take several GB
        self._spent = {layer.name: [n for n in layer.inputs if last_reader[n] == layer.name] for layer in self._layers}
        self.convs = nn.ModuleDict({x.name: _convolution(x, parameters) for x in self._layers if x.op == "conv"})
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map float32 [n, 3, 299, 299] in 0..255 to float32 [n, channels], averaged over space."""
        values = {INPUT: (images - MEAN) * SCALE}
        for layer in self._layers:
            inputs = [values[name] for name in layer.inputs]
            values[layer.name] = self._row(layer, inputs)
            for name in self._spent[layer.name]:
                del values[name]
        return values[self._output].mean(dim=(2, 3))

    def _row(self, layer: Layer, inputs: list[torch.Tensor]) -> torch.Tensor:
        if layer.op == "conv":
            return functional.relu(self.convs[layer.name](inputs[0]), inplace=True)
        if layer.op == "concat":
            return torch.cat(inputs, dim=1)
        if layer.op == "max":
            return functional.max_pool2d(inputs[0], layer.kernel, layer.stride, _padding(layer))
        return functional.avg_pool2d(inputs[0], layer.kernel, layer.stride, _padding(layer), count_include_pad=False)


def build(parameters: Parameters, channels: int = 2048) -> Inception:
    """Return the network in evaluation mode; see `Inception`."""
    return Inception(parameters, channels)


def _convolution(layer: Layer, parameters: Parameters) -> nn.Conv2d:
    kernel, bias = parameters.convs[layer.name].folded()
    height, width, cin, out = kernel.shape
    conv = nn.utils.skip_init(nn.Conv2d, cin, out, (height, width), layer.stride, _padding(layer))
    conv.weight.data.copy_(torch.from_numpy(kernel).permute(3, 2, 0, 1))
    assert conv.bias is not None, "a convolution with its batch norm folded in has a bias"
    conv.bias.data.copy_(torch.from_numpy(bias))
    return conv


def _padding(layer: Layer) -> tuple[int, int]:
    """Return TensorFlow's SAME padding, which is symmetric here: every SAME row has stride 1 and an odd kernel."""
    if layer.padding == "VALID":
        return 0, 0
    assert layer.stride == 1, "TensorFlow pads a strided SAME window unevenly; the network has none"
    return layer.kernel[0] // 2, layer.kernel[1] // 2
