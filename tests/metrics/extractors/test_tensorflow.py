"""The frozen graph in a v1 session: TensorFlow itself reads and runs what the graph writer writes."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.metrics.extractors import tensorflow
from harness.metrics.extractors.base import Setup
from harness.metrics.inception import frozen_graph, graphdef
from tests.metrics.inception.helpers import node, parameters, shallow, shape_images
from tests.paths import ROOT

pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return shape_images(3, seed=5)


@pytest.fixture(scope="module")
def deep(cache, images):
    extractor = tensorflow.open_extractor(Setup("stand-in", cache=cache, threads=1))
    return extractor, *extractor(images)


def open_shallow(cache: Path, layer: int, stored: int, edit=None):
    """Write a graph that ends at `stored`, and open it at `layer`."""
    definition = frozen_graph.build(shallow(stored))
    if edit is not None:
        edit(definition)
    path = cache / f"{stored}-{edit.__name__ if edit else 'plain'}.pb"
    path.write_bytes(definition.SerializeToString())
    return tensorflow.open_extractor(Setup(str(path), layer, cache=cache, threads=1))


def test_features_and_logits(deep, images):
    extractor, features, logits = deep
    assert (features.shape, logits.shape, features.dtype) == ((3, 2048), (3, 1008), np.float32)
    assert (extractor.kind, extractor.scorer, extractor.resizer) == ("stand-in", "tf", "tf1-bilinear")
    assert np.isfinite(features).all()
    assert features.std(axis=0).mean() > 1e-3 * features.std(), "different images have different features"
    np.testing.assert_allclose(logits, features @ parameters().softmax_weights, rtol=1e-5, atol=1e-4)


def test_logits_are_those_of_the_graphs_own_nodes(cache, images, deep):
    """Without bias: softmax/logits/MatMul; with bias: softmax/logits, read from the same graph."""
    import tensorflow as tf

    extractor, _, logits = deep
    session = extractor._session
    feed = {extractor._input: images.astype(np.float32)}
    product, biased = session.run(["softmax/logits/MatMul:0", "softmax/logits:0"], feed)
    np.testing.assert_allclose(logits, product, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(logits + extractor.biases, biased, rtol=1e-5, atol=1e-4)
    assert tf.__version__ == extractor.versions["tensorflow"]


def test_an_image_has_the_same_features_in_any_batch(cache, images):
    extractor = open_shallow(cache, 192, 192)
    together, _ = extractor(images)
    alone = np.concatenate([extractor(images[i : i + 1])[0] for i in range(len(images))])
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-6)


def test_only_the_weights_of_a_file_are_used(cache, images, tmp_path):
    """Operations that a file adds to the graph do not run, and shapes that it stores for one image do not count."""
    target = tmp_path / "written"

    def hostile(definition) -> None:
        name = graphdef.add_constant(definition, "name", np.array(str(target).encode(), "S"))
        graphdef.add_node(definition, "write", "WriteFile", (name, name))
        node(definition, "conv").input.append("^write")
        dims = node(definition, "conv/Conv2D").attr.add(key="_output_shapes").value.list.shape.add().dim
        for size in (1, 8, 8, 3):
            dims.add(size=size)

    found = open_shallow(cache, 64, 64, hostile)(images)[0]
    np.testing.assert_array_equal(found, open_shallow(cache, 64, 64)(images)[0])
    assert not target.exists()


def test_each_layer_is_the_same_in_a_deeper_graph(cache, images, deep):
    """Layer 768 of a graph that ends at mixed_7, as the trunk's, equals mixed_7 of the whole one; there is no IS."""
    truncated, logits = open_shallow(cache, 768, 768)(images)
    assert logits is None
    whole = deep[0]._session.run("mixed_7/join:0", {deep[0]._input: images.astype(np.float32)}).mean(axis=(1, 2))
    np.testing.assert_allclose(truncated, whole, rtol=1e-4, atol=1e-5)
    assert open_shallow(cache, 64, 192)(images)[0].shape == (3, 64)


