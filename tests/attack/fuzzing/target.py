"""What a fuzz target is: a function of bytes, valid inputs to start from, and limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

Run = Callable[[bytes], None]
"""Reads one input. It may raise VidmemError and nothing else."""

Mutate = Callable[[Random, Sequence[bytes]], bytes]
"""Makes an input from a random source and the valid ones."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A target that was set up. run: reads one input. seeds: valid inputs."""

    run: Run
    seeds: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Target:
    """A parser or format.

    Attributes:
        name: Unique.
        prepare: Sets it up in an empty folder of its own.
        mutate: Makes inputs.
        share: How much of a run it gets; 1 for what takes a millisecond.
        seconds: CPU time that one input may take.
        megabytes: How much resident memory may grow while one input is read.
        needs: Modules of extras, without which it is left out.
    """

    name: str
    prepare: Callable[[Path], Ready]
    mutate: Mutate
    share: float = 1.0
    seconds: float = 10.0
    megabytes: int = 512
    needs: tuple[str, ...] = ()


class Broken(AssertionError):
    """An input shows a fault that is no exception, such as an exit code of 70."""
