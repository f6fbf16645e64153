"""Data sets: fetched, packed and read. `load` opens a packed one; everything else is in the modules beside this one."""

from harness.data.packed import CARD, IMAGES, LABELS, ImageSet, check_content, load, seal

__all__ = ["CARD", "IMAGES", "LABELS", "ImageSet", "check_content", "load", "seal"]
