"""Small files in the official formats, and a repository root whose definitions expect exactly them."""

import hashlib
import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import yaml
from PIL import Image


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def write_root(root: Path, **definitions: dict[str, Any]) -> Path:
    (root / "experiments").mkdir(parents=True, exist_ok=True)
    (root / "experiments" / "datasets.yaml").write_text(yaml.safe_dump(definitions), encoding="utf-8")
    return root


def tar(path: Path, folder: str, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def extract(path: Path, folder: str, members: dict[str, bytes]) -> None:
    (path / folder).mkdir(parents=True)
    for name, data in members.items():
        (path / folder / name).write_bytes(data)


class _Python2(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings: the official batches are such pickles."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def python2_pickle(value: Any) -> bytes:
    out = io.BytesIO()
    _Python2(out, protocol=2).dump(value)
    return out.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def cifar10(n: int = 6) -> tuple[dict[str, bytes], np.ndarray, np.ndarray]:
    """Five training batches of `n` images, one of test, and the meta file; the images and labels of all six."""
    random = np.random.default_rng(10)
    images = random.integers(0, 256, (6 * n, 32, 32, 3), np.uint8)
    labels = random.integers(0, 10, 6 * n)
    labels[0], labels[5 * n] = 9, 9
    members = {}
    for i, name in enumerate([f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]):
        planes = images[i * n : (i + 1) * n].transpose(0, 3, 1, 2).reshape(n, 3072)
        batch = {
            b"batch_label": name.encode(),
            b"labels": labels[i * n : (i + 1) * n].tolist(),
            b"data": np.ascontiguousarray(planes),
            b"filenames": [b"x.png"] * n,
        }
        members[name] = python2_pickle(batch)
    members["batches.meta"] = python2_pickle({b"label_names": [b"%d" % k for k in range(10)]})
    return members, images, labels


def cifar10_definition(
    members: dict[str, bytes], split: str, images: np.ndarray, archive_md5: str = ""
) -> dict[str, Any]:
    names = [m for m in members if m.startswith("data" if split == "train" else "test")]
    return {
        "source": "cifar10",
        "split": split,
        "resolution": 32,
        "source_size": [32, 32],
        "count": len(images),
        "pixels_sha256": hashlib.sha256(images.tobytes()).hexdigest(),
        "licence": "made by a test",
        "local": ["cifar-10-python.tar.gz", "cifar-10-batches-py", f"cifar10-{split}.npz"],
        "archive": "cifar-10-python.tar.gz",
        "archive_md5": archive_md5,
        "members": {name: md5(members[name]) for name in names},
    }


def stl10(train: int = 4, unlabeled: int = 7) -> tuple[dict[str, bytes], np.ndarray]:
    """The binaries, not in the split's order, and the images [train + unlabeled, 96, 96, 3] in it."""
    images = np.random.default_rng(96).integers(0, 256, (train + unlabeled, 96, 96, 3), np.uint8)
    images[:, ::2] //= 2
    binary = [image.transpose(2, 1, 0).tobytes() for image in images]  # planes, each column by column
    labels = bytes(range(1, train + 1))
    members = {
        "unlabeled_X.bin": b"".join(binary[train:]),
        "test_X.bin": b"".join(binary[:2]),
        "test_y.bin": b"\x01\x02",
        "train_X.bin": b"".join(binary[:train]),
        "train_y.bin": labels,
    }
    return members, images


def stl10_definition(members: dict[str, bytes], split: str, count: int, archive_md5: str = "") -> dict[str, Any]:
    return {
        "source": "stl10",
        "split": split,
        "resolution": 48,
        "resize": "bilinear",
        "source_size": [96, 96],
        "count": count,
        "licence": "made by a test",
        "local": ["stl10_binary.tar.gz", "stl10_binary", "stl10.npz"],
        "archive": "stl10_binary.tar.gz",
        "archive_md5": archive_md5,
        "members": {f"{part}_X.bin": md5(members[f"{part}_X.bin"]) for part in split.split("+")},
    }


def celeba(folder: Path, n: int = 5) -> tuple[list[Path], bytes]:
    """`img_align_celeba/` with n JPEGs of 178 x 218 and the list beside it; returns the files and the list's bytes."""
    (folder / "img_align_celeba").mkdir(parents=True)
    ramp = np.add.outer(np.arange(218), np.arange(178)) % 256
    files = []
    for i in range(n):
        pixels = np.stack([ramp, ramp[::-1], (ramp + 40 * i) % 256], axis=-1).astype(np.uint8)
        files.append(folder / "img_align_celeba" / f"{i + 1:06d}.jpg")
        Image.fromarray(pixels).save(files[-1], quality=92)
    partition = "".join(f"{file.name} {i % 3}\n" for i, file in enumerate(files)).encode()
    (folder / "list_eval_partition.txt").write_bytes(partition)
    return files, partition


def celeba_definition(
    partition: bytes, count: int, crop: str, archive_md5: str = "", split: str = "all"
) -> dict[str, Any]:
    return {
        "source": "celeba",
        "split": split,
        "resolution": 64,
        "crop": crop,
        "resize": "bilinear",
        "source_size": [218, 178],
        "count": count,
        "licence": "made by a test",
        "local": ["img_align_celeba.zip", "celeba/img_align_celeba.zip", "img_align_celeba", "celeba/img_align_celeba"],
        "archive": "img_align_celeba.zip",
        "archive_md5": archive_md5,
        "members": {"list_eval_partition.txt": md5(partition)},
    }
