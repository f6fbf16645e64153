"""`harness launch`: `dvc repro`, with stages that do not wait for each other side by side."""

import sys
from pathlib import Path

import click


@click.command("launch")
@click.argument("targets", nargs=-1)
@click.option("--jobs", type=click.IntRange(1), help="Run on this machine, at most so many stages at once.")
@click.option("--address", help="Run on the Ray cluster at this address (host:port, or auto).")
@click.option("--gpus", type=click.IntRange(0), help="GPUs of this machine to use; default: all that Ray finds.")
@click.option("--retries", type=click.IntRange(0), default=2, show_default=True, help="Of an attempt that was lost.")
@click.option("--fail-fast", is_flag=True, help="Start nothing more once a stage has failed.")
@click.option("--grace", type=click.FloatRange(0), default=60, show_default=True, help="Seconds from TERM to KILL.")
@click.option(
    "--dry-run", is_flag=True, help="Say which stages are stale, why, what each is given, and how long it takes."
)
@click.option(
    "--card", help="The GPUs that hours are estimated for, as in experiments/devices.yaml; default: the one here."
)
@click.pass_context
def command(
    context: click.Context,
    targets: tuple[str, ...],
    jobs: int | None,
    address: str | None,
    gpus: int | None,
    retries: int,
    fail_fast: bool,
    grace: float,
    dry_run: bool,
    card: str | None,
) -> None:
    """Bring TARGETS up to date as `dvc repro TARGETS` does, many stages at once (default: the dvc.yaml of this folder).

    Stages, what is stale and dvc.lock are DVC's; Ray says where each stage's own command runs. What a stage is given
    stands in resources.yaml beside its dvc.yaml. Give --jobs or --address; docs/cluster.md has the rest.

    Exit codes: 0 all up to date, 1 a stage failed or was skipped, 2 refused before anything started, 64 a wrong
    command line, 130 interrupted (stages got TERM and saved; launch again to go on).

    \b
    Example:
      harness launch --jobs 2
      harness launch results/paper/dvc.yaml --address auto --dry-run
    """
    from harness.cluster import forecast
    from harness.cluster.driver import Launch, Options
    from harness.cluster.errors import before_start
    from harness.cluster.graph import check_room, plan, stale, without_gpu
    from harness.cluster.ray_engine import RayEngine
    from harness.cluster.view import Lines, Live, summary
    from harness.pipeline.dvc_stages import Repository

    if address is not None and (jobs is not None or gpus is not None):
        raise click.UsageError(
            "--address names a cluster, --jobs and --gpus are of this machine; give one or the other."
        )
    if address is None and jobs is None and not dry_run:
        raise click.UsageError("Give --jobs N to run here, or --address of a Ray cluster.")
    with before_start():
        repository = Repository(Path.cwd())
        rows = plan(repository, targets or ("dvc.yaml",))
        problems = forecast.estimate(rows, card)
    with repository:
        if dry_run:
            nodes = []
            if address is not None or jobs is not None:
                engine = RayEngine(address, gpus)
                nodes = engine.nodes()
                engine.close()
            found = list(stale(repository, rows))
            for row, how, why in found:
                hours = f"; {row.hours:,.2f} h, {row.basis}" if row.basis else ""
                click.echo(f"{how:8} {row.name} ({row.resources}{hours}): {why}")
            certain, current = sum(how == "stale" for _, how, _ in found), len(rows) - len(found)
            click.echo(f"{len(rows)} stages: {certain} stale, {len(found) - certain} may run, {current} up to date.")
            for line in (*forecast.sentences([row for row, _, _ in found], nodes, jobs, gpus), *problems):
                click.echo(line)
            if missing := without_gpu(rows, nodes):
                click.echo(f"warning: {missing}")
            if nodes:
                check_room(rows, nodes)
            return
        options = Options(jobs, retries, fail_fast, grace)
        with Live() if sys.stdout.isatty() else Lines() as view:
            for problem in problems:
                view.warn(problem)
            code = Launch(repository, rows, options, view).run(lambda: RayEngine(address, gpus))
    click.echo(summary(list(rows.values())))
    context.exit(code)
