"""What a fleet could not look at, on the command line."""

from __future__ import annotations

from ..store import Proof
from .messages import warn

INEXACT = 3
"""Exit code of an answer that may miss something, whether or not something was found."""


def say_missed(proof: Proof | None) -> None:
    """Name each shard that was down, with what it may hold."""
    for note in () if proof is None else proof.notes:
        warn(note)


def exit_code(code: int, proof: Proof | None) -> int:
    """The exit code of an answer: INEXACT in place of 0 and 1 if a shard was down."""
    return INEXACT if code in (0, 1) and proof is not None and proof.down else code
