"""`harness launch`: a plan -> trainings side by side on one card, samples, scores and tars of limited size."""

from pathlib import Path

import click

PARAMS = click.option(
    "--params",
    "params_file",
    type=click.Path(path_type=Path),
    default="results/short/params.yaml",
    show_default=True,
)
CACHE = click.option(
    "--cache",
    type=click.Path(path_type=Path),
    envvar="HARNESS_CACHE",
    help="Inception weights and reference statistics; default: .cache of the repository.",
)
OUT = click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the tars.")


@click.group("launch")
def command() -> None:
    """Run a scale on a rented card for a fixed time, and bring the results home; docs/gpu.md has the whole way.

    \b
    Example:
      harness launch run --minutes 9.5 --out outbox
      harness launch unpack outbox/*.tar
    """


@command.command("run")
@PARAMS
@CACHE
@OUT
@click.option("--plan", "plan_file", type=click.Path(path_type=Path), help="Default: launch.yaml beside the params.")
@click.option("--minutes", type=float, help="Of the whole command, packing included; default: the plan's.")
@click.option("--device", default="cuda", show_default=True)
@click.option("--checkpoints", type=click.Path(path_type=Path), help="Default: .checkpoints at the repository root.")
def run(
    params_file: Path,
    cache: Path | None,
    out: Path,
    plan_file: Path | None,
    minutes: float | None,
    device: str,
    checkpoints: Path | None,
) -> None:
    """Train, sample, score and pack within the minutes; run it again to go on.

    Example: harness launch run --minutes 9.5 --out outbox
    """
    from harness import launch
    from harness.launchplan import Clock, open_scale, read_plan

    plan = read_plan(plan_file or params_file.parent / "launch.yaml")
    clock = Clock(minutes or plan.minutes, plan.reserve_minutes, plan.pack_minutes)
    root = open_scale(params_file).root
    places = (checkpoints or root / ".checkpoints", cache or root / ".cache")
    launch.run(launch.Launch(plan, params_file, device, *places, clock), out)


@command.command("inputs")
@PARAMS
@CACHE
@OUT
@click.option("--parts", type=click.IntRange(1), default=3, show_default=True, help="Number of tars, at most.")
@click.option("--part-mib", type=float, default=54, show_default=True, help="Size of each, at most.")
def inputs(params_file: Path, cache: Path | None, out: Path, parts: int, part_mib: float) -> None:
    """Pack the scale's data sets (lossless sheets) and Inception weights for the machine with the card.

    Example: harness launch inputs --out outbox
    """
    from harness import transfer
    from harness.launchplan import open_scale
    from harness.parcel import Limits

    scale = open_scale(params_file)
    limits = Limits(parts, part_mib, parts * part_mib)
    for path in transfer.pack_inputs(scale, cache or scale.root / ".cache", out, limits):
        click.echo(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


@command.command("unpack")
@click.argument("tars", nargs=-1, required=True, type=click.Path(path_type=Path))
@PARAMS
def unpack(tars: tuple[Path, ...], params_file: Path) -> None:
    """Verify TARS and put what is in them in place: data and weights there, results here.

    Tars may come in any order and in several calls; what is not whole yet waits.

    Example: harness launch unpack outbox/results.*.tar
    """
    from harness import transfer
    from harness.launchplan import open_scale

    for line in transfer.unpack(list(tars), open_scale(params_file)):
        click.echo(line)
