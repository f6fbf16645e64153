"""The GraphDef written from the topology table, and the reader of its weights."""

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.metrics.inception import frozen_graph, graphdef
from tests.metrics.inception.helpers import attribute, built, node, parameters, shallow


def test_graph_has_the_names_and_ops_of_the_2015_file():
    definition = frozen_graph.build(parameters())
    ops = {n.name: n.op for n in definition.node}
    chain = ["DecodeJpeg", "Cast", "ExpandDims", "ResizeBilinear", "Sub", "Mul"]
    assert [ops[name] for name in chain] == chain
    assert [n for n, op in ops.items() if op == "BatchNormWithGlobalNormalization"][:2] == [
        "conv/batchnorm",
        "conv_1/batchnorm",
    ]
    assert sum(op == "Conv2D" for op in ops.values()) == 94
    assert ops["softmax/logits/MatMul"] == "MatMul"
    assert ops["pool_3"] == "AvgPool"
    assert ops["mixed_10/tower_2/pool"] == "MaxPool"
    assert list(node(definition, "conv/batchnorm").input) == ["conv/Conv2D"] + [
        f"conv/batchnorm/{name}" for name in ("moving_mean", "moving_variance", "beta", "gamma")
    ]
    assert attribute(definition, "conv/batchnorm", "variance_epsilon").f == pytest.approx(0.001)


@pytest.mark.parametrize("layer", [64, 768, 2048])
def test_writing_and_reading_is_the_identity(layer):
    held = parameters() if layer == 2048 else shallow(layer)
    data = frozen_graph.build(held).SerializeToString(deterministic=True)
    found = frozen_graph.convert(graphdef.parse(data, "x.pb"), "x.pb")
    assert list(found.convs) == list(held.convs)
    for name, conv in held.convs.items():
        for key in ("kernel", "gamma", "beta", "mean", "variance"):
            np.testing.assert_array_equal(getattr(found.convs[name], key), getattr(conv, key))
    assert found.deepest == layer
    if layer == 2048:
        np.testing.assert_array_equal(found.softmax_weights, held.softmax_weights)
        np.testing.assert_array_equal(found.softmax_biases, held.softmax_biases)


def test_converter_follows_edges_through_nodes_that_pass_their_input_on():
    """The official file has CheckNumerics and control_dependency on such edges; renamed nodes do not matter."""
    definition = built()
    for name in ("conv", "conv_1"):
        relu = node(definition, name)
        before = relu.input[0]
        graphdef.add_node(definition, f"{name}/CheckNumerics", "CheckNumerics", (before,))
        graphdef.add_node(
            definition, f"{name}/control_dependency", "Identity", (f"{before}:0", f"^{name}/CheckNumerics")
        )
        relu.input[0] = f"{name}/control_dependency"
    graphdef.add_node(definition, "kernel/read", "Identity", ("conv/conv2d_params",))
    node(definition, "conv/Conv2D").input[1] = "kernel/read"
    node(definition, "conv_1").name = "elsewhere"
    node(definition, "conv_2/Conv2D").input[0] = "elsewhere:0"
    found = frozen_graph.convert(definition, "x.pb")
    np.testing.assert_array_equal(found.convs["conv"].kernel, parameters().convs["conv"].kernel)
    np.testing.assert_array_equal(found.convs["conv_1"].beta, parameters().convs["conv_1"].beta)


def test_converter_ignores_gamma_where_the_op_does():
    definition = built()
    attribute(definition, "conv/batchnorm", "scale_after_normalization").b = False
    found = frozen_graph.convert(definition, "x.pb")
    np.testing.assert_array_equal(found.convs["conv"].gamma, 1)
    np.testing.assert_array_equal(found.convs["conv_1"].gamma, parameters().convs["conv_1"].gamma)


def _swap_operations(definition):
    node(definition, "pool").op = "AvgPool"


def _other_stride(definition):
    attribute(definition, "conv/Conv2D", "strides").list.i[1] = 1


def _other_padding(definition):
    attribute(definition, "conv_2/Conv2D", "padding").s = b"VALID"


def _other_epsilon(definition):
    attribute(definition, "conv/batchnorm", "variance_epsilon").f = 1e-5


