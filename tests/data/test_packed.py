"""The packed array: used when it is there and whole, made again when not; `load` refuses what its card does not say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.data import card, check_content, load, seal
from harness.data.fetch import prepare
from harness.data.images import open_images
from harness.errors import HarnessError
from harness.files import write_json

from . import official

STANDIN = {"source": "standin", "split": "drawn", "resolution": 32, "count": 20, "licence": "x"}


@pytest.fixture
def packed(tmp_path):
    root = official.write_root(tmp_path / "root", c=STANDIN)
    prepare("c", tmp_path / "c", root)
    return tmp_path / "c", root


def test_packed_array_comes_first(packed):
    folder, root = packed
    before = (folder / "train.npy").stat()
    prepare("c", folder, root)
    after = (folder / "train.npy").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_a_flipped_pixel_is_found_and_mended(packed, capsys):
    folder, root = packed
    good = load(folder).images.copy()
    with open(folder / "train.npy", "r+b") as handle:
        handle.seek(-1, 2)
        handle.write(bytes([255 - good[-1, -1, -1, -1]]))
    with pytest.raises(HarnessError, match=r"train\.npy: .* but .*card\.json says"):
        check_content(load(folder), folder)
    prepare("c", folder, root)
    assert "not those of its card" in capsys.readouterr().err
    assert np.array_equal(load(folder).images, good)


def test_a_changed_label_is_found_and_mended(packed):
    folder, root = packed
    good = load(folder).labels.copy()
    np.save(folder / "labels.npy", good[::-1])
    with pytest.raises(HarnessError, match=r"labels\.npy: .* but .*card\.json says"):
        check_content(load(folder), folder)
    prepare("c", folder, root)
    assert np.array_equal(load(folder).labels, good)


@pytest.mark.parametrize("change", [{"version": 2}, {"resolution": 48}, {"count": 30}, {"split": "other"}])
def test_another_definition_packs_again(packed, change, capsys):
    folder, root = packed
    card = prepare("c", folder, official.write_root(root, c=STANDIN | change))
    assert "another definition" in capsys.readouterr().err
    assert change.items() <= card.items()
    assert load(folder).images.shape == (card["count"], card["resolution"], card["resolution"], 3)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "card.json").write_text("{"), "not valid JSON"),
        (lambda folder: (folder / "train.npy").unlink(), "no such file"),
        (lambda folder: (folder / "train.npy").write_bytes(b"half"), "not a readable NumPy array"),
        (lambda folder: (folder / "labels.npy").unlink(), "no such file"),
        (lambda folder: np.save(folder / "labels.npy", np.zeros(3)), r"float64 \[3\].*20 integers"),
        (lambda folder: np.save(folder / "train.npy", np.zeros((20, 32, 32, 3))), "float64"),
        (lambda folder: np.save(folder / "train.npy", np.zeros((19, 32, 32, 3), np.uint8)), r"\[19, 32, 32, 3\]"),
    ],
)
def test_load_refuses_what_its_card_does_not_say(packed, damage, words):
    folder, root = packed
    damage(folder)
    with pytest.raises(HarnessError, match=words):
        load(folder)
    prepare("c", folder, root)
    assert len(load(folder)) == 20


def other_name(folder):
    made = json.loads((folder / "card.json").read_text())
    write_json(folder / "card.json", seal(made | {"name": "d"}))


@pytest.mark.parametrize(
    ("change", "words", "maker"),
    [
        (lambda folder: (folder / "card.json").unlink(), "no packed data set here", "no data set that this harness"),
        (lambda folder: (folder / "card.json").write_text("{}"), "not the card of a data set", "no data set that"),
        (other_name, None, "card.json, data set d, and packing c would replace them"),
    ],
)
def test_somebody_s_arrays_are_never_replaced(packed, change, words, maker):
    folder, root = packed
    change(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    if words:
        with pytest.raises(HarnessError, match=words):
            load(folder)
    with pytest.raises(HarnessError, match=f"{folder}: holds train.npy, .*{maker}"):
        prepare("c", folder, root)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("step", range(3))
def test_a_disk_that_fails_between_the_renames_leaves_no_data_set(packed, step, monkeypatch):
    """The new pixels are in place, or not yet, and the old card must not stand beside them."""
    folder, root = packed
    official.write_root(root, c=STANDIN | {"resolution": 16})
    renamed: list[str] = []
    replace = os.replace

    def failing(source, target):
        if Path(target).parent == folder:
            if len(renamed) == step:
                raise OSError(28, "No space left on device")
            renamed.append(Path(target).name)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing)
        with pytest.raises(HarnessError, match="No space left on device"):
            prepare("c", folder, root)
    assert renamed == ["train.npy", "labels.npy", "card.json"][:step]
    with pytest.raises(HarnessError, match="no packed data set here"):
        load(folder)
    assert prepare("c", folder, root)["resolution"] == 16
    assert sorted(p.name for p in folder.parent.iterdir()) == [".c.lock", "c", "root"]
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "labels.npy", "train.npy"]


@pytest.mark.parametrize("count", [0, 1])
def test_a_data_set_of_fewer_than_two_images_is_refused(packed, count):
    """On packing, and where an earlier version packed one."""
    folder, root = packed
    np.savez(root / "few.npz", images=np.full((count, 32, 32, 3), 9, np.uint8))
    own = {"source": "folder", "split": "own", "resolution": 32, "licence": "mine", "path": "few.npz"}
    with pytest.raises(HarnessError, match=rf"npz few\.npz: holds {count} image\(s\) for c; a data set needs"):
        prepare("c", folder, official.write_root(root, c=own))
    assert len(load(folder)) == 20, "what was there is intact"
    made = json.loads((folder / "card.json").read_text())
    np.save(folder / "train.npy", np.zeros((count, 32, 32, 3), np.uint8))
    write_json(folder / "card.json", seal(made | {"labels": False, "count": count}))
    with pytest.raises(HarnessError, match=rf"{folder}: holds {count} image\(s\); a score needs at least 2"):
        open_images(folder)


def test_labels_of_an_earlier_definition_do_not_stay(packed):
    folder, root = packed
    (root / "photos.npz").parent.mkdir(exist_ok=True)
    np.savez(root / "photos.npz", images=np.full((2, 32, 32, 3), 9, np.uint8))
    own = {"source": "folder", "split": "own", "resolution": 32, "licence": "mine", "path": "photos.npz"}
    prepare("c", folder, official.write_root(root, c=own))
    assert load(folder).labels is None
    assert not (folder / "labels.npy").exists()


def test_the_card_is_json_a_person_can_read(packed):
    folder, _ = packed
    card = json.loads((folder / "card.json").read_text())
    for key in (
        "name",
        "source",
        "licence",
        "count",
        "crop",
        "resize",
        "resize_library",
        "pixels_sha256",
        "archive_sha256",
    ):
        assert key in card
    write_json(folder / "card.json", seal(card | {"labels": False}))
    assert load(folder).labels is None


def test_reading_needs_numpy_only():
    others = "torch torchvision pandas tensorflow PIL filelock yaml dvc"
    code = f"import harness.data, sys; print([m for m in '{others}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("held_out", "message"),
    [("b", "no other data set 'b'"), ("a", "no other data set 'a'"), ("small", "'small' is of 16 px, 'a' of 32")],
)
def test_only_another_data_set_of_the_same_size_is_held_out(tmp_path, held_out, message):
    known = {"source": "standin", "split": "drawn", "resolution": 32, "count": 4, "licence": "ours"}
    root = official.write_root(tmp_path, a=known | {"held_out": held_out}, small=known | {"resolution": 16})
    with pytest.raises(HarnessError, match=message):
        card.definitions(root)
