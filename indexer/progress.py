"""How far indexing is, for callers of `Memory.index`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int], None]
"""Called after each batch with the media time in ns, which is 0 for photos, and the number of frames or files done."""


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """How far `Memory.index` is with one source.

    Attributes:
        source: Path or address of the source; of photos their folder.
        done_ns: Media time that is done, in ns.
        total_ns: Length of the source in ns; 0 where it is not known.
        frames: Frames or files that are done.
    """

    source: str
    done_ns: int
    total_ns: int
    frames: int


Watcher = Callable[[IndexProgress], None]
