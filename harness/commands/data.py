"""`harness data`: a data set's pixels, verified, as one array."""

from pathlib import Path

import click


@click.command("data")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write (default: ROOT/data/NAME).")
@click.option("--root", type=click.Path(path_type=Path), help="Repository whose experiments/datasets.yaml is read.")
def command(name: str, out: Path | None, root: Path | None) -> None:
    """Pack data set NAME (experiments/datasets.yaml) into train.npy, labels.npy and card.json.

    Looked for, in this order: the packed array itself; the official archive, its extracted folder or an npz in the
    folder named by HARNESS_DATA; the official download.

    \b
    Example:
      harness data standin-cifar10
      HARNESS_DATA=/mnt/archives harness data cifar10 --out data/cifar10
    """
    from harness.data.fetch import prepare
    from harness.paths import find_root

    root = find_root(root)
    out = out or root / "data" / name
    card = prepare(name, out, root)
    click.echo(
        f"{out}: {card['count']:,} images, {card['resolution']} x {card['resolution']}, "
        f"pixels sha256 {card['pixels_sha256']} ({', '.join(card['verified'])})"
    )
