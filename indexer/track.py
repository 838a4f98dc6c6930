"""Follow regions over frames: one track per thing (T-REN section 3.1, "Temporal aggregation for videos").

A tracker holds the tracks that may still be continued and nothing else, so a frame costs the same in the first minute
and in the tenth hour. Its state is a few arrays. A restored tracker continues bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ..config import TrackConfig
from ..errors import StoreError
from ..geometry import box_iou
from ..records import Float32, RegionTokens, Track

Int64 = NDArray[np.int64]
Rows = NDArray[np.intp]

FORMAT = 4
"""Version of the bytes that `Tracker.state` returns."""

FACTS = np.dtype(
    [
        ("ordinal", "<i8"),
        ("start_ns", "<i8"),
        ("end_ns", "<i8"),
        ("frames", "<i8"),
        ("seen", "<i8"),  # number of the last sampled frame that held it
        ("best_ns", "<i8"),
        ("best_view", "<f8"),
        ("best_box", "<f4", (4,)),  # see _view_quality
        ("last_box", "<f4", (4,)),  # where the last frame held it
        ("confidence", "<f8"),  # sum over its regions
        ("fresh", "?"),  # changed since the last drain
    ]
)

_SLACK = 0.1
"""Share of the frame's longest side that things may move from frame to frame, however small they are."""

_SIMILARITY_POWER, _MIN_IOU = 4, 0.01
"""The power of the cosine in `_view_quality`, chosen on calibration walks; and the smallest IoU, of what moves fast."""
_FIRST_VIEW = 1e-24
"""Quality of a first view, beside later ones: it is not known yet what the thing looks like."""


@dataclass(frozen=True, slots=True, eq=False)
class _Tracks:
    """Tracks in order of birth: facts `(A,)` of FACTS; visual `(A, Dv)` and text `(A, Dt)` float32 sums of tokens.

    Sums and not means: a sum is exactly what was added to it, whenever it was saved, and has the mean's direction. In
    float32 the mean of 100,000 frames is off by some 1e-5 of its length.
    """

    facts: NDArray[np.void]
    visual: Float32
    text: Float32

    def __len__(self) -> int:
        return len(self.facts)

    def take(self, rows: Rows | NDArray[np.bool_]) -> _Tracks:
        return _Tracks(self.facts[rows], self.visual[rows], self.text[rows])


