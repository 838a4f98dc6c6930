"""How far `Memory.index` is, for whoever asked to be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """How far `index` is. source: what it is watching. done_ns, total_ns: of this source, the media time that is done
    and its length, 0 where nobody knows it. frames: looked at, of this source."""

    source: str
    done_ns: int
    total_ns: int
    frames: int


def telling(progress: Callable[[IndexProgress], None], path: str, total_ns: int) -> Callable[[int, int], None]:
    return lambda t_ns, frames: progress(IndexProgress(path, t_ns, total_ns, frames))


def all_of(told: Sequence[Callable[[int, int], None] | None]) -> Callable[[int, int], None] | None:
    """One callback of those that there are; None of none."""
    wanted = [call for call in told if call is not None]

    def call_all(t_ns: int, frames: int) -> None:
        for call in wanted:
            call(t_ns, frames)

    return call_all if wanted else None
