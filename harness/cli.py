"""The command line: one verb per arrow of the pipeline. Verbs live in `harness/commands`, imported only when called."""

import importlib
import sys

import click

from harness.errors import HarnessError, nearest

VERBS = {
    "plan": "plan",
    "data": "data",
    "train": "train",
    "choose": "choose",
    "sample": "sample",
    "score": "score",
    "tables": "tables",
    "check": "check",
    "report": "report",
    "models": "models",
    "import": "import_checkpoint",
    "bench": "bench",
    "doctor": "doctor",
}


class Verbs(click.Group):
    """Loads `harness.commands.<verb>.command` on demand, so that `harness train` never imports TensorFlow."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Verbs in the order of the pipeline."""
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import one verb."""
        if name not in VERBS:
            context.fail(f"No such verb '{name}'.{nearest(name, VERBS)}")
        command: click.Command = importlib.import_module(f"harness.commands.{VERBS[name]}").command
        return command


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="transgan-bench", prog_name="harness")
def group() -> None:
    """Train, sample and score GANs under one protocol, and hold the scores against reported ones.

    Verbs stand in the order of the pipeline; `dvc repro` runs them all. Example: harness models --json
    """


def main() -> None:
    """Entry point: a HarnessError becomes one message on stderr and its exit code."""
    try:
        code = group.main(standalone_mode=False, prog_name="harness")
        sys.exit(code if isinstance(code, int) else 0)  # `context.exit(n)` of a verb arrives as a value
    except HarnessError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("aborted", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
