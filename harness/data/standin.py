"""Stand-in data sets, drawn: ten classes of shapes with shadows on shaded grounds, for machines without any data.

Integer arithmetic only, so the bytes are the same on every machine; image i depends on (resolution, i) only.
"""

from collections.abc import Callable, Iterator

import numpy as np

UNIT = 1024  # the picture spans [-UNIT, UNIT] in both directions, whatever its resolution
SUPERSAMPLING = 2
CHUNK = 100

# Pythagorean triples: rotations by -28 to 28 degrees that need no trigonometry (cosine, sine, each times 65).
ROTATIONS = np.array([[65, 0], [63, 16], [60, 25], [57, 31], [63, -16], [60, -25], [57, -31]], np.int32)

# One row a class: foreground, top of the ground, bottom of the ground (RGB).
PALETTE = np.array(
    [
        [[226, 74, 58], [150, 205, 235], [226, 240, 246]],
        [[250, 202, 62], [52, 70, 140], [110, 140, 205]],
        [[70, 160, 92], [244, 226, 190], [214, 176, 130]],
        [[240, 240, 236], [200, 92, 112], [110, 44, 84]],
        [[64, 92, 190], [252, 214, 120], [240, 150, 84]],
        [[236, 130, 48], [34, 92, 98], [92, 164, 160]],
        [[132, 76, 168], [204, 232, 196], [130, 190, 140]],
        [[40, 44, 60], [236, 236, 240], [176, 184, 200]],
        [[96, 200, 214], [70, 40, 62], [150, 80, 90]],
        [[244, 146, 178], [44, 52, 58], [100, 116, 112]],
    ],
    np.int32,
)

Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]

# (u, v) in [-UNIT, UNIT] around the shape's centre -> inside? One a class, in the order of PALETTE.
SHAPES: tuple[Shape, ...] = (
    lambda u, v: u * u + v * v < UNIT**2,  # disc
    lambda u, v: (u * u + v * v < UNIT**2) & (u * u + v * v > (UNIT * 11 // 20) ** 2),  # ring
    lambda u, v: np.maximum(abs(u), abs(v)) < UNIT * 17 // 20,  # square
    lambda u, v: abs(u) + abs(v) < UNIT * 23 // 20,  # diamond
    lambda u, v: (v < UNIT * 7 // 10) & (2 * abs(u) < v + UNIT * 11 // 10),  # triangle
    lambda u, v: (np.minimum(abs(u), abs(v)) < UNIT * 3 // 10) & (np.maximum(abs(u), abs(v)) < UNIT),  # cross
    lambda u, v: (abs(u) < UNIT) & (abs(v) < UNIT * 9 // 10) & ((v + 4 * UNIT) // (UNIT * 9 // 25) % 2 == 1),  # stripes
    lambda u, v: (
        (np.maximum(abs(u), abs(v)) < UNIT * 9 // 10)  # chequers
        & (((u + 4 * UNIT) // (UNIT * 3 // 5) + (v + 4 * UNIT) // (UNIT * 3 // 5)) % 2 == 0)
    ),
    lambda u, v: (
        (u * u + v * v < UNIT**2)  # crescent
        & ((u - UNIT // 2) ** 2 + (v + UNIT // 4) ** 2 > (UNIT * 4 // 5) ** 2)
    ),
    lambda u, v: (abs(u) - UNIT // 2) ** 2 + (abs(v) - UNIT // 2) ** 2 < (UNIT * 2 // 5) ** 2,  # four dots
)


def chunks(count: int, resolution: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield images uint8 [n, R, R, 3] and their classes uint8 [n], which run 0, 1, ..., 9, 0, 1, ...; n <= CHUNK."""
    for start in range(0, count, CHUNK):
        index = np.arange(start, min(start + CHUNK, count), dtype=np.uint64)
        labels = (index % len(SHAPES)).astype(np.uint8)
        images = np.empty((len(index), resolution, resolution, 3), np.uint8)
        for label in range(len(SHAPES)):
            images[labels == label] = _draw_class(label, index[labels == label], resolution)
        yield images, labels


def _draw_class(label: int, index: np.ndarray, resolution: int) -> np.ndarray:
    def uniform(what: int, low: int, high: int) -> np.ndarray:
        """Integers in [low, high] for every image, int32 [n, 1, 1]."""
        bits = _hash(index * np.uint64(64) + np.uint64(what), resolution)
        return (bits % np.uint64(high - low + 1)).astype(np.int32)[:, None, None] + np.int32(low)

    fine = resolution * SUPERSAMPLING
    axis = (((2 * np.arange(fine) + 1 - fine) * UNIT) // fine).astype(np.int32)
    x, y = axis[None, None, :], axis[None, :, None]
    radius, across, down = uniform(0, 430, 640), uniform(1, -260, 260), uniform(2, -240, 240)
    rotation = ROTATIONS[uniform(3, 0, len(ROTATIONS) - 1)[:, 0, 0]]
    cosine, sine = rotation[:, 0, None, None], rotation[:, 1, None, None]

    def inside(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
        u = (cosine * dx + sine * dy) * 63 // (4 * radius)  # 63 / 4 is UNIT / 65: the shape's own units, within int32
        v = (cosine * dy - sine * dx) * 63 // (4 * radius)
        return SHAPES[label](u, v)

    shape = inside(x - across, y - down)
    shadow = inside(x - across - 90, y - down - 110)
    light = (x + y) * 26 // UNIT  # brighter towards the lower right on the ground, towards the upper left on the shape
    height = y + UNIT
    canvas = np.empty((len(index), fine, fine, 3), np.int32)
    for channel in range(3):
        fore, top, bottom = (
            PALETTE[label, part, channel] + uniform(4 + 3 * part + channel, -26, 26) for part in range(3)
        )
        ground = top + (bottom - top) * height // (2 * UNIT) + light // 3
        ground = np.where(shadow, ground * 3 // 5, ground)
        canvas[..., channel] = np.where(shape, fore - light, ground)
    small = canvas.reshape(len(index), resolution, SUPERSAMPLING, resolution, SUPERSAMPLING, 3).sum((2, 4))
    samples = SUPERSAMPLING**2
    pixel = np.arange(resolution * resolution * 3, dtype=np.uint64).reshape(resolution, resolution, 3)
    grain = _hash(index[:, None, None, None] * np.uint64(1 << 20) + pixel, resolution + 1) % np.uint64(13)
    return np.clip((small + samples // 2) // samples + grain.astype(np.int32) - 6, 0, 255).astype(np.uint8)


def _hash(counter: np.ndarray, seed: int) -> np.ndarray:
    """SplitMix64 (Steele, Lea and Flood 2014): uint64 counters to uint64 bits, the same on every machine."""
    offset = seed * 0xD1B54A32D192ED03 % 2**64  # in Python's integers: NumPy warns when a scalar wraps around
    z = (counter + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(offset)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
