"""The 2015 network as a TensorFlow GraphDef: written from the topology table, and read back by following its edges."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.metrics.inception import graphdef
from harness.metrics.inception.topology import (
    CLASSES,
    EPSILON,
    FEATURE_NODES,
    INPUT,
    MEAN,
    NETWORK,
    SCALE,
    SIZE,
    ConvParameters,
    Layer,
    Parameters,
    convolutions,
    layers,
)

_POOLS = {"max": "MaxPool", "average": "AvgPool"}
_PASS_THROUGH = {"Identity", "CheckNumerics", "Reshape", "Squeeze", "StopGradient", "PlaceholderWithDefault"}
_NORM = "BatchNormWithGlobalNormalization"
_SHAPES = convolutions()
_FLOAT = {"T": graphdef.FLOAT}


# ---------------------------------------------------------------- writing


def build(parameters: Parameters) -> Any:
    """Return a GraphDef with node names and ops of the 2015 file, as deep as the parameters reach.

    `DecodeJpeg -> Cast -> ExpandDims -> ResizeBilinear -> Sub -> Mul -> network -> pool_3 -> softmax`; weights that end
    at `mixed_7` give a graph that ends in `mixed_7/join`.
    """
    graph = graphdef.new_graph()
    _add_preamble(graph)
    for layer in layers(parameters.deepest):
        if layer.op == "conv":
            _add_convolution(graph, layer, parameters.convs[layer.name])
        elif layer.op == "concat":
            axis = graphdef.add_constant(graph, f"{layer.name}/concat_dim", np.array(3, np.int32))
            graphdef.add_node(graph, layer.name, "Concat", (axis, *layer.inputs), N=len(layer.inputs), **_FLOAT)
        else:
            graphdef.add_node(graph, layer.name, _POOLS[layer.op], layer.inputs, **_window(layer), **_FLOAT)
    if parameters.softmax_weights is not None and parameters.softmax_biases is not None:
        _add_classifier(graph, parameters.softmax_weights, parameters.softmax_biases)
    return graph


def _add_preamble(graph: Any) -> None:
    def constant(name: str, value: Any, dtype: Any) -> str:
        return graphdef.add_constant(graph, name, np.array(value, dtype))

    add = graphdef.add_node
    add(graph, "DecodeJpeg", "DecodeJpeg", (constant("DecodeJpeg/contents", b"", "S"),), channels=3)
    add(graph, "Cast", "Cast", ("DecodeJpeg",), SrcT=graphdef.UINT8, DstT=graphdef.FLOAT)
    add(graph, "ExpandDims", "ExpandDims", ("Cast", constant("ExpandDims/dim", 0, np.int32)), **_FLOAT)
    size = constant("ResizeBilinear/size", [SIZE, SIZE], np.int32)
    add(graph, "ResizeBilinear", "ResizeBilinear", ("ExpandDims", size), align_corners=False, **_FLOAT)
    add(graph, "Sub", "Sub", ("ResizeBilinear", constant("Sub/y", MEAN, np.float32)), **_FLOAT)
    add(graph, INPUT, "Mul", ("Sub", constant("Mul/y", SCALE, np.float32)), **_FLOAT)


def _add_convolution(graph: Any, layer: Layer, weights: ConvParameters) -> None:
    scope, add = layer.name, graphdef.add_node
    kernel = graphdef.add_constant(graph, f"{scope}/conv2d_params", weights.kernel)
    strides = [1, layer.stride, layer.stride, 1]
    add(graph, f"{scope}/Conv2D", "Conv2D", (*layer.inputs, kernel), strides=strides, padding=layer.padding, **_FLOAT)
    vectors = {
        "moving_mean": weights.mean,
        "moving_variance": weights.variance,
        "beta": weights.beta,
        "gamma": weights.gamma,
    }
    names = (graphdef.add_constant(graph, f"{scope}/batchnorm/{name}", value) for name, value in vectors.items())
    scaled = {"variance_epsilon": EPSILON, "scale_after_normalization": True}
    add(graph, f"{scope}/batchnorm", _NORM, (f"{scope}/Conv2D", *names), **scaled, **_FLOAT)
    add(graph, scope, "Relu", (f"{scope}/batchnorm",), **_FLOAT)


def _add_classifier(graph: Any, weights: np.ndarray, biases: np.ndarray) -> None:
    add, constant = graphdef.add_node, graphdef.add_constant
    shape = constant(graph, "pool_3/_reshape/shape", np.array([-1, len(weights)], np.int32))
    add(graph, "pool_3/_reshape", "Reshape", (FEATURE_NODES[2048], shape), **_FLOAT)
    inputs = ("pool_3/_reshape", constant(graph, "softmax/weights", weights))
    add(graph, "softmax/logits/MatMul", "MatMul", inputs, **_FLOAT)
    inputs = ("softmax/logits/MatMul", constant(graph, "softmax/biases", biases))
    add(graph, "softmax/logits", "BiasAdd", inputs, **_FLOAT)
    add(graph, "softmax", "Softmax", ("softmax/logits",), **_FLOAT)


def _window(layer: Layer) -> dict[str, Any]:
    height, width = layer.kernel
    return {"ksize": [1, height, width, 1], "strides": [1, layer.stride, layer.stride, 1], "padding": layer.padding}


# ---------------------------------------------------------------- reading


def convert(graph: Any, where: str) -> Parameters:
    """Read the weights of a 2015 graph, checking its topology against the table edge by edge.

    Only the weights are taken: the graph that runs is always written by `build`, so that nothing else in the file is
    executed. Node names matter only at the outputs (`pool_3`, or `mixed_7/join` in a truncated graph) and at the
    classifier; nodes that pass their input through (CheckNumerics, control_dependency, reshape) may stand on any edge.

    Raises:
        HarnessError: another network, or a damaged one; names `where`, the node and what was expected there.
    """
    return _Reader(graph, where).read()


class _Reader:
    def __init__(self, graph: Any, where: str):
        self.nodes = {node.name: node for node in graph.node}
        self.where = where
        if len(self.nodes) < len(graph.node):
            raise HarnessError(f"{where}: two nodes have one name; it is damaged.")

    def read(self) -> Parameters:
        outputs = [channels for channels, name in FEATURE_NODES.items() if name in self.nodes]
        if not outputs:
            raise HarnessError(f"{self.where}: no node {' or '.join(FEATURE_NODES.values())}: not the 2015 Inception.")
        deepest = max(outputs)
        found = {FEATURE_NODES[deepest]: self.nodes[FEATURE_NODES[deepest]]}  # table row -> node that computes it
        convs: dict[str, ConvParameters] = {}
        for layer in reversed(layers(deepest)):  # every row's readers come before it
            node = found[layer.name]
            incoming = self.convolution(layer, node, convs) if layer.op == "conv" else self.window(layer, node)
            for name, source in zip(layer.inputs, incoming, strict=True):
                if found.setdefault(name, source) is not source:
                    self.fail(source, f"{layer.name} reads it, expected {found[name].name}")
        self.preamble(found[INPUT])
        convs = {layer.name: convs[layer.name] for layer in NETWORK if layer.name in convs}
        classifier = self.classifier() if deepest == 2048 else (None, None)
        return Parameters(convs, *classifier)

    def fail(self, node: Any, problem: str) -> None:
        raise HarnessError(
            f"{self.where}: node {node.name} ({node.op}): {problem}. This is not the 2015 Inception graph."
        )

    def inputs(self, node: Any) -> list[Any]:
        return [self.follow(name) for name in node.input if not name.startswith("^")]

    def follow(self, name: str) -> Any:
        """Return the node behind an edge, beyond pass-through nodes."""
        for _ in self.nodes:  # more steps than nodes would be a circle
            node = self.nodes.get(name.split(":")[0])
            if node is None:
                raise HarnessError(f"{self.where}: an edge reads node {name}, which is not in the file; it is damaged.")
            if node.op not in _PASS_THROUGH:
                return node
            if not node.input:
                self.fail(node, "passes on an input that it does not have")
            name = node.input[0]
        raise HarnessError(f"{self.where}: the edges from node {name} go in a circle; it is damaged.")

    def expect(self, node: Any, op: str, n_inputs: int, **attributes: Any) -> list[Any]:
        """Check a node's op, number of inputs and attributes; return its inputs."""
        if node.op != op:
            self.fail(node, f"expected {op}")
        for key, value in attributes.items():
            held = self.attribute(node, key)
            found = list(held.list.i) if isinstance(value, list) else held.s.decode(errors="replace")
            if found != value:
                self.fail(node, f"{key} is {found}, expected {value}")
        incoming = self.inputs(node)
        if len(incoming) != n_inputs:
            self.fail(node, f"{len(incoming)} inputs, expected {n_inputs}")
        return incoming

    def attribute(self, node: Any, key: str) -> Any:
        held = graphdef.attributes(node).get(key)
        if held is None:
            self.fail(node, f"has no attribute {key}")
        return held

    def window(self, layer: Layer, node: Any) -> Iterator[Any]:
        if layer.op != "concat":
            return iter(self.expect(node, _POOLS[layer.op], 1, **_window(layer)))
        axis_last = node.op == "ConcatV2"
        incoming = self.expect(node, "ConcatV2" if axis_last else "Concat", len(layer.inputs) + 1)
        axis = incoming.pop(-1 if axis_last else 0)
        if int(self.constant(axis, (), graphdef.INT32)) != 3:
            self.fail(node, "not over the channels")
        return iter(incoming)

    def convolution(self, layer: Layer, relu: Any, convs: dict[str, ConvParameters]) -> Iterator[Any]:
        (norm,) = self.expect(relu, "Relu", 1)
        conv, mean, variance, beta, gamma = self.expect(norm, _NORM, 5)
        strides = [1, layer.stride, layer.stride, 1]
        source, kernel = self.expect(conv, "Conv2D", 2, strides=strides, padding=layer.padding)
        epsilon = self.attribute(norm, "variance_epsilon").f
        if not np.isclose(epsilon, EPSILON):
            self.fail(norm, f"variance_epsilon is {epsilon}, expected {EPSILON}")
        vectors = [self.constant(v, (layer.channels,)) for v in (gamma, beta, mean, variance)]
        if not self.attribute(norm, "scale_after_normalization").b:  # the op then ignores gamma
            vectors[0] = np.ones(layer.channels, np.float32)
        convs[layer.name] = ConvParameters(self.constant(kernel, _SHAPES[layer.name]), *vectors)
        return iter([source])

    def preamble(self, mul: Any) -> None:
        sub, scale = self.expect(mul, "Mul", 2)
        resized, mean = self.expect(sub, "Sub", 2)
        held = float(self.constant(mean, ())), float(self.constant(scale, ()))
        if held != (MEAN, SCALE):
            self.fail(mul, f"subtracts {held[0]} and multiplies by {held[1]}, expected {MEAN} and {SCALE}")
        _, size = self.expect(resized, "ResizeBilinear", 2)
        corners = [graphdef.attributes(resized).get(key) for key in ("align_corners", "half_pixel_centers")]
        if any(flag is not None and flag.b for flag in corners):
            self.fail(resized, "expected neither aligned corners nor half-pixel centres")
        sides = self.constant(size, (2,), graphdef.INT32).tolist()
        if sides != [SIZE, SIZE]:
            self.fail(resized, f"resizes to {sides}, expected {SIZE}")

    def classifier(self) -> tuple[np.ndarray, np.ndarray]:
        product = self.nodes.get("softmax/logits/MatMul")
        if product is None:
            raise HarnessError(f"{self.where}: no node softmax/logits/MatMul; not the 2015 Inception graph.")
        features, weights = self.expect(product, "MatMul", 2)
        if features.name != FEATURE_NODES[2048]:
            self.fail(product, f"multiplies {features.name}, expected {FEATURE_NODES[2048]}")
        biases = self.nodes.get("softmax/biases", product)
        return self.constant(weights, (2048, CLASSES)), self.constant(biases, (CLASSES,))

    def constant(self, node: Any, shape: tuple[int, ...], kind: int = graphdef.FLOAT) -> np.ndarray:
        return graphdef.constant(node, kind, shape, self.where)
