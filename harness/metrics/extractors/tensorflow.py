"""The reference scorer: the frozen 2015 graph, run by TensorFlow. The only module that imports TensorFlow."""

import os
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.metrics.extractors.base import Extractor, Setup
from harness.metrics.inception import weights

INPUT_TENSOR = "ExpandDims:0"  # float32 NHWC in 0..255, any size; the graph resizes to 299 px


class TensorFlowExtractor:
    """Features of the frozen graph as it is on disk, in a v1 session on a graph of its own."""

    scorer = "tf"
    resizer = "tf1-bilinear"

    def __init__(self, setup: Setup):
        self.weights = weights.load(setup.weights, setup.cache)
        self.weights.require(setup.layer)
        self.kind, self.weights_sha256 = self.weights.kind, self.weights.sha256
        tf = _tensorflow()
        self.versions = {"tensorflow": tf.__version__}
        parameters = self.weights.parameters
        self._softmax = parameters.softmax_weights if setup.layer == 2048 else None
        self._bias = parameters.softmax_biases if setup.is_bias else None
        self._session, self._input, self._features = self._open(tf, setup)

    def _open(self, tf: Any, setup: Setup) -> tuple[Any, Any, Any]:
        v1 = tf.compat.v1
        definition = v1.GraphDef.FromString(self.weights.graph_bytes)
        for node in definition.node:
            node.attr.pop("_output_shapes", None)  # some copies store shapes with batch 1
        graph = tf.Graph()
        with graph.as_default():
            # in place of ExpandDims, whose static batch is 1
            images = v1.placeholder(tf.float32, [None, None, None, 3])
            node = f"{self.weights.feature_nodes[setup.layer]}:0"
            (output,) = tf.import_graph_def(definition, {INPUT_TENSOR: images}, [node], name="")
            features = tf.reduce_mean(output, axis=[1, 2])
        visible = {} if setup.device.startswith("cuda") else {"GPU": 0}
        options = v1.ConfigProto(
            intra_op_parallelism_threads=setup.threads, inter_op_parallelism_threads=1, device_count=visible
        )
        options.gpu_options.allow_growth = True
        return v1.Session(graph=graph, config=options), images, features

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return features and logits; see `harness.metrics.extractors.base.Extractor`."""
        features = self._session.run(self._features, {self._input: images.astype(np.float32)})
        if self._softmax is None:
            return features, None
        logits = features @ self._softmax
        return features, logits if self._bias is None else logits + self._bias


def open_extractor(setup: Setup) -> Extractor:
    """Open the TensorFlow scorer.

    Raises:
        HarnessError: TensorFlow is not installed, or the weights are missing, damaged or too shallow for the layer.
    """
    return TensorFlowExtractor(setup)


def _tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow
    except ImportError as error:
        raise HarnessError(
            f"--scorer tf needs TensorFlow ({error}); pip install -c constraints.txt -e ., or use --scorer torch."
        ) from error
    return tensorflow