class Tracker:
    """Tracks of one source, fed its sampled frames in order of time.

    A track is active while the last frame that held it is at most `max_gap` + 1 sampled frames back; a frame without
    regions counts as one. A frame costs one matrix product of active tracks with regions.

    Args:
        config: The thresholds.
        size: Width and height of the frames, for `TrackConfig.reach`.
    """

    def __init__(self, config: TrackConfig, size: tuple[int, int] = (0, 0)) -> None:
        self._config, self._size = config, size
        self._open: _Tracks | None = None
        self._closed: list[_Tracks] = []
        self._born = 0
        self._frame = 0
        self._last_ns: int | None = None

    @property
    def born(self) -> int:
        """Tracks ever started; the next gets this ordinal."""
        return self._born

    def update(self, t_ns: int, tokens: RegionTokens, shift: tuple[float, float] | None = None) -> Int64:
        """Add the frame of time `t_ns` and return the ordinal of each region's track, `(M,)`.

        Each ordinal occurs at most once; -1 marks a region that continues no track and is too uncertain to start one.

        Args:
            t_ns: Time of the frame, after that of the frame before.
            tokens: Its regions.
            shift: How far the picture has moved right and down since the frame before, in pixels (camera_motion.py).
                None when it is not known: then every region is in reach.

        Raises:
            ValueError: the frame is not later than the one before, or a token is not finite or has another width than
                the first ones; the tracker is then as it was before.
        """
        if self._last_ns is not None and t_ns <= self._last_ns:
            raise ValueError(f"frames must come in order of time: {t_ns} ns does not follow {self._last_ns} ns")
        if not (np.isfinite(tokens.visual).all() and np.isfinite(tokens.text).all()):
            raise ValueError(f"a region token at {t_ns} ns is not finite; the encoder's output is damaged")
        before = self._open
        if before is None:
            before = _no_tracks(tokens.visual.shape[1], tokens.text.shape[1])
        widths = before.visual.shape[1], before.text.shape[1]
        if widths != (tokens.visual.shape[1], tokens.text.shape[1]):
            raise ValueError(f"{tokens!r} does not fit the tracks before it, of Dv={widths[0]}, Dt={widths[1]}")

        dead = before.facts["seen"] < self._frame - 1 - self._config.max_gap
        if dead.any():
            if (ended := before.take(dead & before.facts["fresh"])).facts.size:
                self._closed.append(ended)
            before = before.take(~dead)
        similarity = _cosines(before.visual, tokens.visual)
        if self._config.overlap:
            near = box_iou(before.facts["last_box"][:, None], tokens.boxes)
            similar = similarity >= np.float32(self._config.threshold)
            similarity = np.where(similar, similarity + np.float32(self._config.overlap) * near, np.float32(-np.inf))
        if self._config.reach and shift is not None:
            similarity = np.where(self._far(before, tokens, shift), np.float32(-np.inf), similarity)
        rows, regions = match(similarity, self._config.threshold)
        _continue(before, rows, tokens, regions, t_ns, self._frame)

        new = tokens.confidence >= np.float32(self._config.start)
        new[regions] = False
        born = _start(tokens.take(new), t_ns, self._frame, self._born)
        ordinals = np.full(len(tokens), -1, dtype=np.int64)
        ordinals[regions] = before.facts["ordinal"][rows]
        ordinals[new] = born.facts["ordinal"]
        self._open = _join([before, born]) if len(born) else before
        self._born += len(born)
        self._frame += 1
        self._last_ns = t_ns
        return ordinals

    def _far(self, before: _Tracks, tokens: RegionTokens, shift: tuple[float, float]) -> NDArray[np.bool_]:
        """Return which regions are out of reach of which tracks `(A, M)`; move the tracks' boxes with the picture."""
        seen, moved = before.facts["last_box"], np.array(shift * 2, np.float32)
        step = _centres(tokens.boxes) - _centres(seen)[:, None]
        off = np.minimum(np.hypot(*np.moveaxis(step, 2, 0)), np.hypot(*np.moveaxis(step - moved[:2], 2, 0)))
        seen += moved
        a, b = _longest(seen)[:, None], _longest(tokens.boxes)
        # A box that suddenly holds much more is of another thing, or of two at once.
        distance = np.maximum(off, np.abs(a - b))
        return np.asarray(distance > self._config.reach * np.minimum(a, b) + _SLACK * max(self._size))

    def open_ordinals(self) -> set[int]:
        """Return the ordinals of the tracks that may still continue."""
        return set() if self._open is None else set(self._open.facts["ordinal"].tolist())

    def best_at(self, t_ns: int) -> set[int]:
        """Return the ordinals of the tracks whose best frame so far is that of `t_ns`."""
        if self._open is None:
            return set()
        facts = self._open.facts
        return set(facts["ordinal"][facts["best_ns"] == t_ns].tolist())

    def close(self) -> None:
        """End every open track, since the source is over; `drain` then hands out what is left."""
        if self._open is not None:
            self._closed.append(self._open.take(self._open.facts["fresh"]))
            self._open = self._open.take(np.zeros(len(self._open), dtype=bool))

    def drain(self) -> list[Track]:
        """Return the tracks that changed since the last drain, ended or still open, by ordinal.

        An open track comes again, under the same ordinal, when it has continued.
        """
        changed = list(self._closed)
        if self._open is not None:
            changed.append(self._open.take(self._open.facts["fresh"]))
            self._open.facts["fresh"] = False
        self._closed = []
        records = [track for tracks in changed for track in _records(tracks)]
        return sorted(records, key=lambda track: track.ordinal)

    def state(self) -> bytes:
        """Return all that the tracker knows, tracks not yet drained included. The same state gives the same bytes."""
        tracks = _join([*self._closed, self._open]) if self._open is not None else _no_tracks(0, 0)
        started = self._open is not None
        open_ = len(self._open) if self._open is not None else 0
        head = [FORMAT, self._born, self._frame, started, open_, self._last_ns is not None, self._last_ns or 0]
        return save(
            {
                "head": np.array(head, dtype=np.int64),
                "facts": np.frombuffer(tracks.facts.tobytes(), dtype=np.uint8),
                "visual": np.ascontiguousarray(tracks.visual),
                "text": np.ascontiguousarray(tracks.text),
            }
        )

    @classmethod
    def restore(cls, state: bytes, config: TrackConfig, size: tuple[int, int] = (0, 0)) -> Tracker:
        """Return the tracker with this `state`.

        config, size: as in the constructor.

        Raises:
            StoreError: the bytes are not such a state.
        """
        try:
            saved = load(state)
            version, born, frame, started, open_, timed, last_ns = saved["head"].tolist()
            facts = np.frombuffer(saved["facts"].tobytes(), dtype=FACTS)
            visual, text = saved["visual"], saved["text"]
            fits = version == FORMAT and len(facts) == len(visual) == len(text) and 0 <= open_ <= len(facts)
            if not fits or {visual.dtype, text.dtype} != {np.dtype(np.float32)} or visual.ndim != 2 or text.ndim != 2:
                raise ValueError(f"version {version}, {len(facts)} tracks, {visual.shape} and {text.shape} sums")
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"the saved tracker is damaged or of another version ({error}); index again") from error
        tracker = cls(config, size)
        tracker._born, tracker._frame, tracker._last_ns = born, frame, last_ns if timed else None
        if started:
            tracks, ended = _Tracks(facts, visual, text), len(facts) - open_
            tracker._open = tracks.take(np.arange(ended, len(facts)))
            tracker._closed = [tracks.take(np.arange(ended))] if ended else []
        return tracker


