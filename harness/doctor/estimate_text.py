"""An estimate as a table, as sentences and as JSON."""

from typing import Any

from tabulate import tabulate

from harness.doctor.devices import Figure
from harness.doctor.estimate import PARTS, Cost, Estimate
from harness.doctor.recorded import REPEAT

HOUR, DAY, GB = 3600.0, 86400.0, 1e9


def table(found: Estimate, by: str) -> str:
    """Aligned text, a row a group and the total.

    Args:
        found: what is shown.
        by: `table` or `experiment`.
    """
    unit = "GPU-h" if found.machine.is_gpu else "hours"
    head = [
        by,
        "trainings",
        *PARTS[:4],
        unit,
        "from",
        "to",
        *(["CPU-h"] if found.machine.is_gpu else []),
        "GB",
        "basis",
    ]
    groups = {**found.groups(by), "total": found.total}
    rows = []
    for name, cost in groups.items():
        parts = [_number(cost.seconds[part] / HOUR) for part in PARTS[:4]]
        bounds = [_number(seconds / HOUR) for seconds in (cost.device_total, cost.low, cost.high)]
        on_cpu = [_number(cost.seconds["score_cpu"] / HOUR)] if found.machine.is_gpu else []
        basis = ", ".join(sorted(cost.basis)) or "-"
        rows.append([name, cost.trainings or "-", *parts, *bounds, *on_cpu, _number(cost.bytes / GB), basis])
    align = ["left", *["right"] * (len(head) - 2), "left"]
    return tabulate(rows, head, tablefmt="simple", disable_numparse=True, colalign=align)


def sentences(found: Estimate) -> list[str]:
    """What the total is, and what it rests on."""
    days = f"{_number(found.total.total / DAY)} days one stage after the other on one machine"
    return [f"estimate for scale {found.scale} on {found.machine.name}: {short(found)}; {days}.", *basis(found)]


def short(found: Estimate) -> str:
    """Hours with their range, of the CPU beside a GPU too, and disk."""
    cost, machine = found.total, found.machine
    text = f"{_number(cost.device_total / HOUR)} {'GPU-hours' if machine.is_gpu else 'hours'}"
    if cost.high > cost.low:  # something is computed on the device
        text += f" ({_number(cost.low / HOUR)} to {_number(cost.high / HOUR)})"
    if cost.seconds["score_cpu"]:
        text += f", {_number(cost.seconds['score_cpu'] / HOUR)} hours of TensorFlow on {machine.threads} CPU threads"
    return f"{text}, {_number(cost.bytes / GB)} GB"


def basis(found: Estimate) -> list[str]:
    """Say what was measured, what was counted and what is assumed."""
    kinds = [next(iter(cost.basis), "") for cost in found.trainings.values()]
    numbers = {kind: kinds.count(kind) for kind in ("measured", "counted", "released")}
    out = []
    if numbers["measured"]:
        device = (
            "kind of card" if found.machine.is_gpu else "number of threads, and the same processor if a record says"
        )
        out.append(
            f"{numbers['measured']} trainings at the median speed of recorded ones of the same networks on the same "
            f"{device}; from the fastest to the slowest of them, at least a factor of {REPEAT:g} either way."
        )
    if numbers["released"]:
        out.append(f"{numbers['released']} rows score released weights: no training.")
    if numbers["counted"]:
        share, launch = found.machine.efficiency.float32, found.machine.figures.launch_sec
        peak = f"{found.machine.flop_per_sec('float32') / 1e12:.3g} float32 TFLOP/s"
        text = f"{numbers['counted']} trainings by counted operations, at {share.value:g} of {peak} {_belief(share)}"
        if found.machine.is_gpu:
            text += f", or {launch.value * 1e6:g} us a kernel where that is slower {_belief(launch)}"
        out.append(f"{text}.")
    return out


def _belief(figure: Figure) -> str:
    return f"({figure.confidence}, within a factor of {figure.factor:g}: {figure.because})"


def document(found: Estimate, by: str) -> dict[str, Any]:
    """The estimate as JSON: seconds and bytes."""
    cost = found.total
    return {
        "scale": found.scale,
        "params_file": str(found.path),
        "device": found.machine.device,
        "machine": found.machine.name,
        "by": by,
        "groups": {name: _entry(one) for name, one in found.groups(by).items()},
        "trainings": {key: _entry(one) for key, one in found.trainings.items()},
        **_entry(cost),
        "data_bytes": found.data_bytes,
        "rests_on": basis(found),
    }


def _entry(cost: Cost) -> dict[str, Any]:
    return {
        "seconds": {**cost.seconds, "total": cost.total, "device": cost.device_total},
        "device_seconds_between": [cost.low, cost.high],
        "bytes": cost.bytes,
        "trainings_counted": cost.trainings,
        "basis": sorted(cost.basis),
    }


def _number(value: float) -> str:
    """Two digits that count, no more: an estimate."""
    if value == 0:
        return "0"
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 9.5 else f"{value:.2g}"
