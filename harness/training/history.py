"""What a run writes down while it trains: means between log points, kept on the device until someone looks."""

import csv
import os
from pathlib import Path

import torch

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
    """history.csv: one row per log point, each flushed to disk; rows after a resumed checkpoint are dropped."""

    def __init__(self, path: Path, columns: tuple[str, ...], resume_nimg: int) -> None:
        """Open `path`, keep its whole rows up to `resume_nimg` and append from there."""
        self.path, self.columns = path, columns
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [row for row in read(path) if int(row["nimg"]) <= resume_nimg]
        with open(path, "w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, columns)
            writer.writeheader()
            writer.writerows(kept)

    def append(self, row: dict[str, float]) -> None:
        """Add one row; missing columns stay empty."""
        with open(self.path, "a", newline="", encoding="utf-8") as handle:
            csv.DictWriter(handle, self.columns).writerow({k: repr(v) for k, v in row.items()})
            handle.flush()
            os.fsync(handle.fileno())


def read(path: Path) -> list[dict[str, str]]:
    """Read the whole rows of a history file (a row cut short by a kill is left out); [] if there is none."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as handle:
        return [row for row in csv.DictReader(handle) if None not in row.values() and row["nimg"].isdigit()]
