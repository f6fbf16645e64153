import numpy as np
import pytest

from harness.errors import HarnessError
from harness.metrics.inception_score import InceptionScore
from tests.metrics.features import inception_score


def textbook(logits: np.ndarray, splits: int) -> tuple[float, float]:
    """The definition, written out: exp of the mean KL to the split's marginal."""
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    scores = []
    for i in range(splits):
        part = p[i * len(p) // splits : (i + 1) * len(p) // splits]
        scores.append(np.exp((part * (np.log(part) - np.log(part.mean(0)))).sum(1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def test_uniform_logits_score_one():
    mean, std = inception_score(np.full((100, 1008), 3.0), 10)
    assert mean == pytest.approx(1, abs=1e-12)
    assert std == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("classes", [1, 4, 10])
def test_certain_and_evenly_spread_scores_the_number_of_classes(classes):
    logits = np.zeros((200, 1008))
    logits[np.arange(200), np.arange(200) % classes] = 1000.0  # p log p underflows to zero, not to NaN
    mean, std = inception_score(logits, 10)
    assert mean == pytest.approx(classes, rel=1e-12)
    assert std == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize(("total", "splits"), [(200, 10), (103, 10), (10, 10), (57, 1)])
def test_equals_the_definition(total, splits):
    logits = np.random.default_rng(0).standard_normal((total, 50)) * 3
    assert inception_score(logits, splits) == pytest.approx(textbook(logits, splits), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_streaming_equals_the_whole(batch):
    logits = (np.random.default_rng(0).standard_normal((203, 30)) * 3).astype(np.float32)
    score = InceptionScore(10, 203)
    for start in range(0, 203, batch):
        score.update(logits[start : start + batch])
    assert score.result() == pytest.approx(textbook(logits.astype(np.float64), 10), rel=1e-12)


def test_order_matters_by_split():
    """Sorted by class each split is pure (score 1); interleaved each split sees all classes."""
    logits = 1000.0 * np.eye(10)[np.repeat(np.arange(10), 20)]
    assert inception_score(logits, 10)[0] == pytest.approx(1)
    assert inception_score(logits.reshape(10, 20, 10).swapaxes(0, 1).reshape(200, 10), 10)[0] == pytest.approx(10)


def test_remainder_is_spread_and_used():
    score = InceptionScore(10, 103)
    assert score._sizes.sum() == 103
    assert set(score._sizes) == {10, 11}
    logits = np.zeros((103, 5))
    logits[-1, 0] = 50.0  # the very last image lies in the last split, not in a dropped remainder
    assert inception_score(logits, 10)[0] > 1.0001


def test_shifting_logits_changes_nothing():
    logits = np.random.default_rng(0).standard_normal((60, 20))
    shift = np.linspace(-500, 500, 60)[:, None]
    assert inception_score(logits + shift, 3) == pytest.approx(inception_score(logits, 3), rel=1e-9)


def test_refusals():
    with pytest.raises(HarnessError, match="one image a split"):
        InceptionScore(10, 9)
    score = InceptionScore(2, 4)
    score.update(np.zeros((3, 5)))
    with pytest.raises(HarnessError, match="only 3"):
        score.result()
    with pytest.raises(HarnessError, match="NaN"):
        score.update(np.full((1, 5), np.nan))
