"""The questions of calibrate.py: each scored once against every track of its world, with the lowest thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.lostfound import true_box_iou
from benchmarks.real_present import Place
from vidmem import Memory
from vidmem.encoders.base import Calibration
from vidmem.encoders.text_table import words
from vidmem.errors import UsageError
from vidmem.query.search import Hits, find, share
from vidmem.query.sightings import GAP_NS
from vidmem.records import Float32
from vidmem.store import VectorCache
from vidmem.world.drawings import things
from vidmem.world.furniture import WORDS as FURNITURE_WORDS
from vidmem.world.lostfound import World

TEMPERATURES = (0.06,)
"""That of the text loss in training."""
FLOOR = {"text": 0.2, "visual": 0.2, "product": 0.04}
"""The lowest thresholds that are tried; tracks below never count."""
RIGHT_BOX = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One question to one world, with its vectors, and every track above the floor of the search, by start time.

    span: the true last span, None for what is absent. score: cosine or product. shares: (temperature, track), None
    without text. rows: of the cache. places: where the thing is in the real clips, for a name of what is there; lies:
    which tracks' evidence lies on it, and source: whose track each is, both for questions to the clips alone.
    """

    world: int
    kind: str
    asked: str
    mode: str
    span: tuple[int, int] | None
    text: Float32 | None
    visual: Float32 | None
    contrast: Float32 | None
    score: Float32
    shares: Float32 | None
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    rows: NDArray[np.int64]
    places: tuple[Place, ...] | None = None
    lies: NDArray[np.bool_] | None = None
    source: NDArray[np.int64] | None = None


def newest_evidence(question: Question, keep: NDArray[np.bool_]) -> int:
    """The position of the track that shows the newest sighting of those kept: in the source added last, the best one
    of its newest group. Tracks are sorted by source, then by start."""
    assert question.source is not None
    at = np.flatnonzero(keep)
    at = at[question.source[at] == question.source[at[-1]]]
    start, _ = newest_span(question.start[at], question.end[at])
    at = at[question.start[at] >= start]
    return int(at[np.argmax(question.score[at])])


def newest_span(start: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[int, int]:
    """The newest sighting of tracks of one source, sorted by start: what `sightings.group` puts first."""
    furthest = np.maximum.accumulate(end)
    cuts = np.flatnonzero(start[1:] > furthest[:-1] + GAP_NS)
    first = int(cuts[-1]) + 1 if len(cuts) else 0
    return int(start[first]), int(end[first:].max())


def household() -> list[str]:
    """The phrases of household.txt that are neither a name nor a synonym of anything."""
    known = {phrase.lower() for thing in things() for phrase in (thing.name, *thing.synonyms)}
    lines = Path(__file__).with_name("household.txt").read_text("utf-8").splitlines()
    phrases = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return [phrase for phrase in phrases if phrase.lower() not in known]


def absent_phrases(world: World, phrases: Sequence[str]) -> list[str]:
    """Those that share no word with anything in the world, its furniture included: "violin bow" is no fair question
    where a violin lies."""
    there = set(world.truth.names()) | {shown.name for shown in world.truth.shown}
    said = {w for thing in things() if thing.name in there for p in (thing.name, *thing.synonyms) for w in words(p)}
    said |= set(FURNITURE_WORDS)
    return [phrase for phrase in phrases if not set(words(phrase)) & said]


def prepare(
    memory: Memory, number: int, kind: str, asked: str, span: tuple[int, int] | None, text: Float32 | None,
    visual: Float32 | None,
) -> Question:  # fmt: skip
    """Score one question against all tracks: `search.find` with the lowest thresholds of the search."""
    mode = "product" if text is not None and visual is not None else "text" if text is not None else "visual"
    contrast = None if text is None else memory.text_encoder.contrast(text)
    cache = memory.cache()
    low = Calibration(FLOOR["text"], 0, FLOOR["visual"], FLOOR["product"])
    hits = find(cache, low, text, visual)
    start = cache.columns.start_ns[hits.rows]
    hits = hits.take(np.argsort(start, kind="stable"))
    shares = None
    if contrast is not None:
        shares = np.stack([share(cache, hits, contrast, t) for t in TEMPERATURES])
    rows = hits.rows
    return Question(number, kind, asked, mode, span, text, visual, contrast, hits.score, shares,
                    cache.columns.start_ns[rows], cache.columns.end_ns[rows], rows)  # fmt: skip


def questions(memory: Memory, world: World, number: int, unknown: Sequence[str]) -> list[Question]:
    """All questions of a world; every absent picture once more with its name; all phrases that nobody was taught."""
    from vidmem.query.picture import load_picture, picture_token

    out = []
    for query in world.queries:
        text = None if query.text is None else memory.text_encoder.encode_text([query.text])[0]
        visual = None
        if query.picture is not None:
            visual = picture_token(memory.encoder, load_picture(world.folder / query.picture))
        span = None if query.start_ns is None or query.end_ns is None else (query.start_ns, query.end_ns)
        kind = query.kind if span else "absent_word" if visual is None else "absent_picture"
        out.append(prepare(memory, number, kind, query.name, span, text, visual))
        if span is None and visual is not None:
            name = memory.text_encoder.encode_text([query.name])[0]
            out.append(prepare(memory, number, "absent_name_picture", query.name, None, name, visual))
    for phrase in absent_phrases(world, unknown):
        try:
            text = memory.text_encoder.encode_text([phrase])[0]
        except UsageError:
            continue  # refused at once: nothing can be falsely found
        out.append(prepare(memory, number, "unknown_word", phrase, None, text, None))
    return out


def examples(cache: VectorCache, boxes: NDArray[np.float64], best_ns: NDArray[np.int64], world: World,
             question: Question) -> dict[str, float | None]:  # fmt: skip
    """The scores of the best right track and of the best wrong one. Right: it was in the thing's box."""
    if question.mode == "text":
        assert question.text is not None
        score = cache.reconstruct("text", np.arange(len(cache))) @ question.text
    else:
        assert question.visual is not None
        score = cache.reconstruct("visual", np.arange(len(cache))) @ question.visual
        if question.text is not None:
            score = score * (cache.reconstruct("text", np.arange(len(cache))) @ question.text)
    order = np.argsort(-score)
    right: int | None = None
    wrong: int | None = None
    for row in map(int, order[:400]):
        fits = (
            question.span is not None
            and (true_box_iou(world.truth, question.asked, int(best_ns[row]), tuple(boxes[row])) or 0.0) >= RIGHT_BOX
        )
        if fits and right is None:
            right = row
        if not fits and wrong is None:
            wrong = row
        if wrong is not None and (right is not None or question.span is None):
            break
    out: dict[str, float | None] = {}
    for name, best in (("right", right), ("wrong", wrong)):
        out[name] = None if best is None else float(score[best])
        if question.text is not None:
            out[name + "_share"] = None
            if best is not None and question.contrast is not None:
                at = np.array([best], np.int64)
                read = cache.scores("text", question.text, at)
                hits = Hits(at, read, read)
                out[name + "_share"] = float(share(cache, hits, question.contrast, 0.06)[0])
    return out
