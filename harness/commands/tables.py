"""`harness tables`: scores and ledger -> tables."""

from pathlib import Path

import click


def folders(out_dir: Path | None, params_file: Path) -> tuple[Path, Path]:
    """Results folder and repository root: as the params file says, or `out_dir` and this checkout."""
    from harness.config import experiments
    from harness.paths import find_root

    if out_dir is not None:
        return out_dir, find_root()
    scale = experiments.open_scale(params_file)
    return scale.out, scale.root


@click.command("tables")
@click.option("--out-dir", type=click.Path(path_type=Path), help="Results folder; default: the params file's.")
@click.option("--params", "params_file", type=click.Path(path_type=Path), default="params.yaml", show_default=True)
@click.option("--unverified", is_flag=True, help="Include reported numbers that nobody could verify, marked †.")
def command(out_dir: Path | None, params_file: Path, unverified: bool) -> None:
    """Make the paper's tables from the scores of a scale: csv, markdown and LaTeX with the same cells.

    Writes OUT/tables (scores.csv and comparisons.csv, tidy, among them) and OUT/metrics.json. `harness check` adds
    verdicts.

    Example: harness tables --out-dir results/quick
    """
    from harness.comparison import protocols, reported, table_formats, tables
    from harness.config import experiments
    from harness.files import write_json, write_text
    from harness.records import results

    out, root = folders(out_dir, params_file)
    folder = root / "results" / "reported"
    ledger, known = reported.load(folder), experiments.load(root)
    protocols.check_links(known, ledger)
    found = results.load(out)
    comparisons = protocols.table(found.scores, known, ledger, unverified)
    made = [tables.protocol_table(found, known, ledger, unverified), tables.runs_table(found, known)]
    for name, spec in tables.specs(folder / "tables.yaml").items():
        made.append(tables.paper_table(name, spec, found, comparisons, ledger, known, unverified))
    folder = out / "tables"
    table_formats.write_all(made, folder)
    write_text(folder / "scores.csv", found.scores.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "comparisons.csv", comparisons.to_csv(index=False, lineterminator="\n"))
    write_json(out / "metrics.json", results.metrics(found.scores))
    click.echo(f"{folder}: {len(made)} tables from {len(found.scores)} scores")
