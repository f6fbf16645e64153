"""Distances to the nearest trained image: against a plain loop, mirrored, without oneself, and for copies."""

import numpy as np
import pytest

from harness.sampling import nearest


def images(n: int, seed: int, resolution: int = 32) -> np.ndarray:
    """Noise, uint8 [n, R, R, 3]; averaged over blocks it still differs."""
    return np.random.default_rng(seed).integers(0, 256, (n, resolution, resolution, 3), dtype=np.uint8)


def batches(trained: np.ndarray, size: int = 7) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.arange(i, min(i + size, len(trained))), trained[i : i + size]) for i in range(0, len(trained), size)]


@pytest.mark.parametrize(("resolution", "side"), [(8, 8), (28, 28), (31, 31), (32, 16), (48, 16), (64, 16), (100, 20)])
def test_averaging_leaves_at_least_16_pixels_or_the_image(resolution: int, side: int) -> None:
    assert nearest.averaged(images(2, 0, resolution)).shape == (2, 3, side, side)
    blocks = images(1, 0, 32).reshape(16, 2, 16, 2, 3).mean((1, 3))
    np.testing.assert_allclose(nearest.averaged(images(1, 0, 32))[0].permute(1, 2, 0) + 127.5, blocks)


@pytest.mark.parametrize("mirrored", [False, True])
def test_it_is_what_a_plain_loop_finds(mirrored: bool) -> None:
    queries, trained = images(5, 1), images(20, 2)
    distances, which = nearest.nearest(queries, batches(trained), mirrored)
    for query, distance, index in zip(queries, distances, which, strict=True):
        others = np.concatenate([trained, trained[:, :, ::-1]]) if mirrored else trained
        pictures = others.reshape(-1, 16, 2, 16, 2, 3).mean((2, 4)) - query.reshape(16, 2, 16, 2, 3).mean((1, 3))
        by_hand = np.sqrt((pictures**2).mean((1, 2, 3)))
        assert distance == pytest.approx(by_hand.min(), rel=1e-6)
        assert index == by_hand.argmin() % len(trained)


def test_a_copy_is_at_no_distance_and_only_its_mirror_image_needs_mirrors() -> None:
    trained = images(20, 2)
    distances, which = nearest.nearest(trained[3:6], batches(trained))
    assert (distances == 0).all()
    assert which.tolist() == [3, 4, 5]
    assert (nearest.nearest(trained[3:6, :, ::-1], batches(trained))[0] > 1).all()
    assert (nearest.nearest(trained[3:6, :, ::-1], batches(trained), mirrored=True)[0] == 0).all()


def test_an_image_is_not_its_own_neighbour_unless_it_is_there_twice() -> None:
    trained = images(20, 2)
    trained[11] = trained[4]
    distances, which = nearest.nearest(trained[3:6], batches(trained), own=np.array([3, 4, 5]))
    assert which[1] == 11
    assert distances[1] == 0
    assert (distances[[0, 2]] > 1).all()


def test_the_share_of_closer_pairs_counts_ties_half() -> None:
    assert nearest.share_closer(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1
    assert nearest.share_closer(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 0
    assert nearest.share_closer(np.array([2.0]), np.array([1.0, 2.0, 3.0, 4.0])) == 2.5 / 4