def test_graph_resizes_without_half_pixel_centres(deep):
    """The first pixel of the 299 px image is the first pixel of the small one, exactly."""
    ramp = np.zeros((1, 4, 4, 3), np.uint8)
    ramp[0, :, :, 0] = [0, 100, 200, 250]
    extractor = deep[0]
    resized, scaled = extractor._session.run(["ResizeBilinear:0", "Mul:0"], {extractor._input: ramp.astype(np.float32)})
    assert resized.shape == (1, 299, 299, 3)
    position = np.minimum(np.arange(299) * 4 / 299, 3)
    np.testing.assert_allclose(resized[0, 0, :, 0], np.interp(position, range(4), [0, 100, 200, 250]), atol=1e-3)
    np.testing.assert_allclose(scaled, (resized - 128) / 128, atol=1e-6)


def test_layer_beyond_the_weights_is_refused(cache):
    with pytest.raises(HarnessError, match="end at layer 64"):
        open_shallow(cache, 768, 64)


def test_a_gpu_that_tensorflow_does_not_see_is_refused(cache):
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees a GPU")
    path = str(cache / "64-plain.pb")
    for device, message in (("cuda", "sees no such GPU"), ("cuda:1", "sees no such GPU"), ("gpu", "unknown")):
        with pytest.raises(HarnessError, match=f"'{device}'.*{message}"):
            tensorflow.open_extractor(Setup(path, 64, cache=cache, device=device))
    assert tensorflow.open_extractor(Setup(path, 64, cache=cache, device="auto")).device_used == "cpu"


def test_only_this_module_imports_tensorflow():
    root = ROOT / "harness"
    imports = re.compile(r"^ *import tensorflow", re.MULTILINE)
    users = [p.relative_to(root).as_posix() for p in root.rglob("*.py") if imports.search(p.read_text("utf-8"))]
    assert users == ["metrics/extractors/tensorflow.py"]


def test_command_and_scorer_modules_import_tensorflow_lazily():
    code = (
        "import sys, harness.commands.score; assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "import harness.metrics.extractors.tensorflow, harness.metrics.score; assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.verifies("FID at 768 channels of real CIFAR-10 with the real 2015 trunk: 0.0619")
@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_real_trunk_gives_the_known_fid_of_cifar10(shared_dir: Path, tmp_path, monkeypatch):
    """Train images 0-2499 against 2500-4999 at layer 768: 0.0619 (measured with the official graph's own weights)."""
    from PIL import Image

    from harness.metrics.inception import weights
    from harness.metrics.request import Request
    from harness.metrics.score import score

    monkeypatch.setenv(weights.ENVIRONMENT, str(shared_dir / "mirror" / "inception"))
    sheets = [
        np.asarray(Image.open(shared_dir / "mirror/cifar10" / f"train_0{i}.webp").convert("RGB")) for i in range(5)
    ]
    tiles = [s.reshape(40, 32, 25, 32, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3) for s in sheets]
    images = np.concatenate(tiles)
    np.save(tmp_path / "a.npy", images[:2500])
    np.save(tmp_path / "b.npy", images[2500:])
    setup = Setup("trunk", 768, cache=tmp_path)
    result = score(Request(tmp_path / "a.npy", str(tmp_path / "b.npy"), "tf", setup))
    assert result.values.fid == pytest.approx(0.0619, abs=5e-5)
    assert result.values.is_mean is None
    assert result.protocol.inception == "trunk"


@pytest.mark.slow
def test_tensorflow_says_nothing_of_its_own(cache: Path) -> None:
    code = f"""
import numpy as np
from pathlib import Path
from harness.metrics.extractors import tensorflow
from harness.metrics.extractors.base import Setup
tensorflow.open_extractor(Setup("stand-in", 64, cache=Path({str(cache)!r}), threads=1))(np.zeros((2, 32, 32, 3), "u1"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("", "")
