"""The network as a torch module."""

import pytest
import torch

from harness.bench.contenders import port_state_dict
from harness.metrics.inception import topology, torch_module
from tests.metrics.inception.helpers import parameters, shallow


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
    monkeypatch.setattr(port, "load_state_dict_from_url", lambda *_, **__: port_state_dict(parameters()))
    theirs = port.InceptionV3([0, 1, 2, 3], resize_input=False, normalize_input=False).eval()
    images = torch.rand(2, 3, topology.SIZE, topology.SIZE, generator=torch.Generator().manual_seed(0)) * 255
    with torch.inference_mode():
        expected = theirs((images - topology.MEAN) * topology.SCALE)
        for layer, value in zip((64, 192, 768, 2048), expected, strict=True):
            found = torch_module.build(parameters(), layer)(images)
            scale = float(value.abs().max())
            assert float((found - value.mean(dim=(2, 3))).abs().max()) < 1e-4 * scale
