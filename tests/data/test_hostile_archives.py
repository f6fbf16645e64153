"""Archives made to harm: sizes that are not true, pickles that ask for memory, members that are no files."""

import gzip
import pickle
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest

from harness.data.fetch import prepare
from harness.errors import HarnessError

from . import official

TIB = 1 << 40
BATCH = "data_batch_1"


def refused(definition, tmp_path, words):
    """Packing fails with a sentence, within 200 MB, and leaves nothing."""
    root = official.write_root(tmp_path / "root", c=definition)
    tracemalloc.start()
    try:
        with pytest.raises(HarnessError, match=words):
            prepare("c", tmp_path / "out" / "c", root)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200e6
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".c.lock"]


class Reduced:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


PICKLES = {
    "1 TiB of bytes": b"\x80\x04\x8e" + struct.pack("<Q", TIB) + b"x.",
    "1 TiB of text": b"\x80\x04\x8d" + struct.pack("<Q", TIB) + b"x.",
    "2 GiB of Python 2 text": b"\x80\x02T" + struct.pack("<i", 2**31 - 1) + b"x.",
    "4,000,000,000 places": b"\x80\x02]r" + struct.pack("<I", 4_000_000_000) + b".",
    "an array of 1 TiB": pickle.dumps(Reduced(np.ndarray, (TIB,), "u1"), protocol=2),
    "a batch of 1 TiB": pickle.dumps({b"data": Reduced(np.ndarray, (TIB, 3072), "u1"), b"labels": []}, protocol=2),
    "a list for a batch": pickle.dumps([1, 2]),
    "no labels": official.python2_pickle({b"data": np.zeros((2, 3072), np.uint8)}),
    "fewer labels": official.python2_pickle({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}),
    "words for labels": official.python2_pickle({b"data": np.zeros((1, 3072), np.uint8), b"labels": [b"x"]}),
    "an array of objects": official.python2_pickle({b"data": np.array([[None] * 3072]), b"labels": [1]}),
    "floats": official.python2_pickle({b"data": np.zeros((2, 3072)), b"labels": [1, 2]}),
    "nothing": b"",
    "text": b"hello",
}


@pytest.mark.parametrize("case", PICKLES)
def test_a_pickle_is_read_within_the_bytes_it_has(local, tmp_path, case):
    members, images, _ = official.cifar10()
    members[BATCH] = PICKLES[case]
    official.extract(local, "cifar-10-batches-py", members)
    refused(official.cifar10_definition(members, "train", images[:30]), tmp_path, "truncated or damaged|arrays only")


def test_a_batch_that_is_too_large_is_not_read(local, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.data.cifar10._MAX_BATCH", 1000)
    members, images, _ = official.cifar10()
    official.extract(local, "cifar-10-batches-py", members)
    refused(official.cifar10_definition(members, "train", images[:30]), tmp_path, "more than 1,000 bytes")


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def link(name: str, target: str) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info.tobuf()


NAME = f"cifar-10-batches-py/{BATCH}"
TARS = {
    "a member of 1 TiB": header(NAME, TIB) + b"x" * 512,
    "a name of 1 TiB": header("././@LongLink", TIB, tarfile.GNUTYPE_LONGNAME) + b"x" * 512,
    "attributes of 1 TiB": header("x", TIB, tarfile.XHDTYPE) + b"x" * 512,
    "a negative size": header(NAME, -5) + b"x" * 512,
    "a link": link(NAME, "/etc/passwd") + b"\0" * 1024,
    "a folder": header(NAME, 0, tarfile.DIRTYPE) + b"\0" * 1024,
    "no tar": b"hello" * 200,
    "nothing": b"",
}


@pytest.mark.parametrize("case", TARS)
def test_a_tar_is_not_believed(local, tmp_path, case):
    members, images, _ = official.cifar10()
    data = gzip.compress(TARS[case], 1)
    (local / "cifar-10-python.tar.gz").write_bytes(data)
    definition = official.cifar10_definition(members, "train", images[:30], official.md5(data))
    words = "no ordinary file" if case in ("a link", "a folder") else "truncated or damaged|no member|more than"
    refused(definition, tmp_path, words)


def test_a_tar_bomb_is_read_within_the_limit(local, tmp_path, monkeypatch):
    """Attributes of 20 MB in 20 kB: a tar reader holds them in memory."""
    monkeypatch.setattr("harness.data.source._AT_ONCE", 1 << 20)
    data = gzip.compress(header("x", 20_000_000, tarfile.XHDTYPE) + bytes(20_000_256), 1)
    (local / "cifar-10-python.tar.gz").write_bytes(data)
    members, images, _ = official.cifar10()
    definition = official.cifar10_definition(members, "train", images[:30], official.md5(data))
    refused(definition, tmp_path, "a read of 20,000,256 bytes")


def test_a_zip_that_lies_about_an_image_is_not_believed(local, tmp_path):
    files, partition = official.celeba(tmp_path / "jpegs", n=2)
    (local / "list_eval_partition.txt").write_bytes(partition)
    path = local / "img_align_celeba.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, f"img_align_celeba/{file.name}")
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 10)
    path.write_bytes(data)
    refused(official.celeba_definition(partition, 2, "none"), tmp_path, "000001.jpg|truncated or damaged")


def test_a_list_with_paths_is_refused(local, tmp_path):
    files, _ = official.celeba(local, n=2)
    partition = b"../../etc/passwd 0\n"
    (local / "list_eval_partition.txt").write_bytes(partition)
    refused(official.celeba_definition(partition, 1, "none"), tmp_path, "is not a file name and a part")
    assert files[0].exists()
