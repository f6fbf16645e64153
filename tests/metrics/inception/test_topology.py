"""The topology table, and the stand-in's weights."""

import numpy as np
import pytest

from harness.bench.contenders import port_state_dict
from harness.metrics.inception import topology
from tests.metrics.inception.helpers import parameters


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
    monkeypatch.setattr(port, "load_state_dict_from_url", lambda *_, **__: port_state_dict(parameters()))
    network = port.fid_inception_v3()  # loads strictly: every name and shape must fit
    theirs = network.state_dict()
    expected = {f"{layer.port}.conv.weight" for layer in topology.NETWORK if layer.op == "conv"}
    assert {name for name in theirs if name.endswith(".conv.weight") and not name.startswith("Aux")} == expected


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
