"""What a rehearsal took, as a table: on the terminal, and as a block of a page that later rehearsals replace."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness.files import write_text
from harness.pipeline.rehearse import ENDS, GIB, STARTS, Outcome

FIRST = ("experiment", "px", "G params", "D params")
STAGES = ("import", "train", "choose", "sample")  # then the scorers
LAST = ("peak GiB", "seconds", "commit", "failed")
NONE = "—"


def cells(outcomes: list[Outcome], commit: str) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the rows of the table; seconds by stage, in the order in which the stages ran."""
    ran = dict.fromkeys(stage for one in outcomes if one.name not in (STARTS, ENDS) for stage in one.seconds)
    stages = [stage for stage in (*STAGES, *(stage for stage in ran if stage not in STAGES)) if stage in ran]
    rows = []
    for one in outcomes:
        millions = [f"{n / 1e6:.2f} M" if n else NONE for n in one.parameters]
        seconds = [f"{one.seconds[stage]:.1f}" if stage in one.seconds else NONE for stage in stages]
        end = [f"{one.peak_bytes / GIB:.1f}", f"{one.wall_sec:.0f}", commit, "; ".join(one.problems) or NONE]
        rows.append([one.name, str(one.resolution or NONE), *millions, *seconds, *end])
    return [*FIRST, *stages, *LAST], rows


def plain(outcomes: list[Outcome]) -> str:
    """Return the table for a terminal."""
    heads, rows = cells(outcomes, "")
    drop = heads.index("commit")
    return tabulate(
        [row[:drop] + row[drop + 1 :] for row in rows],
        heads[:drop] + heads[drop + 1 :],
        tablefmt="plain",
        disable_numparse=True,
    )


def write(path: Path, scale: str, outcomes: list[Outcome], facts: dict[str, Any]) -> None:
    """Replace the block of `scale` in a page, or add it; the file is made if it is not there.

    A rehearsal of some experiments (`facts["only"]`) replaces their rows and keeps the others, if the stages are the
    same; each row says at which commit it was run.

    Args:
        facts: `date`, `machine`, `threads`, `commit`, `only`.
    """
    begin, end = f"<!-- rehearsal {scale} -->", f"<!-- /rehearsal {scale} -->"
    text = path.read_text(encoding="utf-8") if path.is_file() else "# Rehearsal\n"
    if begin not in text:
        text = f"{text.rstrip()}\n\n{begin}\n{end}\n"
    before, rest = text.split(begin, 1)
    block, after = rest.split(end, 1)
    heads, rows = cells(outcomes, facts["commit"])
    old_heads, old = _read(block)
    if facts["only"] and old_heads == heads:
        new = {row[0]: row for row in rows}
        rows = [new.pop(row[0], row) for row in old]
        rows[-1:-1] = new.values()  # before the ends, which are always there
    write_text(path, f"{before}{begin}\n{_block(scale, heads, rows, facts)}{end}{after}")


def _block(scale: str, heads: list[str], rows: list[list[str]], facts: dict[str, Any]) -> str:
    experiments = [row for row in rows if row[0] not in (STARTS, ENDS)]
    passed = sum(row[-1] == NONE for row in experiments)
    seconds, peak = ([float(row[heads.index(name)]) for row in rows] for name in ("seconds", "peak GiB"))
    said = (
        f"`harness rehearse {scale}`: {passed} of {len(experiments)} experiments passed every stage, in "
        f"{sum(seconds):,.0f} s and at most {max(peak):.1f} GiB.\n"
        f"Last run: {facts['date']}, commit {facts['commit']}, {facts['machine']}, threads: {facts['threads']}.\n"
    )
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    table = tabulate(escaped, heads, tablefmt="pipe", disable_numparse=True)
    return f"{said}\n{re.sub(r'-{3,}', '---', re.sub(r' {2,}', ' ', table))}\n"


def _read(block: str) -> tuple[list[str], list[list[str]]]:
    lines: Iterable[str] = (line for line in block.splitlines() if line.startswith("|"))
    table = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    unescaped = [[cell.replace("\\|", "|") for cell in row] for row in table]
    return (unescaped[0], unescaped[2:]) if unescaped else ([], [])
