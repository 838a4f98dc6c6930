"""What there is to write about a source: which tracks, under which names, and where they are in each frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..records import Box, FrameRegions
from ..store import SourceRow, TrackRow
from ..timecode import NS

if TYPE_CHECKING:
    from ..query.query import Query

_AHEAD_NS = 10 * NS


@dataclass(frozen=True, slots=True)
class Note:
    """A thing in a frame. track: ordinal within the source. label: its name, empty without one."""

    track: int
    label: str
    box: Box

    @property
    def text(self) -> str:
        """For people: `#12 umbrella`."""
        return f"#{self.track} {self.label}".rstrip()


class Notes:
    """All that is known of `source`; see `annotate`.

    path: the file or folder. rows: its sources in the memory.
    """

    def __init__(self, query: Query, source: str, labels: Sequence[str], *, everything: bool) -> None:
        self.query = query
        self.rows = query.store.parts(source)
        self.path = self.rows[0].address.path
        self._labels = list(dict.fromkeys(labels))
        self._all = everything or not labels
        self._names = self._named()
        self._tracks: dict[int, dict[int, TrackRow]] = {}

    def _named(self) -> dict[int, tuple[str, float]]:
        """Track id -> its likeliest label, and the score."""
        if not self._labels:
            return {}
        found = [named for row in self.rows for named in self.query.name_tracks(row, self._labels).items()]
        return {track: (self._labels[named.label], named.score) for track, named in found}

    def tracks(self, row: SourceRow) -> dict[int, TrackRow]:
        """Tracks of a source that are to be written, by ordinal."""
        if row.id not in self._tracks:
            found = self.query.store.source_tracks(row.id)
            self._tracks[row.id] = {t.ordinal: t for t in found if self._all or t.id in self._names}
        return self._tracks[row.id]

    def label(self, track: TrackRow) -> str:
        """The name of a track, empty without one."""
        return self._names.get(track.id, ("", 0.0))[0]

    def score(self, track: TrackRow) -> float | None:
        """The score of the name; None without one."""
        return self._names[track.id][1] if track.id in self._names else None

    def frames(self, row: SourceRow) -> Iterator[tuple[int, list[Note]]]:
        """t_ns of each sampled frame, and what is in it, in order; one blob of the memory at a time."""
        for frame in self.query.store.regions(row.id, -(1 << 62), 1 << 62):
            yield frame.t_ns, self._of(row, frame)

    def _of(self, row: SourceRow, frame: FrameRegions) -> list[Note]:
        wanted = self.tracks(row)
        out = []
        for ordinal, box in zip(frame.tracks.tolist(), frame.boxes.tolist(), strict=True):
            if ordinal in wanted:
                x0, y0, x1, y1 = box
                out.append(Note(ordinal, self.label(wanted[ordinal]), (x0, y0, x1, y1)))
        return out


class Lookup:
    """The notes of one source by time, for those who come by in their own order; some seconds are held."""

    def __init__(self, notes: Notes, row: SourceRow) -> None:
        self._notes, self._row = notes, row
        self._held: dict[int, list[Note]] = {}

    def at(self, t_ns: int) -> list[Note]:
        """What is in the sampled frame at t_ns; nothing if there is no such frame."""
        if t_ns not in self._held:
            regions = self._notes.query.store.regions(self._row.id, t_ns, t_ns + _AHEAD_NS)
            self._held = {frame.t_ns: self._notes._of(self._row, frame) for frame in regions}
        return self._held.get(t_ns, [])
