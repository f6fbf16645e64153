"""`harness rehearse`: every stage of a suite once, short, with whole networks and stand-ins."""

from pathlib import Path

import click

from harness.commands.options import FOLDER, root_option, scale_device_option


@click.command("rehearse")
@click.argument("scale", default="paper")
@click.option("--only", multiple=True, metavar="PATTERN", help="Experiments of that name, e.g. 'stl10-*'; repeatable.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="CPU threads.")
@scale_device_option
@click.option(
    "--memory", "memory_gib", type=click.FloatRange(0.1), default=20.0, show_default=True, help="GiB of a process."
)
@click.option("--out", type=FOLDER, help="A page; the scale's block in it is replaced.")
@root_option
def command(
    scale: str,
    only: tuple[str, ...],
    threads: int,
    device: str | None,
    memory_gib: float,
    out: Path | None,
    root: Path | None,
) -> None:
    """Run every stage of SCALE once: whole networks, two steps of two images, ten samples, on stand-ins.

    Data and Inception are stand-ins of the right shape; one seed an experiment. What runs are the commands of the
    scale's pipeline, in a temporary folder: results, data and caches of the checkout are not touched. An experiment
    that fails does not stop the others. Exit code 1 if any failed.

    \b
    Example:
      harness rehearse paper
      harness rehearse paper --only 'stl10-*' --out docs/rehearsal.md
    """
    import datetime
    import signal
    import sys

    from tqdm import tqdm

    from harness import provenance
    from harness.paths import Checkout
    from harness.pipeline import rehearsal_page
    from harness.pipeline.rehearse import ENDS, GIB, STARTS, Outcome, rehearse
    from harness.pipeline.suite import read

    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the temporary folder goes
    checkout = Checkout.clone(root)
    rows = len(read(checkout, scale).rows())
    changes = {"threads": threads} | ({"device": device} if device else {})
    with tqdm(total=None if only else rows + 1, unit="experiment", desc=f"rehearse {scale}") as bar:

        def report(one: Outcome) -> None:
            verdict = "ok" if not one.problems else f"FAILED {'; '.join(one.problems)}"
            tqdm.write(f"{one.name:<42} {one.wall_sec:6.0f} s {one.peak_bytes / GIB:5.1f} GiB  {verdict}")
            if one.log:
                tqdm.write(one.log, file=sys.stderr)
            bar.update()

        outcomes = rehearse(checkout, scale, run_stage, only=only, memory_gib=memory_gib, report=report, **changes)
    signal.signal(signal.SIGTERM, before)
    click.echo(rehearsal_page.plain(outcomes))
    failed = [one.name for one in outcomes if one.problems]
    counted = [one for one in outcomes if one.name not in (STARTS, ENDS)]
    seconds, peak = sum(one.wall_sec for one in outcomes), max(one.peak_bytes for one in outcomes) / GIB
    click.echo(f"{len(counted)} experiments, {len(failed)} failures, {seconds:.0f} s, {peak:.1f} GiB at most.")
    click.echo("Data and Inception are stand-ins: the scores of a rehearsal mean nothing and are not kept.")
    if out is not None:
        made_by = provenance.commit(provenance.CODE)
        name = str(made_by["git_commit"] or "unknown")[:10] + ("+changes" if made_by["git_dirty"] else "")
        facts = {
            "commit": name,
            "date": datetime.date.today().isoformat(),
            "machine": provenance.processor(),
            "threads": threads,
            "only": only,
        }
        rehearsal_page.write(out, scale, outcomes, facts)
    sys.exit(1 if failed else 0)


def run_stage(arguments: list[str]) -> int:
    """Run one subcommand in this process and return its exit code; errors are raised."""
    from harness.cli import group

    code = group.main(arguments, standalone_mode=False, prog_name="harness")
    return code if isinstance(code, int) else 0
