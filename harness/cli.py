"""The command line: one subcommand per pipeline stage, in `harness/commands`, imported only when called."""

import importlib
import sys
from collections.abc import Sequence

import click

from harness.errors import HarnessError, nearest

SUBCOMMANDS = {
    "experiments": "experiments",
    "scale": "scale",
    "estimate": "estimate",
    "plan": "plan",
    "data": "data",
    "train": "train",
    "references": "references",
    "choose": "choose",
    "sample": "sample",
    "score-dump": "score_dump",
    "score": "score",
    "launch": "launch",
    "adopt": "adopt",
    "tables": "tables",
    "check": "check",
    "report": "report",
    "status": "status",
    "models": "models",
    "protocols": "protocols",
    "reported": "reported",
    "rehearse": "rehearse",
    "import": "import_checkpoint",
    "bench": "bench",
    "doctor": "doctor",
}
USAGE = 64  # EX_USAGE of sysexits.h; click's own 2 is what `check` says when nothing is comparable
INTERRUPTED = 130


class Subcommands(click.Group):
    """Loads `harness.commands.<name>.command` on demand, so that `harness train` never imports TensorFlow."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Subcommands in the order of the pipeline."""
        return list(SUBCOMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import one subcommand."""
        if name not in SUBCOMMANDS:
            context.fail(f"No such subcommand '{name}'.{nearest(name, SUBCOMMANDS)}")
        command: click.Command = importlib.import_module(f"harness.commands.{SUBCOMMANDS[name]}").command
        return command


@click.group(cls=Subcommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="transgan-bench", prog_name="harness")
def group() -> None:
    """Train, sample and score GANs under one protocol, and hold the scores against reported ones.

    Subcommands stand in the order of the pipeline; `dvc repro` runs them all. They work in any folder of a checkout,
    or with --root from outside. Exit codes: 0 done, 1 an error with its reason on stderr, 64 a wrong command line;
    `train` and `check` have more.

    Example: harness models --json
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return its exit code; an error is one message on stderr."""
    try:
        code = group.main(arguments, standalone_mode=False, prog_name="harness")
        return code if isinstance(code, int) else 0  # `context.exit(n)` of a subcommand arrives as a value
    except HarnessError as error:
        message, code = str(error), error.exit_code
    except click.UsageError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        message, code = "interrupted", INTERRUPTED
    except MemoryError as error:
        message, code = f"out of memory ({error or 'no details'}); use smaller batches or another machine.", 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        message, code = f"{place}{error.strerror or error}.", 1
    except RuntimeError as error:  # torch has no MemoryError
        if not any(words in str(error) for words in ("out of memory", "can't allocate memory")):
            raise
        message, code = f"out of memory ({str(error).splitlines()[0]}); use smaller batches or another device.", 1
    click.echo(f"error: {message}", err=True)
    return code


def main() -> None:
    """Entry point of the `harness` command."""
    sys.exit(run())


if __name__ == "__main__":
    main()
