"""Labels for every frame of an indexed video, from its tracks: no picture is encoded again.

A track's text token is compared with every label once; each frame is then put together from the masks of its regions
in one of two ways (see parse.py, which has them on masks as an encoder gives them).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..geometry import nearest
from ..records import Float32, FrameRegions
from ..store import SourceRow, Store
from .labels import LabelSet
from .parse import UNLABELLED, Labels, best_class, class_scores, decoupled, soft_votes

Way = Literal["track", "vote"]
WAYS: tuple[Way, Way] = ("track", "vote")
"""track: each region has the label that its track is most like (T-REN's paper). vote: all regions of a place vote with
all their scores (its code)."""

FINE = 4
"""Cells that a patch is cut into, along a side: borders between regions run within patches. What is finer than that
is not in a memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One frame. labels `(h, w)` int32: which label each cell has, UNLABELLED for none; FINE cells a patch."""

    t_ns: int
    labels: Labels

    def at(self, height: int, width: int) -> Labels:
        """The labels at the size of a picture."""
        return np.asarray(nearest(self.labels, height, width), np.int32)

    def shares(self, count: int) -> Float32:
        """The share of the frame that each of `count` labels has, `(count,)`."""
        held = self.labels[self.labels != UNLABELLED]
        return (np.bincount(held, minlength=count)[:count] / self.labels.size).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Parse:
    """A video to be labelled, frame by frame. scores `(n, C)`: of its tracks, by ordinals `(n,)`, with each label.
    classes `(n,)`: the label of each track or UNLABELLED; None for the one that it is most like."""

    source: SourceRow
    labels: LabelSet
    way: Way
    ordinals: NDArray[np.int64]
    scores: Float32
    classes: Labels | None = None

    def frames(self, store: Store, start_ns: int = 0, end_ns: int = (1 << 63) - 1) -> Iterator[Scene]:
        """The frames from start_ns to end_ns, in order. Raises StoreError when the memory is damaged."""
        elsewhere = self.scores.mean(axis=0) if len(self.scores) else None
        for frame in store.regions(self.source.id, start_ns, end_ns):
            yield Scene(frame.t_ns, self._labels(frame, elsewhere))

    def _labels(self, frame: FrameRegions, elsewhere: Float32 | None) -> Labels:
        h, w = frame.masks.shape[1:]
        size = (h * FINE, w * FINE)
        rows = np.searchsorted(self.ordinals, frame.tracks)
        known = rows < len(self.ordinals)
        known[known] = self.ordinals[rows[known]] == frame.tracks[known]
        masks, scores = frame.masks[known].astype(np.float32), self.scores[rows[known]]
        if self.way == "vote":
            if elsewhere is None:
                return np.full(size, UNLABELLED, np.int32)
            return best_class(soft_votes(masks, scores, elsewhere), *size)
        classes = scores.argmax(axis=1).astype(np.int32) if self.classes is None else self.classes[rows[known]]
        return _by_track(frame.masks[known], classes, size)


def _by_track(masks: NDArray[np.bool_], classes: Labels, size: tuple[int, int]) -> Labels:
    """`parse.hard_labels` for masks as they are stored, 0 or 1: where regions overlap the smallest is on top, and what
    belongs to none competes as well, so that no region grows when it is stretched."""
    patches = np.full(masks.shape[1:], UNLABELLED, np.int32)
    for row in np.argsort(-masks.sum(axis=(1, 2)), kind="stable"):
        if classes[row] != UNLABELLED:  # what has no label hides none: a sleeve is the person's
            patches[masks[row]] = classes[row]
    there = np.unique(patches)
    one_hot = (patches == there[:, None, None]).astype(np.float32)
    return np.asarray(there[best_class(one_hot, *size)], np.int32)


def parse(
    store: Store,
    source: SourceRow,
    labels: LabelSet,
    vectors: Float32,
    *,
    way: Way = "track",
    temperature: float | None = None,
    named: Mapping[int, int] | None = None,
) -> Parse:
    """The labelling of a source. vectors `(C, Dt)`: of the labels. temperature: that at which things and stuff are told
    apart (see parse.decoupled); None to compare every region with every label. named: the labels of the tracks that
    have one, by id; None for the one that each is most like.

    Raises UsageError for an unknown way.
    """
    if way not in WAYS:
        raise UsageError(f"there is no way {way!r} to label; there are {' and '.join(WAYS)}")
    tracks = store.source_tracks(source.id)
    scores = np.zeros((0, len(labels)), np.float32)
    if tracks:
        scores = class_scores(np.array([t.text for t in tracks], np.float32), vectors)
    if temperature is not None:
        scores = decoupled(scores, labels.things, temperature)
    classes = None if named is None else np.array([named.get(t.id, UNLABELLED) for t in tracks], np.int32)
    return Parse(source, labels, way, np.array([t.ordinal for t in tracks], np.int64), scores, classes)


@dataclass(frozen=True, slots=True, eq=False)
class Areas:
    """t_ns `(n,)` int64 and the share of the frame that each label has then, shares `(n, C)`."""

    t_ns: NDArray[np.int64]
    shares: Float32


def areas(scenes: Sequence[tuple[int, Float32]], count: int) -> Areas:
    """From the time and shares of every frame."""
    times = np.array([t for t, _ in scenes], np.int64)
    shares = np.array([s for _, s in scenes], np.float32).reshape(-1, count)
    return Areas(times, shares)