def match(similarity: Float32, threshold: float) -> tuple[Rows, Rows]:
    """Match tracks with regions, greedily and one to one: rows `(P,)` and columns `(P,)` of the pairs, rows ascending.

    similarity is `(A, M)`. Greedy takes the pairs >= threshold from the most similar down, and each whose row and
    column are both free; of equals the one with the lower row (the older track), then the lower column, goes first.

    This does the same without sorting: a pair that is first in its row and first in its column is taken by greedy for
    certain, since nothing before it can take either. All such pairs are taken, their rows and columns are struck out,
    and so on. The first pair of all is always such a pair, so it ends; on video after a few rounds, at worst after
    min(A, M).
    """
    rows, columns = np.arange(similarity.shape[0]), np.arange(similarity.shape[1])
    matched: list[tuple[Rows, Rows]] = []
    left = similarity
    # As the paper's pairs: compared in float32, the type of the cosines.
    floor = np.float32(threshold)
    while left.size:
        # argmax takes the first of equals: the lower column in a row, the lower row in a column, as above.
        column, row = left.argmax(axis=1), left.argmax(axis=0)
        here = np.arange(len(rows))
        good = left[here, column] >= floor
        mutual = good & (row[column] == here)
        if not mutual.any():
            break
        matched.append((rows[mutual], columns[column[mutual]]))
        # A row whose best is below the threshold will never match either.
        free_row, free_column = good & ~mutual, np.ones(len(columns), dtype=bool)
        free_column[column[mutual]] = False
        left = left[np.ix_(free_row, free_column)]
        rows, columns = rows[free_row], columns[free_column]
    if not matched:
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)
    a, b = (np.concatenate(side) for side in zip(*matched, strict=True))
    order = np.argsort(a)
    return a[order], b[order]


def _cosines(tracks: Float32, regions: Float32) -> Float32:
    """Return cosines `(A, M)` of sums `(A, Dv)`, which point where means point, with tokens `(M, Dv)`; 0 for a zero."""
    dots = np.asarray(tracks @ regions.T, dtype=np.float32)
    dots *= _inverse_norms(tracks)[:, None]
    dots *= _inverse_norms(regions)
    return dots


def _inverse_norms(rows: Float32) -> Float32:
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return np.asarray(1 / np.where(norms > 0, norms, 1), dtype=np.float32)


def _centres(boxes: Float32) -> Float32:
    """Return the centres `(M, 2)` of boxes `(M, 4)`."""
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, np.float32)


def _longest(boxes: Float32) -> Float32:
    """Return the longest sides `(M,)` of boxes `(M, 4)`."""
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).max(axis=1), np.float32)