def _half_pixel(definition):
    entry = node(definition, "ResizeBilinear").attr.add(key="half_pixel_centers")
    entry.value.b = True


def _dangling(definition):
    node(definition, "conv").input[0] = "nowhere"


def _skips_a_layer(definition):
    node(definition, "conv_2/Conv2D").input[0] = "conv"


def _not_frozen(definition):
    node(definition, "conv/conv2d_params").op = "Variable"


def _other_mean(definition):
    attribute(definition, "Sub/y", "value").tensor.content = np.float32(127.5).tobytes()


def _short_kernel(definition):
    tensor = attribute(definition, "conv/conv2d_params", "value").tensor
    tensor.content = tensor.content[:-4]


def _infinite(definition):
    tensor = attribute(definition, "conv/batchnorm/beta", "value").tensor
    tensor.content = np.full(32, np.inf, np.float32).tobytes()


def _integers(definition):
    attribute(definition, "conv/conv2d_params", "value").tensor.dtype = graphdef.INT32


def _huge_shape(definition):
    """One value stands for all: a shape of 4 TB takes nothing in the file."""
    tensor = attribute(definition, "conv/conv2d_params", "value").tensor
    tensor.content = bytes(4)
    for dim in tensor.shape.dim:
        dim.size = 1000


def _circle(definition):
    for name, source in (("one", "two"), ("two", "one")):
        graphdef.add_node(definition, name, "Identity", (source,))
    node(definition, "conv").input[0] = "one"


def _passes_nothing_on(definition):
    graphdef.add_node(definition, "one", "Identity")
    node(definition, "conv").input[0] = "one"


def _no_strides(definition):
    del node(definition, "conv/Conv2D").attr[:]


def _no_value(definition):
    del node(definition, "conv/conv2d_params").attr[:]


def _twice_one_name(definition):
    definition.node.add().CopyFrom(node(definition, "conv"))


def _no_output(definition):
    node(definition, "pool").name = "other"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_swap_operations, "expected MaxPool"),
        (_other_stride, "strides is"),
        (_other_padding, "padding is VALID"),
        (_other_epsilon, "variance_epsilon"),
        (_half_pixel, "half-pixel"),
        (_dangling, "nowhere"),
        (_skips_a_layer, "expected"),
        (_not_frozen, "not frozen"),
        (_other_mean, "subtracts 127.5"),
        (_short_kernel, "values for shape"),
        (_no_output, "not the 2015 Inception"),
        (_infinite, "NaN or infinity"),
        (_integers, "dtype 3, expected float32"),
        (_huge_shape, r"shape \[1000, 1000, 1000, 1000\]"),
        (_circle, "circle"),
        (_passes_nothing_on, "does not have"),
        (_no_strides, "no attribute strides"),
        (_no_value, "not frozen"),
        (_twice_one_name, "two nodes have one name"),
    ],
)
def test_converter_refuses_another_network(damage, message):
    definition = built()
    damage(definition)
    with pytest.raises(HarnessError, match=message):
        frozen_graph.convert(definition, "x.pb")


def test_exchanged_branches_are_noticed():
    definition = frozen_graph.build(shallow(768))
    inputs = node(definition, "mixed/join").input
    inputs[1], inputs[2] = inputs[2], inputs[1]
    with pytest.raises(HarnessError, match="mixed"):
        frozen_graph.convert(definition, "x.pb")


def test_a_file_of_millions_of_parts_is_refused_before_it_is_built():
    """An empty node is 2 bytes in the file; a varint of a megabyte would take minutes to read."""
    node, deep = b"\x0a\x00", b"\x12\x00" * (1 << 17)
    for tag in (b"\x3a", b"\x12", b"\x2a", b"\x0a"):  # dims in a shape in a value in an attribute in a node
        deep = tag + _varint(len(deep)) + deep
    for data in (node * (1 << 17), deep):
        with pytest.raises(HarnessError, match=r"bomb\.pb: more than 50,000 fields"):
            graphdef.parse(data, "bomb.pb")
    with pytest.raises(HarnessError, match=r"bomb\.pb: not a TensorFlow GraphDef"):
        graphdef.parse(b"\x0a" + b"\xff" * (1 << 20), "bomb.pb")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
