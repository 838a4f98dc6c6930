"""The annotations of an indexed source: its tracks, their labels, and their boxes in each sampled frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..query.query import Query
from ..records import Box, FrameRegions
from ..store import SourceRow, TrackRow
from ..timecode import NS

_AHEAD_NS = 10 * NS
"""How much of a source, in ns, `AnnotationLookup` reads at a time."""


@dataclass(frozen=True, slots=True)
class AnnotateReport:
    """What `annotate` wrote.

    Attributes:
        path: The file.
        frames: Number of annotated pictures.
        boxes: Number of boxes in them.
        damaged: Number of damaged parts of the input, which were left out.
        notes: What was damaged, in words.
    """

    path: str
    frames: int
    boxes: int
    damaged: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Annotation:
    """A thing in one frame. track: its number within the source. label: empty without one. box: in pixels."""

    track: int
    label: str
    box: Box

    @property
    def text(self) -> str:
        """The number and the label: `#12 umbrella`."""
        return f"#{self.track} {self.label}".rstrip()


class Annotations:
    """All annotations of a recording.

    Attributes:
        path: The file or folder.
        rows: Its sources in the memory: one, or one for each topic, episode or camera.
    """

    def __init__(self, query: Query, source: str, labels: Sequence[str], *, everything: bool) -> None:
        """See `annotate`."""
        self.query = query
        self.rows = query.store.parts(source)
        self.path = self.rows[0].address.path
        self._everything = everything or not labels
        self._labels = self._best_labels(list(dict.fromkeys(labels)))
        self._tracks: dict[int, dict[int, TrackRow]] = {}

    def _best_labels(self, labels: list[str]) -> dict[int, tuple[str, float]]:
        """Track id -> its most probable label, and the score."""
        if not labels:
            return {}
        found = [named for row in self.rows for named in self.query.name_tracks(row, labels).items()]
        return {track: (labels[named.label], named.score) for track, named in found}

    def tracks(self, row: SourceRow) -> dict[int, TrackRow]:
        """The tracks of a source to write, by their number within it."""
        if row.id not in self._tracks:
            found = self.query.store.source_tracks(row.id)
            self._tracks[row.id] = {t.ordinal: t for t in found if self._everything or t.id in self._labels}
        return self._tracks[row.id]

    def label(self, track: TrackRow) -> str:
        """The label of a track; empty without one."""
        return self._labels.get(track.id, ("", 0.0))[0]

    def score(self, track: TrackRow) -> float | None:
        """The score of a track's label; None without one."""
        return self._labels[track.id][1] if track.id in self._labels else None

    def between(self, row: SourceRow, start_ns: int, end_ns: int) -> Iterator[tuple[int, list[Annotation]]]:
        """The t_ns of each sampled frame from start_ns to end_ns (inclusive), in order, and what is in it."""
        for frame in self.query.store.regions(row.id, start_ns, end_ns):
            yield frame.t_ns, self._in_frame(row, frame)

    def _in_frame(self, row: SourceRow, frame: FrameRegions) -> list[Annotation]:
        tracks = self.tracks(row)
        return [
            Annotation(ordinal, self.label(tracks[ordinal]), (x0, y0, x1, y1))
            for ordinal, (x0, y0, x1, y1) in zip(frame.tracks.tolist(), frame.boxes.tolist(), strict=True)
            if ordinal in tracks
        ]


class AnnotationLookup:
    """The annotations of one source by time. Reads a few seconds at a time, for callers that go forwards."""

    def __init__(self, annotations: Annotations, row: SourceRow) -> None:
        self._annotations, self._row = annotations, row
        self._loaded: dict[int, list[Annotation]] = {}

    def at(self, t_ns: int) -> list[Annotation]:
        """What is in the sampled frame at t_ns; empty if there is no such frame."""
        if t_ns not in self._loaded:
            self._loaded = dict(self._annotations.between(self._row, t_ns, t_ns + _AHEAD_NS))
        return self._loaded.get(t_ns, [])
