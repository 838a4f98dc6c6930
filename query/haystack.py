"""One picture of many: which is it, and is something in it? After T-REN, section 4.1 ("Visual Haystacks").

The picture is that of the region most like the anchor, of all regions of all pictures. Rule "paper": whatever its score
is, and the target is there when a region of the picture has a cosine above PAPER_THRESHOLD to it. Rule "default": both
must pass the tests that `where` has for a track alone, and no picture with the anchor is an answer, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..encoders.base import Calibration
from ..errors import UsageError
from ..records import Box, Float32
from ..store import Store, VectorCache
from .scores import Hits, Rows
from .search import among, find

Rule = Literal["default", "paper"]
RULES: tuple[Rule, Rule] = ("default", "paper")
Verdict = Literal["yes", "no", "not found"]

PAPER_THRESHOLD = 0.23
"""tau_sim of T-REN, section 4.1."""
NEAR_MISSES = 3


@dataclass(frozen=True, slots=True)
class Region:
    """A region of a picture. paths: the files that hold the picture. box: x0, y0, x1, y1 in pixels of the upright
    picture, which is width x height. score: cosine to what was asked. recorded_ns, recorded_by: of the picture, as in
    `Sighting`."""

    paths: tuple[str, ...]
    width: int
    height: int
    box: Box
    score: float
    recorded_ns: int | None = None
    recorded_by: str = ""


@dataclass(frozen=True, slots=True)
class HaystackAnswer:
    """anchor: the region by which the picture was found, None when there is none. target: the region of that picture
    most like the target, whether or not that is enough for a yes; None without regions. pictures: how many have the
    anchor, with rule "paper" 1. near_misses: pictures that come next to the anchor when none has it."""

    verdict: Verdict
    anchor: Region | None
    target: Region | None
    pictures: int
    near_misses: tuple[Region, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Phrase:
    """What is looked for: text vector `(Dt,)` and contrast phrases `(c, Dt)`."""

    vector: Float32
    contrast: Float32 | None = None


class Haystack:
    """All single pictures of a memory, ready to be asked. Raises UsageError when there are none."""

    def __init__(self, store: Store, cache: VectorCache, calibration: Calibration) -> None:
        self._store, self._cache = store, cache
        self._calibration = calibration
        self._sources = [row.id for row in store.sources() if row.kind.single_pictures]
        if not self._sources:
            raise UsageError("the memory holds no photos; `vidmem index FOLDER` adds some")

    def rows(self, source_id: int, times: Sequence[int]) -> Rows:
        """The rows of the cache that are regions of these pictures, ascending."""
        columns = self._cache.columns
        mine = columns.source_ids == source_id
        if len(times) == 1:
            return np.flatnonzero(mine & (columns.start_ns == times[0]))
        return np.flatnonzero(mine & np.isin(columns.start_ns, np.array(times, np.int64)))

    def ask(self, anchor: Phrase, target: Phrase, rule: Rule = "default", rows: Rows | None = None) -> HaystackAnswer:
        """The answer among the regions in `rows`, by default those of all pictures.

        Of equal regions the one that was indexed first counts. Raises UsageError for an unknown rule.
        """
        if rule not in RULES:
            raise UsageError(f"there is no rule {rule!r}; there are {' and '.join(RULES)}")
        hits = self._anchored(anchor, rule, rows)
        if not len(hits):
            near = self._nearest(anchor, NEAR_MISSES, rows)
            return HaystackAnswer("not found", None, None, 0, tuple(self._regions(near)))
        best = int(np.argmax(hits.score))
        source, t_ns = self._picture(int(hits.rows[best]))
        inside = self.rows(source, [t_ns])
        scored, found = among(self._cache, self._calibration, inside, target.vector, target.contrast)
        if rule == "paper":
            found = scored.score > np.float32(PAPER_THRESHOLD)
        # A region that counts is shown before one that is more like the target and rather something else.
        top = int(np.argmax(np.where(found, scored.score + 4, scored.score)))
        first = self._regions(hits.take(np.array([best], np.intp)))
        second = self._regions(scored.take(np.array([top], np.intp)))
        if not first or not second:  # removed by another process since the cache was read
            return HaystackAnswer("not found", None, None, 0)
        pictures = 1 if rule == "paper" else len({self._picture(int(row)) for row in hits.rows})
        return HaystackAnswer("yes" if found.any() else "no", first[0], second[0], pictures)

    def _anchored(self, anchor: Phrase, rule: Rule, rows: Rows | None) -> Hits:
        """Regions that the picture may be chosen by."""
        if rule == "paper":
            return self._nearest(anchor, 1, rows)
        if rows is not None:
            hits, found = among(self._cache, self._calibration, rows, anchor.vector, anchor.contrast)
            return hits.take(found)
        hits = find(self._cache, self._calibration, anchor.vector, None, anchor.contrast)
        return hits.take(np.isin(self._cache.columns.source_ids[hits.rows], self._sources))

    def _nearest(self, anchor: Phrase, pictures: int, rows: Rows | None) -> Hits:
        """The best region of each of the pictures that are most like the anchor, best first."""
        if rows is None:
            found, scores = self._cache.top("text", anchor.vector, 16 * pictures)
            held = np.isin(self._cache.columns.source_ids[found], self._sources)
            found, scores = found[held], scores[held]
            if len(self._first_of_each(found)) < pictures:  # videos came before, or one picture has them all
                rows = np.flatnonzero(np.isin(self._cache.columns.source_ids, self._sources))
        if rows is not None:
            scores = self._cache.scores("text", anchor.vector, rows)
            order = np.argsort(-scores, kind="stable")
            found, scores = rows[order], scores[order]
        first = self._first_of_each(found)[:pictures]
        return Hits(found[first], scores[first])

    def _first_of_each(self, rows: Rows) -> NDArray[np.intp]:
        """Positions in `rows` of the first region of each picture."""
        columns = self._cache.columns
        keys = np.stack([columns.source_ids[rows], columns.start_ns[rows]])
        return np.sort(np.unique(keys, axis=1, return_index=True)[1])

    def _picture(self, row: int) -> tuple[int, int]:
        columns = self._cache.columns
        return int(columns.source_ids[row]), int(columns.start_ns[row])

    def _regions(self, hits: Hits) -> list[Region]:
        """With their files; regions that another process removed meanwhile are left out."""
        tracks = {t.id: t for t in self._store.tracks([int(i) for i in self._cache.columns.ids[hits.rows]])}
        out = []
        for row, score in zip(hits.rows.tolist(), hits.score.tolist(), strict=True):
            track = tracks.get(int(self._cache.columns.ids[row]))
            if track is None:
                continue
            held = self._store.picture(track.source_id, track.start_ns)
            paths = self._store.picture_paths(track.source_id, [track.start_ns]).get(track.start_ns, [])
            if held is not None:
                out.append(
                    Region(
                        tuple(paths), held.width, held.height, track.best_box, score, held.recorded_ns, held.recorded_by
                    )
                )
        return out
