"""What scorers share: resizers by name, and how a batch is cut for a network."""

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.metrics.extractors.base import RESIZERS, parts, resizer_of


@pytest.mark.parametrize("n", [1, 15, 16, 31, 32, 50, 64])
def test_a_batch_is_cut_into_equal_parts_of_sixteen_or_more_on_a_cpu_only(n):
    images = np.arange(n * 12).reshape(n, 2, 2, 3)
    cut = parts(images, "cpu")
    np.testing.assert_array_equal(np.concatenate(cut), images)
    sizes = [len(part) for part in cut]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= min(n, 16)
    assert max(sizes) < 32
    assert len(parts(images, "cuda:0")) == 1


def test_a_scorer_has_its_own_resizer_and_others_by_name():
    assert [resizer_of(scorer, None) for scorer in RESIZERS] == ["tf1-bilinear", "tf1-bilinear", "clean-bicubic"]
    assert resizer_of("clean", "tf1-bilinear") == "tf1-bilinear"
    with pytest.raises(HarnessError, match="--scorer tf has none of that name"):
        resizer_of("tf", "pil-bicubic")
    with pytest.raises(HarnessError, match="Did you mean 'clean'"):
        resizer_of("claen", None)
