"""How much there is to do, before it is done: for a progress bar and the time that is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..address import Address
from ..errors import MediaError
from ..media import open_source
from ..store import SourceRow, Store
from ..timecode import NS
from .pictures import to_index
from .plan import Album

PHOTO_NS = NS // 5
"""What a photo counts, in ns of media: as much as one frame at 5 fps."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Work in one source.

    Attributes:
        total_ns: Its length in ns; for photos PHOTO_NS for each new one; 0 where it is not known.
        done_ns: How much of that an earlier run has done.
        frames: Frames that an earlier run has done.
    """

    total_ns: int
    done_ns: int = 0
    frames: int = 0

    @property
    def left_ns(self) -> int:
        """What this run has to do, in ns."""
        return max(0, self.total_ns - self.done_ns)


def _of_source(item: Address, known: Mapping[str, SourceRow], decoder: str) -> Amount:
    """The work in a source. known: the sources by fingerprint. Raises MediaError if it cannot be opened."""
    with open_source(item, decoder) as source:
        info = source.info
    row = known.get(info.fingerprint)
    if row is None:
        return Amount(info.duration_ns)
    if row.state != "open":
        return Amount(info.duration_ns, info.duration_ns, row.frames)
    return Amount(info.duration_ns, min(info.duration_ns, row.next_t_ns or 0), row.frames)


def amounts(todo: list[Address | Album], store: Store, decoder: str = "pyav") -> dict[tuple[bool, str], Amount]:
    """The work in each of what `plan.planned` found, keyed by whether it is an album, and its name.

    Sources that cannot be opened are left out; they are reported when their turn comes.
    """
    known = {row.fingerprint: row for row in store.sources()}
    out: dict[tuple[bool, str], Amount] = {}
    for item in todo:
        if isinstance(item, Album):
            out[True, item.folder] = Amount(len(to_index(item, store)) * PHOTO_NS)
            continue
        try:
            out[False, str(item)] = _of_source(item, known, decoder)
        except MediaError:
            continue
    return out
