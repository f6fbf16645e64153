"""How long a launch is thought to take: hours of each stage, of all, and on how many GPUs they are over when."""

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from harness.cluster.engine import Node
from harness.cluster.graph import Row, look_ahead
from harness.cluster.resources import Resources
from harness.cluster.shown import HOUR_SEC
from harness.errors import HarnessError
from harness.paths import PARAMS

GAIN = 0.95  # a doubling of GPUs that leaves more than this share of the hours is not shown, nor one after it


def estimate(rows: Mapping[str, Row], card: str | None = None) -> list[str]:
    """Set `hours`, `basis` and with them `ahead` of the stages of scales, and say what could not be estimated.

    A stage that is given a GPU is estimated for one, any other for this machine's CPU with the scale's threads. With k
    GPUs a stage is thought to be done k times as fast.

    Args:
        rows: all stages of a launch, in DVC's order.
        card: an entry of experiments/devices.yaml; default: the GPU that torch sees here.
    """
    problems = []
    for pipeline in {row.stage.pipeline: None for row in rows.values() if row.is_training}:
        try:
            problems += _estimate([row for row in rows.values() if row.stage.pipeline == pipeline], card)
        except HarnessError as error:
            problems.append(f"{pipeline}: no estimate of hours: {error}")
    look_ahead(rows)
    return problems


def _estimate(rows: Sequence[Row], card: str | None) -> list[str]:
    """Estimate the stages of one scale; those that neither train, choose, sample nor score are left alone."""
    import torch

    from harness.config.experiments import open_scale
    from harness.doctor import devices
    from harness.doctor.estimate import Cost, count_all, estimate_counted
    from harness.pipeline.plan import find_problems

    scale = open_scale(rows[0].stage.pipeline.with_name(PARAMS))
    runs, problems = find_problems(scale)
    if problems:
        return [f"{scale.path}: no estimate of hours: {problems[0]}"]
    trainings, threads = count_all(scale, runs), scale.params.threads
    costs: dict[bool, dict[str, Cost]] = {}
    for on_gpu in {row.gpus > 0 for row in rows}:
        if on_gpu and card is None and not torch.cuda.is_available():
            continue
        machine = devices.machine(scale.checkout, "cuda" if on_gpu else "cpu", threads, card if on_gpu else None)
        costs[on_gpu] = estimate_counted(scale, trainings, machine).stages
    for row in rows:
        cost = costs.get(row.gpus > 0, {}).get(row.stage.name)
        if cost is not None:
            row.hours = cost.total / HOUR_SEC / max(1, row.gpus)
            row.basis = ", ".join(sorted(cost.basis))
    if len(costs) < len({row.gpus > 0 for row in rows}):
        return [f"{scale.path}: no estimate of stages on a GPU: there is none here; name one with --card."]
    return []


def wall_hours(rows: Sequence[Row], nodes: Sequence[Node], jobs: float = math.inf) -> float:
    """Return the hours until stages are done that begin where there is room, the longest way first, as in a launch.

    Args:
        rows: stages that run; what is not among them is done.
        nodes: where; every stage fits one of them.
        jobs: stages at once.
    """
    names = {row.name for row in rows}
    waits = {row.name: row.after & names for row in rows}
    free = [[node.cpus, node.gpus, node.memory_gib] for node in nodes]
    ready = sorted((row for row in rows if not waits[row.name]), key=lambda row: row.ahead, reverse=True)
    at_work: list[tuple[float, str, int]] = []
    known, now = {row.name: row for row in rows}, 0.0
    while ready or at_work:
        for row in list(ready):
            place = next((i for i, room in enumerate(free) if _fits(row.resources, room)), None)
            if place is not None and len(at_work) < jobs:
                ready.remove(row)
                _take(free[place], row.resources, 1)
                heapq.heappush(at_work, (now + row.hours, row.name, place))
        now, name, place = heapq.heappop(at_work)
        _take(free[place], known[name].resources, -1)
        for other, before in waits.items():
            if name in before:
                before.remove(name)
                if not before:
                    ready.append(known[other])
        ready.sort(key=lambda row: row.ahead, reverse=True)
    return now


def _amounts(wanted: Resources) -> tuple[float, ...]:
    return wanted.cpus, wanted.gpus, wanted.memory_gib


def _fits(wanted: Resources, room: Sequence[float]) -> bool:
    return all(amount <= left for amount, left in zip(_amounts(wanted), room, strict=True))


def _take(room: list[float], wanted: Resources, sign: int) -> None:
    for i, amount in enumerate(_amounts(wanted)):
        room[i] -= sign * amount


def by_gpus(rows: Sequence[Row], gpus: int | None = None) -> list[tuple[int, float]]:
    """Return numbers of GPUs and the hours that stages take on them where nothing else is scarce.

    Args:
        rows: see `wall_hours`.
        gpus: the number; default: doubled from what the largest stage needs until more help little.
    """
    most = max((row.gpus for row in rows), default=0)
    if not most:
        return []
    number, out = gpus or most, list[tuple[int, float]]()
    while number >= most:
        hours = wall_hours(rows, [Node("", math.inf, number, math.inf)])
        if out and hours > GAIN * out[-1][1]:
            break
        out.append((number, hours))
        if gpus or not hours:
            break
        number *= 2
    return out


def sentences(rows: Sequence[Row], nodes: Sequence[Node], jobs: int | None, gpus: int | None) -> list[str]:
    """Say what stages that run take together, and how long.

    Args:
        rows: stages that run; see `wall_hours`.
        nodes: the machines; none: they are not known, and nothing but GPUs is scarce. No wall time is said where a
            stage fits none of them (`graph.check_room` refuses it).
        jobs: stages at once; None: as many as fit.
        gpus: see `by_gpus`.
    """
    if not rows:
        return []
    chain = longest_chain(rows)
    names = " > ".join(row.name for row in chain)
    if not any(row.basis for row in rows):
        return [f"No stage has an estimate of hours. Longest chain: {len(chain)} stages: {names}."]
    bases = Counter(row.basis or "unknown" for row in rows)
    unknown = bases.pop("unknown", 0)
    on_gpu, on_cpu = (
        sum(row.hours * max(1, row.gpus) for row in rows if bool(row.gpus) is kind) for kind in (True, False)
    )
    out = [f"{on_gpu:,.1f} GPU-hours, and {on_cpu:,.1f} hours of stages without a GPU"]
    out[0] += f" ({', '.join(f'{number} {basis}' for basis, number in sorted(bases.items()))})" if bases else ""
    out[0] += f"; {unknown} stages have no estimate and count as 0." if unknown else "."
    out.append(f"Longest chain: {chain[0].ahead[0]:,.1f} h in {len(chain)} stages: {names}.")
    if nodes and all(any(node.fits(row.resources) for node in nodes) for row in rows):
        where = f"on {len(nodes)} machine{'s' * (len(nodes) > 1)}" + (f", {jobs} stages at once" if jobs else "")
        out.append(f"Wall time {where}: {wall_hours(rows, nodes, jobs or math.inf):,.1f} h.")
    elif not nodes and (numbers := by_gpus(rows, gpus)):
        text = "; ".join(f"{number} GPU{'s' * (number > 1)} {hours:,.1f} h" for number, hours in numbers)
        out.append(f"Wall time, if only GPUs are scarce: {text}.")
    return out


def longest_chain(rows: Sequence[Row]) -> list[Row]:
    """Return the stages that wait for each other and take longest together."""
    chain = [max(rows, key=lambda row: row.ahead)]
    while behind := [row for row in rows if chain[-1].name in row.after]:
        chain.append(max(behind, key=lambda row: row.ahead))
    return chain
