"""The TensorFlow scorer's numbers from torch, on a GPU if there is one: the same weights, the same resize."""

import numpy as np
import torch

from harness.device import check_device
from harness.metrics.extractors.base import Extractor, Setup
from harness.metrics.extractors.resize import tf1_bilinear
from harness.metrics.inception import torch_module, weights


class TorchExtractor:
    """Features of the 2015 network built from the topology table, behind TF1's bilinear resize."""

    scorer = "torch"
    resizer = "tf1-bilinear"

    def __init__(self, setup: Setup):
        self.device_used = check_device(setup.device)
        found = weights.load(setup.weights, setup.cache)
        found.require(setup.layer)
        self.kind, self.weights_sha256 = found.kind, found.sha256
        self.versions = {"torch": str(torch.__version__)}
        torch.set_num_threads(setup.threads)
        network = torch_module.build(found.parameters, setup.layer)
        self._network = network.to(self.device_used).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._softmax = found.parameters.softmax_weights if setup.layer == 2048 else None
        self._bias = found.parameters.softmax_biases if setup.is_bias else None

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return features and logits; see `harness.metrics.extractors.base.Extractor`."""
        pixels = tf1_bilinear(images, device=self.device_used).contiguous(memory_format=torch.channels_last)
        # TF32 convolutions, cuDNN's default, lose the digits that the parity with TensorFlow needs
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            features = self._network(pixels).cpu().numpy()
        if self._softmax is None:
            return features, None
        logits = features @ self._softmax
        return features, logits if self._bias is None else logits + self._bias


def open_extractor(setup: Setup) -> Extractor:
    """Open the torch scorer.

    Raises:
        HarnessError: no such device, or the weights are missing, damaged or too shallow for the layer.
    """
    return TorchExtractor(setup)
