"""The TensorFlow scorer's numbers from torch, on a GPU if there is one; or other packages', behind their resizers."""

import numpy as np
import torch

from harness.device import check_device
from harness.metrics.extractors.base import Extractor, Setup, parts
from harness.metrics.extractors.resize import FILTERS, INCEPTION_SIZE
from harness.metrics.inception import torch_module, weights


class TorchExtractor:
    """Features of the 2015 network built from the topology table."""

    scorer = "torch"

    def __init__(self, setup: Setup, resizer: str):
        self.resizer = resizer
        self.device_used = check_device(setup.device)
        found = weights.load(setup.weights, setup.cache)
        found.require(setup.layer)
        self.kind, self.weights_sha256 = found.kind, found.sha256
        self.versions = {"torch": str(torch.__version__)}
        torch.set_num_threads(setup.threads)
        network = torch_module.build(found.parameters, setup.layer)
        self._network = network.to(self.device_used).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._softmax = found.parameters.softmax_weights if setup.layer == 2048 else None
        self.biases = found.parameters.softmax_biases if setup.layer == 2048 else None

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return features and logits; see `harness.metrics.extractors.base.Extractor`."""
        # TF32 convolutions, cuDNN's default, lose the digits that the parity with TensorFlow needs
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            features = np.concatenate([self._features(part) for part in parts(images, self.device_used)])
        return features, None if self._softmax is None else features @ self._softmax

    def _features(self, images: np.ndarray) -> np.ndarray:
        resized = FILTERS[self.resizer](images, INCEPTION_SIZE, self.device_used)
        features: np.ndarray = self._network(resized.contiguous(memory_format=torch.channels_last)).cpu().numpy()
        return features


def open_extractor(setup: Setup, resizer: str = "tf1-bilinear") -> Extractor:
    """Open the torch scorer behind one of its resizers.

    Raises:
        HarnessError: no such device, or the weights are missing, damaged or too shallow for the layer.
    """
    return TorchExtractor(setup, resizer)
