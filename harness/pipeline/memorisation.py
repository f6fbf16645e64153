"""What a dump's record says of copies: samples, and images held out, held against those that were trained on."""

from collections.abc import Iterator

import numpy as np

from harness.config.experiments import Run, Scale
from harness.data import card, packed
from harness.data.images import Images, open_images
from harness.records.sample_record import QUANTILES, HeldOut, Memorisation
from harness.sampling import nearest
from harness.training.image_stream import order

QUERIED = 1000  # samples, and as many images held out: enough for ten below the quantile of 1 %
AT_ONCE = 2048  # images that were trained on
DIGITS = 4  # of a distance: rounding differs between machines beyond them


def measure(scale: Scale, run: Run, samples: np.ndarray, nimg: int | None) -> Memorisation | None:
    """Measure how near samples lie to the images that a training had seen, beside images that it had not.

    Held out are, by what there is: the data set that the definition names as `held_out`, where it is packed; images
    that the training had not come to yet; else images that were trained on, each without itself.

    Args:
        samples: uint8 [N, R, R, 3].
        nimg: images of the stream that the training had seen; None or 0: all are taken as trained on.

    Returns:
        None where the training's data set is not packed.

    Raises:
        HarnessError: a packed data set is damaged, or its pixels are not those of its card.
    """
    folder = scale.checkout.data(run.dataset)
    if not (folder / packed.CARD).is_file():
        return None
    trained = open_images(folder)
    seen = _seen(len(trained), run.seed, nimg)
    held_out, name, queries, own = _held_out(scale, run.dataset, trained, seen)
    mirrored, count = run.recipe.flip, len(samples)
    distances, _ = nearest.nearest(
        np.concatenate([samples, queries]),
        _batches(trained, seen),
        mirrored,
        None if own is None else np.concatenate([np.full(count, -1), own]),
    )
    mine, others = distances[:count], distances[count:]
    return Memorisation(
        dataset=run.dataset,
        pixels_sha256=trained.card["pixels_sha256"],
        trained=int(seen.sum()),
        mirrored=mirrored,
        held_out=held_out,
        held_out_dataset=name,
        side=run.resolution // nearest.factor(run.resolution),
        n=count,
        n_held_out=len(queries),
        sample_distances=_quantiles(mine),
        held_out_distances=_quantiles(others),
        closer=round(nearest.share_closer(mine, others), DIGITS),
    )


def neighbours(scale: Scale, run: Run, samples: np.ndarray, nimg: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each sample is from the nearest trained image, float64 [N], and these, uint8 [N, R, R, 3].

    For arguments and errors see `measure`; the data set must be packed.
    """
    folder = scale.checkout.data(run.dataset)
    trained = open_images(folder)
    batches = _batches(trained, _seen(len(trained), run.seed, nimg))
    distances, which = nearest.nearest(samples, batches, run.recipe.flip)
    return distances, packed.load(folder).images[which]


def _seen(size: int, seed: int, nimg: int | None) -> np.ndarray:
    """Which images of the data set a training had seen, bool [size]."""
    seen = np.full(size, not nimg or nimg >= size)
    if nimg and nimg < size:
        seen[order(size, seed, 0)[:nimg].numpy()] = True
    return seen


def _held_out(
    scale: Scale, dataset: str, trained: Images, seen: np.ndarray
) -> tuple[HeldOut, str, np.ndarray, np.ndarray | None]:
    """Choose the images held out: what they are, of which data set, their pixels, and their places if trained on."""
    name = card.definition(dataset, scale.root).held_out
    folder = scale.checkout.data(name) if name else None
    if folder is not None and (folder / packed.CARD).is_file():
        images = open_images(folder)
        queries = np.concatenate(list(images.first(min(QUERIED, len(images))).stream(QUERIED)))
        return "another data set", name, queries, None
    unseen = np.flatnonzero(~seen)[:QUERIED]
    if len(unseen):
        return "not trained on", dataset, packed.load(trained.path).images[unseen], None
    own = np.arange(min(QUERIED, len(trained)))
    return "trained on, leave-one-out", dataset, trained.pixels[: len(own)], own


def _batches(images: Images, seen: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the images that were trained on, with their places; all of them are read and hashed."""
    start = 0
    for pixels in images.stream(AT_ONCE):
        places = start + np.flatnonzero(seen[start : start + len(pixels)])
        if len(places):
            yield places, pixels[places - start]
        start += len(pixels)


def _quantiles(distances: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), DIGITS) for value in np.quantile(distances, QUANTILES))
