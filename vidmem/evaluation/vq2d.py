"""Answers to Ego4D's visual queries (VQ2D) by T-REN's search (arXiv 2604.18573, section 4.3), from a memory.

The paper's search encodes a video for each query. Here the video is in the memory and no frame is encoded again. What
differs: the token of the crop is that of its track and not of one region of one frame, and the token of a track is the
mean over all that the memory holds of it. For a clip that was indexed as a whole this includes frames after the one at
which is asked; `vq2d_online` has a memory that ends there. Only what was seen before that frame is searched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UnknownWordError, UsageError
from ..memory import Memory
from ..query.paper import THRESHOLD, cosines, select, similarity, window
from ..query.picture import crop_track
from ..records import Box, Float32
from ..store import SourceRow
from .vq2d_files import FrameBox, Response, VisualQuery


@dataclass(frozen=True, slots=True)
class Answered:
    """A query with its answer.

    Attributes:
        response: None if there is no answer.
        selected: Number of tracks that were selected.
        note: Why there is no answer, or what was left out; empty otherwise.
    """

    response: Response | None
    selected: int = 0
    note: str = ""


def asked_ns(query: VisualQuery) -> int:
    """The time in ns, from the start of the clip, at which is asked."""
    return round(query.frame / query.fps * 1e9)


def crop_ns(query: VisualQuery) -> int:
    """The time in ns, from the start of the clip, of the frame that the crop was cut out of."""
    return round(query.crop.frame / query.fps * 1e9)


def check_crop(query: VisualQuery) -> None:
    """Raise UsageError if the crop of a query has no area, or lies outside of its picture."""
    x0, y0, x1, y1 = query.crop.box
    width, height = query.crop.size
    if min(x1, width) <= max(x0, 0) or min(y1, height) <= max(y0, 0):
        raise UsageError("the crop lies outside of its frame; correct `visual_crop` in the annotations")


def answer(
    memory: Memory,
    source: SourceRow,
    query: VisualQuery,
    *,
    threshold: float = THRESHOLD,
    crop: Float32 | None = None,
) -> Answered:
    """Answer a query about an indexed clip.

    Tracks seen before the query's frame are scored by `paper.similarity` and selected by `paper.select`; the answer is
    the last run of frames of these (`paper.window`). Its box in a frame is that of the selected track there with the
    best score. Between sampled frames boxes are interpolated, so that the answer has every frame of the clip.

    Args:
        memory: Holds the clip.
        source: The clip.
        query: What is asked.
        threshold: tau_sim of `paper.select`. If the encoder does not know the title, the crop decides alone, by the
            encoder's threshold for pictures, and the note says so; so it does if the query has no title.
        crop: The visual token `(Dv,)` of the crop; by default that of the track which is in the crop's box.

    Raises:
        UsageError: The encoder cannot read the title.
        StoreError: The memory is damaged.
    """
    store, cache = memory.store, memory.query.cache()
    asked = asked_ns(query)
    if crop is None:
        box = query.crop.scaled(source.width, source.height)
        try:
            check_crop(query)
            row = crop_track(store, cache, source, crop_ns(query), box, rule="paper")
        except UsageError as error:
            return Answered(None, note=f"no token for the crop: {error}")
        crop = cache.reconstruct("visual", np.array([row]))[0]
    rows = cache.rows_of_source(source.id)
    rows = rows[cache.columns_of(rows).start_ns < asked]
    if not len(rows):
        return Answered(None, note="nothing was seen before the query")
    visual = cache.reconstruct("visual", rows)
    text, note = _title(memory, query)
    if text is not None:
        scores = similarity(visual, cache.reconstruct("text", rows), crop, text)
    else:
        scores, threshold = cosines(visual, crop), memory.query.calibration.visual_threshold
    chosen = select(scores, threshold)
    times, ordinals, boxes = store.boxes(source.id, 0, asked - 1)
    step = sampling_step(times)
    mine = np.isin(ordinals, cache.columns_of(rows[chosen]).ordinals)
    if not mine.any():
        return Answered(None, len(chosen), "the selected tracks were seen only later")
    times, ordinals, boxes = times[mine], ordinals[mine], boxes[mine]
    by_ordinal = dict(zip(cache.columns_of(rows[chosen]).ordinals.tolist(), scores[chosen].tolist(), strict=True))
    rank = np.array([by_ordinal[int(ordinal)] for ordinal in ordinals], np.float32)
    frames = sampled(times, step)
    span = window([frames])
    assert span is not None  # there are frames
    inside = (frames >= span[0]) & (frames <= span[1])
    first, found = _each_frame(times[inside], boxes[inside], rank[inside], query)
    pixels = tuple(_scaled(box, (source.width, source.height), query.crop.size) for box in found)
    return Answered(Response(first, pixels, float(scores[chosen].max())), len(chosen), note)


def _title(memory: Memory, query: VisualQuery) -> tuple[Float32 | None, str]:
    """The text vector `(Dt,)` of the title; or None, and why the crop decides alone."""
    if not query.title.strip():
        return None, "by the crop alone, since the query has no title"
    try:
        return memory.query.text_encoder.encode_text([query.title])[0], ""
    except UnknownWordError as error:
        return None, f"by the crop alone, since the encoder does not know {error.word!r}"


def sampling_step(times: NDArray[np.int64]) -> int:
    """The usual time in ns from one sampled frame to the next, from the times `(n,)` in ns at which anything was seen.

    The setting `fps` does not tell: a video can have fewer frames.
    """
    gaps = np.diff(np.unique(times))
    return int(np.median(gaps)) if len(gaps) else 1


def sampled(times: NDArray[np.int64], step: int) -> NDArray[np.int64]:
    """Numbers `(n,)` of sampled frames from their times `(n,)` in ns, so that neighbours differ by 1.

    step: The time between neighbours in ns.
    """
    return np.asarray(np.rint(times / step), np.int64)


def _scaled(box: Box, size: tuple[int, int], wanted: tuple[int, int]) -> Box:
    return FrameBox(0, box, size).scaled(*wanted)


def _each_frame(
    times: NDArray[np.int64], boxes: Float32, rank: Float32, query: VisualQuery
) -> tuple[int, tuple[Box, ...]]:
    """First frame of the clip and a box for each frame up to the last, from boxes `(n, 4)` at `times` `(n,)`.

    rank: `(n,)`; of several boxes at one time the one with the highest is taken.
    """
    order = np.lexsort((-rank, times))
    best = order[np.concatenate([[True], np.diff(times[order]) > 0])]
    at = times[best] * (query.fps / 1e9)
    numbers = np.arange(int(np.rint(at[0])), min(int(np.rint(at[-1])), query.frame - 1) + 1)
    if not len(numbers):  # the first frame rounds up to the one at which is asked
        numbers = np.array([query.frame - 1])
    columns = [np.interp(numbers, at, boxes[best, i]) for i in range(4)]
    found = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in zip(*columns, strict=True))
    return int(numbers[0]), found
