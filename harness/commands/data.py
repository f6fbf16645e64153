"""`harness data`: a data set's pixels, verified, as one array."""

from pathlib import Path

import click

from harness.commands.options import FOLDER, root_option


@click.command("data")
@click.argument("name")
@click.option("--out", type=FOLDER, help="Folder to write (default: ROOT/data/NAME).")
@root_option
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
    from harness.paths import Checkout

    checkout = Checkout.find(root)
    out = out or checkout.data(name)
    card = prepare(name, out, checkout.root)
    click.echo(
        f"{out}: {card['count']:,} images, {card['resolution']} x {card['resolution']}, "
        f"pixels sha256 {card['pixels_sha256']} ({', '.join(card['verified'])})"
    )
