"""`harness bundle`: a scale's inputs in one file, for machines without internet."""

from pathlib import Path

import click


@click.command("bundle")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--unpack", is_flag=True, help="Verify FILE and put its contents in place, instead of making it.")
@click.option("--params", "params_file", type=click.Path(path_type=Path), default="params.yaml", show_default=True)
@click.option("--root", type=click.Path(path_type=Path), help="Repository to read from or to unpack into.")
@click.option("--cache", type=click.Path(path_type=Path), envvar="HARNESS_CACHE", help="Default: ROOT/.cache.")
def command(file: Path, unpack: bool, params_file: Path, root: Path | None, cache: Path | None) -> None:
    """Pack a scale's data, Inception weights and reference statistics into the tar FILE, or unpack it.

    A manifest with every file's sha256 comes first; --unpack verifies all before anything gets its final name.

    \b
    Example:
      harness bundle quick.tar
      harness bundle --unpack quick.tar
    """
    from harness import bundle, experiments

    root = root or experiments.ROOT
    cache = cache or root / ".cache"
    if unpack:
        manifest = bundle.unpack(file, root, cache)
    else:
        manifest = bundle.create(file, experiments.load_params(params_file), root, cache)
    size = sum(entry["bytes"] for entry in manifest["files"].values())
    done = "verified and in place" if unpack else "packed"
    click.echo(f"{file}: scale {manifest['scale']}, {len(manifest['files'])} files, {size / 1e9:.2f} GB, {done}")
