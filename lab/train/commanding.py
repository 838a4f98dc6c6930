"""What the commands of `python -m lab.train` share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from vidmem.cli.messages import warn
from vidmem.errors import ModelError
from vidmem.export.files import writing


def option(name: str, metavar: str, text: str) -> Any:
    """An option of a command: its flag, what stands for its value in the help, and its help."""
    return typer.Option(name, metavar=metavar, help=text)


SeedOption = Annotated[int, typer.Option("--seed", metavar="N", min=0, max=2**31 - 1, help="Random seed.")]
LogEveryOption = Annotated[int, option("--log-every", "N", "Steps between log lines.")]
CheckpointEveryOption = Annotated[int, option("--checkpoint-every", "N", "Steps between checkpoints.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", metavar="N", min=0, help="Processes that read pictures, 0 for none.")
]
TensorboardOption = Annotated[
    bool, typer.Option("--tensorboard/--no-tensorboard", help="Write logs for TensorBoard too.")
]


@contextmanager
def libraries() -> Iterator[None]:
    """Turn the ImportError of a library that training needs into a ModelError that says what to install."""
    try:
        yield
    except ImportError as error:
        raise ModelError(
            f"training needs {error.name}, which cannot be imported; pip install -e '.[train]' in the clone"
        ) from None


@contextmanager
def resumable(out: Path) -> Iterator[None]:
    """Say how to go on when the user interrupts the training in `out`, and exit with 130.

    Raises MediaError if a file cannot be written there.
    """
    try:
        with writing(str(out), "the training"):
            yield
    except KeyboardInterrupt:
        from .checkpoint import FILE

        if (out / FILE).exists():
            warn("interrupted; run the same command with --resume to continue from the last checkpoint")
        else:
            warn(
                f"interrupted before the first checkpoint; to start again choose another folder, or remove this: {out}"
            )
        raise typer.Exit(130) from None
