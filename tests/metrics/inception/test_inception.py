"""The topology table, the GraphDef written from it, the converter, and where weights come from."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import HarnessError
from harness.metrics.inception import frozen_graph, graphdef, topology, torch_module, weights
from tests.metrics.inception.helpers import parameters, shallow


def built(layer: int = 64):
    return frozen_graph.build(shallow(layer))


def node(definition, name):
    return next(n for n in definition.node if n.name == name)


def attribute(definition, name, key):
    return next(entry.value for entry in node(definition, name).attr if entry.key == key)


# ---------------------------------------------------------------- the table


def test_table_has_the_94_convolutions_and_the_widths_of_each_block():
    shapes = topology.convolutions()
    assert len(shapes) == 94
    width = {topology.INPUT: 3}
    for layer in topology.NETWORK:
        width[layer.name] = layer.channels or sum(width[name] for name in layer.inputs)
    joins = [width["mixed/join"]] + [width[f"mixed_{i}/join"] for i in range(1, 11)]
    assert joins == [256, 288, 288, 768, 768, 768, 768, 768, 1280, 2048, 2048]
    assert {width[name]: channels for channels, name in topology.FEATURE_NODES.items()} == {
        c: c for c in (64, 192, 768, 2048)
    }


def test_table_gives_the_sizes_of_the_2015_network():
    """35 px until mixed_2, 17 px until mixed_7, 8 px until pool_3."""
    side = {topology.INPUT: topology.SIZE}
    for layer in topology.NETWORK:
        (incoming,) = {side[name] for name in layer.inputs}
        if layer.op == "concat":
            side[layer.name] = incoming
        elif layer.padding == "SAME":
            side[layer.name] = -(-incoming // layer.stride)
        else:
            assert layer.kernel[0] == layer.kernel[1]
            side[layer.name] = (incoming - layer.kernel[0]) // layer.stride + 1
    sides = [side[f"mixed{suffix}/join"] for suffix in ("", *(f"_{i}" for i in range(1, 11)))]
    assert sides == [35] * 3 + [17] * 5 + [8] * 3
    assert side["pool_3"] == 1


def test_only_the_last_pool_before_a_convolution_is_a_maximum():
    pools = {layer.name: layer.op for layer in topology.NETWORK if layer.name.endswith("/tower_2/pool")}
    assert pools.pop("mixed_10/tower_2/pool") == "max"
    assert set(pools.values()) == {"average"}


@pytest.mark.slow  # the port draws its initial weights slowly
def test_names_in_the_torch_ports_are_those_of_pytorch_fid(monkeypatch):
    port = pytest.importorskip("pytorch_fid.inception")
    monkeypatch.setattr(port, "load_state_dict_from_url", lambda *_, **__: _port_state())
    network = port.fid_inception_v3()  # loads strictly: every name and shape must fit
    theirs = network.state_dict()
    expected = {f"{layer.port}.conv.weight" for layer in topology.NETWORK if layer.op == "conv"}
    assert {name for name in theirs if name.endswith(".conv.weight") and not name.startswith("Aux")} == expected


def _port_state() -> dict[str, torch.Tensor]:
    state = {}
    for layer in topology.NETWORK:
        if layer.op == "conv":
            held = parameters().convs[layer.name]
            state[f"{layer.port}.conv.weight"] = torch.from_numpy(held.kernel.transpose(3, 2, 0, 1).copy())
            vectors = {"weight": held.gamma, "bias": held.beta, "running_mean": held.mean, "running_var": held.variance}
            state |= {f"{layer.port}.bn.{name}": torch.from_numpy(value) for name, value in vectors.items()}
            state[f"{layer.port}.bn.num_batches_tracked"] = torch.tensor(0)
    state["fc.weight"] = torch.from_numpy(parameters().softmax_weights.T.copy())
    state["fc.bias"] = torch.from_numpy(parameters().softmax_biases)
    return state


def test_folding_is_the_batch_norm():
    held = parameters().convs["mixed/tower/conv_1"]
    x = np.random.Generator(np.random.PCG64(1)).standard_normal((20, held.kernel[..., 0].size))
    plain = x @ held.kernel.reshape(-1, held.kernel.shape[3]).astype(np.float64)
    normed = (plain - held.mean) / np.sqrt(held.variance + topology.EPSILON) * held.gamma + held.beta
    kernel, bias = held.folded()
    np.testing.assert_allclose(x @ kernel.reshape(-1, kernel.shape[3]) + bias, normed, rtol=1e-5, atol=1e-5)


def test_folded_weights_enter_as_a_batch_norm_that_adds_the_bias():
    kernel, bias = parameters().convs["conv"].folded()
    held = topology.unfolded(kernel, bias)
    np.testing.assert_array_equal(held.gamma, 1)
    np.testing.assert_array_equal(held.mean, 0)
    np.testing.assert_array_equal(held.beta, bias)
    np.testing.assert_allclose(held.variance + topology.EPSILON, 1, rtol=1e-7)
    again, shift = held.folded()
    np.testing.assert_allclose(again, kernel, rtol=2e-7)
    np.testing.assert_array_equal(shift, bias)


def test_stand_in_is_drawn_from_its_seed_alone():
    one, same, other = topology.stand_in(1), topology.stand_in(1), topology.stand_in(2)
    np.testing.assert_array_equal(one.convs["mixed_9/conv"].kernel, same.convs["mixed_9/conv"].kernel)
    assert not np.array_equal(one.convs["conv"].kernel, other.convs["conv"].kernel)


# ---------------------------------------------------------------- GraphDef


def test_graph_has_the_names_and_ops_of_the_2015_file():
    definition = frozen_graph.build(parameters(), stand_in=True)
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
    assert frozen_graph.is_stand_in(definition)
    assert not frozen_graph.is_stand_in(frozen_graph.build(shallow(64)))


@pytest.mark.parametrize("layer", [64, 768, 2048])
def test_writing_and_reading_is_the_identity(layer):
    held = parameters() if layer == 2048 else shallow(layer)
    data = frozen_graph.build(held).SerializeToString(deterministic=True)
    found, nodes = frozen_graph.convert(graphdef.parse(data, "x.pb"), "x.pb")
    assert list(found.convs) == list(held.convs)
    for name, conv in held.convs.items():
        for key in ("kernel", "gamma", "beta", "mean", "variance"):
            np.testing.assert_array_equal(getattr(found.convs[name], key), getattr(conv, key))
    assert found.deepest == layer
    assert nodes[layer] == topology.FEATURE_NODES[layer]
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
    found, _ = frozen_graph.convert(definition, "x.pb")
    np.testing.assert_array_equal(found.convs["conv"].kernel, parameters().convs["conv"].kernel)
    np.testing.assert_array_equal(found.convs["conv_1"].beta, parameters().convs["conv_1"].beta)


def test_converter_ignores_gamma_where_the_op_does():
    definition = built()
    attribute(definition, "conv/batchnorm", "scale_after_normalization").b = False
    found, _ = frozen_graph.convert(definition, "x.pb")
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


# ---------------------------------------------------------------- where weights come from


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.delenv(weights.ENVIRONMENT, raising=False)


def test_stand_in_is_kept_and_drawn_again_when_damaged(tmp_path):
    first = weights.load("stand-in", tmp_path)
    assert (first.kind, first.parameters.deepest) == ("stand-in", 2048)
    written = first.path.stat().st_mtime_ns
    assert weights.load("stand-in", tmp_path).path.stat().st_mtime_ns == written
    assert weights.load(str(first.path), tmp_path).kind == "stand-in", "the file says so itself"
    data = first.path.read_bytes()
    first.path.write_bytes(data[:1000])
    again = weights.load("stand-in", tmp_path)
    assert again.sha256 == first.sha256
    assert again.path.read_bytes() == data


def test_npz_of_folded_weights(tmp_path):
    path = tmp_path / "folded.npz"
    folded = {name: conv.folded() for name, conv in shallow(192).convs.items()}
    arrays = {f"{n}/weights": k for n, (k, _) in folded.items()} | {f"{n}/bias": b for n, (_, b) in folded.items()}
    np.savez(path, **arrays)
    found = weights.load(str(path), tmp_path)
    assert (found.kind, found.parameters.deepest) == ("file", 192)
    np.testing.assert_array_equal(found.parameters.convs["conv_4"].beta, folded["conv_4"][1])
    read, nodes = frozen_graph.convert(graphdef.parse(found.graph_bytes, "written"), "written")
    np.testing.assert_array_equal(read.convs["conv_4"].kernel, folded["conv_4"][0])
    assert nodes[192] == found.feature_nodes[192] == "pool_1"
    found.require(192)
    with pytest.raises(HarnessError, match="end at layer 192"):
        found.require(2048)
    del arrays["conv_4/bias"]
    np.savez(path, **arrays)
    with pytest.raises(HarnessError, match="conv_4/bias"):
        _ = weights.load(str(path), tmp_path).parameters


def test_pth_with_the_names_of_the_ports(tmp_path):
    path = tmp_path / "port.pth"
    torch.save(_port_state(), path)
    found = weights.load(str(path), tmp_path).parameters
    for name in ("conv", "mixed_3/tower/conv_2", "mixed_10/tower_1/mixed/conv_1"):
        np.testing.assert_array_equal(found.convs[name].kernel, parameters().convs[name].kernel)
        np.testing.assert_array_equal(found.convs[name].variance, parameters().convs[name].variance)
    np.testing.assert_array_equal(found.softmax_weights, parameters().softmax_weights)


@pytest.mark.parametrize("suffix", [".pb", ".npz", ".pth", ".pt", ".tgz"])
def test_files_that_are_no_weights_are_refused(tmp_path, suffix):
    path = tmp_path / f"some{suffix}"
    path.write_bytes(b"<html>quota exceeded</html>")
    with pytest.raises(HarnessError, match="some"):
        _ = weights.load(str(path), tmp_path).parameters


def test_truncated_graph_is_refused(tmp_path):
    path = tmp_path / "cut.pb"
    path.write_bytes(built().SerializeToString()[:-1000])
    with pytest.raises(HarnessError, match=r"cut\.pb"):
        _ = weights.load(str(path), tmp_path).parameters


@pytest.mark.parametrize("name", ["official", "trunk"])
def test_another_file_is_not_taken_for_the_official_one(tmp_path, monkeypatch, name):
    path = tmp_path / "classify_image_graph_def.pb"
    path.write_bytes(built().SerializeToString())
    monkeypatch.setenv(weights.ENVIRONMENT, str(path))
    with pytest.raises(HarnessError, match="sha256"):
        weights.load(name, tmp_path / "cache")
    assert weights.load(str(path), tmp_path / "cache").kind == "file"


def test_environment_variable_may_name_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path))
    path = tmp_path / weights.TRUNK_NAME
    path.write_bytes(b"not it")
    with pytest.raises(HarnessError, match=f"{weights.TRUNK_NAME}: not the trunk"):
        weights.load("trunk", tmp_path / "cache")
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path / "missing"))
    with pytest.raises(HarnessError, match="no such file or folder"):
        weights.load("trunk", tmp_path / "cache")


def test_without_internet_the_message_says_what_to_fetch(tmp_path, monkeypatch):
    import pooch

    def offline(*_, **__):
        raise ConnectionError

    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(HarnessError, match=weights.ENVIRONMENT):
        weights.load("official", tmp_path)


def test_a_download_that_broke_off_is_removed(tmp_path, monkeypatch):
    import pooch

    archive = tmp_path / "inception" / weights.OFFICIAL_ARCHIVE

    def half(*_, **__) -> str:
        archive.parent.mkdir()
        archive.write_bytes(b"\x1f\x8b half an archive")
        return str(archive)

    monkeypatch.setattr(pooch, "retrieve", half)
    with pytest.raises(HarnessError, match="no whole"):
        weights.load("official", tmp_path)
    assert not archive.exists()


def test_archive_with_another_graph_is_refused(tmp_path):
    graph_file = tmp_path / weights.OFFICIAL_GRAPH
    graph_file.write_bytes(built().SerializeToString())
    archive = tmp_path / "inception" / weights.OFFICIAL_ARCHIVE
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(graph_file, weights.OFFICIAL_GRAPH)
    with pytest.raises(HarnessError, match=weights.OFFICIAL_SHA256):
        weights.load("official", tmp_path)


def test_misspelt_names_are_helped(tmp_path):
    with pytest.raises(HarnessError, match="Did you mean 'official'"):
        weights.load("oficial", tmp_path)


@pytest.mark.shared
def test_trunk_is_recognised_and_complete_to_mixed_7(shared_dir: Path, tmp_path, monkeypatch):
    monkeypatch.setenv(weights.ENVIRONMENT, str(shared_dir / "mirror" / "inception"))
    found = weights.load("trunk", tmp_path)
    assert (found.kind, found.parameters.deepest, len(found.parameters.convs)) == ("trunk", 768, 70)


# ---------------------------------------------------------------- the torch module


def test_torch_module_evaluates_no_further_than_its_layer():
    network = torch_module.build(shallow(192), 192)
    assert list(network.convs) == ["conv", "conv_1", "conv_2", "conv_3", "conv_4"]
    images = torch.rand(2, 3, topology.SIZE, topology.SIZE) * 255
    shallower = torch_module.build(parameters(), 64)
    assert network(images).shape == (2, 192)
    assert shallower(images).shape == (2, 64)


@pytest.mark.verifies("Inception topology equals pytorch-fid's network at 64, 192, 768, 2048")
@pytest.mark.slow
def test_torch_module_equals_pytorch_fids_network(monkeypatch):
    port = pytest.importorskip("pytorch_fid.inception")
    monkeypatch.setattr(port, "load_state_dict_from_url", lambda *_, **__: _port_state())
    theirs = port.InceptionV3([0, 1, 2, 3], resize_input=False, normalize_input=False).eval()
    images = torch.rand(2, 3, topology.SIZE, topology.SIZE, generator=torch.Generator().manual_seed(0)) * 255
    with torch.inference_mode():
        expected = theirs((images - topology.MEAN) * topology.SCALE)
        for layer, value in zip((64, 192, 768, 2048), expected, strict=True):
            found = torch_module.build(parameters(), layer)(images)
            scale = float(value.abs().max())
            assert float((found - value.mean(dim=(2, 3))).abs().max()) < 1e-4 * scale
