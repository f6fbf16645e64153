"""Options that several subcommands share, and what they stand for."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from harness.device import NAMES, check_device, is_device

FOLDER = click.Path(path_type=Path)

root_option = click.option("--root", type=FOLDER, help="Checkout to work on; default: the one around this folder.")
params_option = click.option(
    "--params",
    "params_file",
    type=FOLDER,
    help="Scale: a params.yaml or its folder, from --root if given; default: the nearest one upwards.",
)
cache_option = click.option("--cache", type=FOLDER, help="Cache; default: HARNESS_CACHE, else .cache of the checkout.")
threads_option = click.option("--threads", type=click.IntRange(1), help="CPU threads; default: the scale's.")


def _device(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    if not is_device(value):
        raise click.BadParameter(f"'{value}' is none of {NAMES}.")
    return value if value == "auto" else check_device(value)  # whoever computes looks for a GPU


device_option = click.option("--device", default="auto", show_default=True, callback=_device, help=f"{NAMES}.")
scale_device_option = click.option("--device", callback=_device, help=f"{NAMES}; default: the scale's.")
foreign_option = click.option(
    "--foreign",
    "others",
    type=FOLDER,
    multiple=True,
    metavar="FILE",
    help="A score's JSON made elsewhere becomes a row of its own; repeatable.",
)
seed_option = click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)


def scale_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --root and --params to a subcommand; its function gets the scale that they name as `scale`."""

    @root_option
    @params_option
    @functools.wraps(function)
    def wrapper(*args: Any, root: Path | None, params_file: Path | None, **options: Any) -> Any:
        from harness.config.experiments import find_scale

        return function(*args, scale=find_scale(root, params_file), **options)

    return wrapper
