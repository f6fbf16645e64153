"""The means that a training writes down at each log point, summed on the device."""

import csv
import hashlib
import io
import os
from pathlib import Path

import torch

from harness.files import replacing, writing

TIMING = ("images_per_sec", "wall_sec", "memory_mib")  # the columns that differ between two identical runs


class Meter:
    """Sums scalars on the device without a host synchronisation; a NaN or infinity stays visible in the sum."""

    def __init__(self, device: torch.device | str) -> None:
        """Start with nothing summed."""
        self.device = device
        self.sums: dict[str, torch.Tensor] = {}  # "name,name,...": float64 [names + 1], the last one counts
        self._one = torch.ones(1, dtype=torch.double, device=device)

    def add(self, terms: dict[str, torch.Tensor]) -> None:
        """Add one observation of each term (scalar tensors), all in a few launches."""
        key = ",".join(terms)
        values = torch.cat([torch.stack([value.detach() for value in terms.values()]).double(), self._one])
        self.sums[key] = self.sums[key] + values if key in self.sums else values

    def means(self) -> dict[str, float]:
        """Mean of every term since the last `clear`; one synchronisation a combination of terms."""
        totals: dict[str, list[float]] = {}
        for key, values in self.sums.items():
            *sums, count = values.tolist()
            for name, total in zip(key.split(","), sums, strict=True):
                pair = totals.setdefault(name, [0.0, 0.0])
                pair[0] += total
                pair[1] += count
        return {name: total / count for name, (total, count) in totals.items()}

    def clear(self) -> None:
        """Forget what was summed."""
        self.sums = {}


class History:
    """history.csv: one row per log point, each flushed to the disk.

    `size` (bytes) and `sha256` are those of what was written, whatever the disk holds.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], kept: bytes = b"") -> None:
        """Start `path` afresh with the rows of a checkpoint, `kept` (header included), or with a header alone."""
        self.path, self.columns = path, columns
        content = kept or self._line(dict(zip(columns, columns, strict=True)))
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        self.size, self._digest = len(content), hashlib.sha256(content)

    def append(self, row: dict[str, float]) -> None:
        """Add one row; missing columns stay empty.

        Raises:
            HarnessError: it could not be written (a full disk, say).
        """
        line = self._line({key: repr(value) for key, value in row.items()})
        with writing(self.path), open(self.path, "ab") as handle:
            handle.write(line)
            handle.flush()
            os.fsync(handle.fileno())
        self.size += len(line)
        self._digest.update(line)

    @property
    def sha256(self) -> str:
        """Of all that was written."""
        return self._digest.hexdigest()

    def _line(self, row: dict[str, str]) -> bytes:
        text = io.StringIO(newline="")
        csv.DictWriter(text, self.columns).writerow(row)
        return text.getvalue().encode()


def read(path: Path) -> list[dict[str, str]]:
    """Read the whole rows of a history file (a row cut short by a kill is left out); [] if there is none."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as handle:
        return [row for row in csv.DictReader(handle) if None not in row.values() and row["nimg"].isdigit()]
