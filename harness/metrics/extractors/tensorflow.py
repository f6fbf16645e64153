"""The reference scorer: the frozen 2015 graph, run by TensorFlow. The only module that imports TensorFlow."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from harness.device import NAMES, is_device
from harness.errors import HarnessError
from harness.metrics.extractors.base import Extractor, Setup
from harness.metrics.inception import frozen_graph, weights
from harness.metrics.inception.topology import FEATURE_NODES, Parameters

INPUT_TENSOR = "ExpandDims:0"  # float32 NHWC in 0..255, any size; the graph resizes to 299 px


class TensorFlowExtractor:
    """Features of a frozen graph in a v1 session on a graph of its own.

    The graph is written from the verified weights, whatever file they came from: it has the ops of the 2015 file and no
    others.
    """

    scorer = "tf"
    resizer = "tf1-bilinear"

    def __init__(self, setup: Setup):
        if not is_device(setup.device):
            raise HarnessError(f"device '{setup.device}' is unknown; use {NAMES}.")
        found = weights.load(setup.weights, setup.cache)
        found.require(setup.layer)
        self.kind, self.weights_sha256 = found.kind, found.sha256
        tf = _tensorflow()
        self.versions = {"tensorflow": tf.__version__}
        self._softmax = found.parameters.softmax_weights if setup.layer == 2048 else None
        self.biases = found.parameters.softmax_biases if setup.layer == 2048 else None
        with _silent():
            self._session, self._input, self._features = _open(tf, found.parameters, setup)
        is_gpu = any(device.device_type == "GPU" for device in self._session.list_devices())
        if setup.device.startswith("cuda") and not is_gpu:
            raise HarnessError(f"device '{setup.device}': TensorFlow sees no such GPU here; use --device cpu.")
        self.device_used = "cpu" if not is_gpu else setup.device.replace("auto", "cuda")

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return features and logits; see `harness.metrics.extractors.base.Extractor`."""
        features = self._session.run(self._features, {self._input: images.astype(np.float32)})
        return features, None if self._softmax is None else features @ self._softmax


def _open(tf: Any, parameters: Parameters, setup: Setup) -> tuple[Any, Any, Any]:
    """Return a session, the placeholder of its images and the tensor of their features."""
    v1 = tf.compat.v1
    definition = v1.GraphDef.FromString(frozen_graph.build(parameters).SerializeToString(deterministic=True))
    graph = tf.Graph()
    with graph.as_default():
        # in place of ExpandDims, whose static batch is 1
        images = v1.placeholder(tf.float32, [None, None, None, 3])
        node = f"{FEATURE_NODES[setup.layer]}:0"
        (output,) = tf.import_graph_def(definition, {INPUT_TENSOR: images}, [node], name="")
        features = tf.reduce_mean(output, axis=[1, 2])
    _, _, number = setup.device.partition(":")
    visible = {"GPU": 0} if setup.device == "cpu" else {}
    options = v1.ConfigProto(
        intra_op_parallelism_threads=setup.threads, inter_op_parallelism_threads=1, device_count=visible
    )
    options.gpu_options.allow_growth = True
    options.gpu_options.visible_device_list = number
    return v1.Session(graph=graph, config=options), images, features


def open_extractor(setup: Setup) -> Extractor:
    """Open the TensorFlow scorer.

    Raises:
        HarnessError: TensorFlow is not installed or has no such device, or the weights are missing, damaged or too
            shallow for the layer.
    """
    return TensorFlowExtractor(setup)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what TensorFlow's C++ writes to stderr when it starts out of sight; after an error it is shown.

    TF_CPP_MIN_LOG_LEVEL comes too late for what is logged before logging is set up.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as log:
        before = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:
            log.seek(0)
            os.write(before, log.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)


def _tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _silent():
            import tensorflow
    except ImportError as error:
        raise HarnessError(
            f"--scorer tf needs TensorFlow ({error}); pip install -c constraints.txt -e ., or use --scorer torch."
        ) from error
    return tensorflow
