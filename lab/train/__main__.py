"""`python -m lab.train COMMAND ...`: train models of your own.

Each package here with a module `command` is a command. The module has a function with the name of the package. It
imports PyTorch and the package's other modules only when the function runs.

Errors are one line on stderr and an exit code, as in the command line of vidmem.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import typer

from vidmem.cli.messages import set_option_names, warn
from vidmem.errors import VidmemError

COMMANDS = tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/command.py")))

train = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train models of your own.",
)


@train.callback()
def _root() -> None:
    """Train models of your own."""


for _name in COMMANDS:
    train.command(_name)(getattr(import_module(f"lab.train.{_name}.command"), _name))


def main(argv: list[str] | None = None) -> int:
    """Run one training and return the exit code."""
    words = sys.argv[1:] if argv is None else argv
    try:
        train(words, prog_name="python -m lab.train")
    except VidmemError as error:
        command = typer.main.get_group(train).commands.get(words[0]) if words else None
        set_option_names(command.params if command else ())  # messages name arguments
        warn(f"lab.train: {error}")
        return error.exit_code
    except SystemExit as done:
        return int(done.code or 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