def _areas(boxes: Float32) -> NDArray[np.float64]:
    """Return the areas `(M,)` in square pixels of boxes `(M, 4)`."""
    sides = boxes[:, 2:].astype(np.float64) - boxes[:, :2]
    return np.asarray(sides[:, 0] * sides[:, 1])


def _view_quality(tokens: RegionTokens, regions: Rows, sums: Float32, last: Float32) -> NDArray[np.float64]:
    """Return how good a view of its track each region is, `(M,)`.

    It is the area, times how similar it is to the track, whose tokens sum to `sums (M, Dv)`, times how well its box
    lies on that of the frame before, `last (M, 4)`. The largest box alone is often that of a mask which ran over its
    surroundings in that one frame.
    """
    visual, boxes = tokens.visual[regions], tokens.boxes[regions]
    cosine = np.einsum("ij,ij->i", visual, sums) * _inverse_norms(visual) * _inverse_norms(sums)
    steady = np.maximum(box_iou(boxes, last), _MIN_IOU)
    similarity = np.maximum(cosine.astype(np.float64), 0) ** _SIMILARITY_POWER
    quality: NDArray[np.float64] = _areas(boxes) * steady * similarity
    return quality


def _continue(tracks: _Tracks, rows: Rows, tokens: RegionTokens, regions: Rows, t_ns: int, frame: int) -> None:
    """Add, in place, to each track in `rows` its region in `regions`."""
    facts = tracks.facts
    boxes, quality = tokens.boxes[regions], _view_quality(tokens, regions, tracks.visual[rows], facts["last_box"][rows])
    tracks.visual[rows] += tokens.visual[regions]
    tracks.text[rows] += tokens.text[regions]
    facts["end_ns"][rows] = t_ns
    facts["frames"][rows] += 1
    facts["seen"][rows] = frame
    facts["fresh"][rows] = True
    facts["last_box"][rows] = boxes
    facts["confidence"][rows] += tokens.confidence[regions]
    better = quality > facts["best_view"][rows]
    facts["best_ns"][rows[better]] = t_ns
    facts["best_view"][rows[better]] = quality[better]
    facts["best_box"][rows[better]] = boxes[better]


def _start(tokens: RegionTokens, t_ns: int, frame: int, ordinal: int) -> _Tracks:
    """Return a new track per region, in their order, from `ordinal` up."""
    facts = np.zeros(len(tokens), dtype=FACTS)
    facts["ordinal"] = np.arange(ordinal, ordinal + len(tokens))
    for name in ("start_ns", "end_ns", "best_ns"):
        facts[name] = t_ns
    facts["frames"] = 1
    facts["seen"] = frame
    facts["fresh"] = True
    facts["best_view"] = _FIRST_VIEW * _areas(tokens.boxes)
    facts["best_box"] = facts["last_box"] = tokens.boxes
    facts["confidence"] = tokens.confidence
    return _Tracks(facts, tokens.visual, tokens.text)


def _no_tracks(visual: int, text: int) -> _Tracks:
    zeros = np.zeros
    return _Tracks(zeros(0, FACTS), zeros((0, visual), np.float32), zeros((0, text), np.float32))


def _join(parts: list[_Tracks]) -> _Tracks:
    return _Tracks(
        np.concatenate([part.facts for part in parts]),
        np.concatenate([part.visual for part in parts]),
        np.concatenate([part.text for part in parts]),
    )


def _records(tracks: _Tracks) -> list[Track]:
    count = tracks.facts["frames"].astype(np.float32)[:, None]
    visual, text = tracks.visual / count, tracks.text / count
    names = ("ordinal", "start_ns", "end_ns", "frames", "best_ns", "best_box", "confidence")
    facts = (tracks.facts[name].tolist() for name in names)
    return [
        Track(
            ordinal,
            start_ns,
            end_ns,
            frames,
            visual[row],
            text[row],
            best_ns,
            (box[0], box[1], box[2], box[3]),
            min(confidence / frames, 1.0),
        )
        for row, (ordinal, start_ns, end_ns, frames, best_ns, box, confidence) in enumerate(zip(*facts, strict=True))
    ]
