"""Images tiled into one picture."""

from pathlib import Path

import numpy as np

from harness.files import replacing


def grid(images: np.ndarray, columns: int = 10) -> np.ndarray:
    """Tile uint8 [N,R,R,3] row by row into one uint8 picture with a 2-pixel white border; missing tiles are white."""
    count, side = len(images), images.shape[1]
    rows = -(-count // columns)
    picture = np.full((rows * (side + 2) + 2, columns * (side + 2) + 2, 3), 255, np.uint8)
    for i, image in enumerate(images):
        y, x = divmod(i, columns)
        picture[2 + y * (side + 2) :][:side, 2 + x * (side + 2) :][:, :side] = image
    return picture


def grid_png(images: np.ndarray, path: Path, columns: int = 10) -> None:
    """Write a grid of uint8 [N,R,R,3] as PNG, atomically."""
    from PIL import Image

    with replacing(Path(path)) as temporary:
        Image.fromarray(grid(images, columns)).save(temporary, format="PNG")
