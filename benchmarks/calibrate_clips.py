"""The questions of calibrate.py to real clips, all in one memory: is a plain name found where the thing is, and what is
found that is not there.

Names, places and what is absent are of real_present.json, by eye, and of its half "fit" alone: the half "held" is for
benchmarks.real.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.calibrate_probability import Candidates
from benchmarks.calibrate_questions import Question, prepare
from benchmarks.common import memory_place, say
from benchmarks.real_present import Place, facts, worth
from vidmem import Memory
from vidmem.probability import CANDIDATES
from vidmem.records import Sighting
from vidmem.store import TrackRow

HALF = "fit"


def shows(track: TrackRow, source: str, places: tuple[Place, ...]) -> bool:
    """Does the evidence of a track lie on the thing, at a time in which it is in view."""
    seen = Sighting(source, track.best_ns, track.best_ns, 0.0, None, None, track.best_ns, track.best_box)
    return worth(seen, places) == "right"


def clip_questions(memory: Memory, number: int, clips: list[str]) -> list[Question]:
    """Each name of HALF: kind "clip_name" where it is in one of the clips, "absent_clip" where not."""
    known = facts(clips)
    uris = {row.id: row.uri for row in memory.sources()}
    tracks = {t.id: t for id in uris for t in memory.store.source_tracks(id)}
    columns = memory.cache().columns
    out = []
    asked = [(n.name, n.places) for n in known.half(HALF)] + [(n, None) for n in known.absent[HALF]]
    for name, places in asked:
        text = memory.text_encoder.encode_text([name])[0]
        question = prepare(memory, number, "absent_clip" if places is None else "clip_name", name, None, text, None)
        source = columns.source_ids[question.rows]
        order = np.lexsort((question.start, source))
        mine = [tracks[int(id)] for id in columns.ids[question.rows[order]]]
        lies = [places is not None and shows(t, uris[t.source_id], places) for t in mine]
        out.append(replace(
            question, score=question.score[order], start=question.start[order], end=question.end[order],
            shares=None if question.shares is None else question.shares[:, order], rows=question.rows[order],
            places=places, lies=np.array(lies, bool), source=source[order],
        ))  # fmt: skip
    return out


def clip_candidates(question: Question) -> Candidates:
    """The best tracks of a question to the clips, for the curves from scores to probabilities."""
    assert question.lies is not None
    best = np.argsort(-question.score, kind="stable")[:CANDIDATES]
    share = None if question.shares is None else question.shares[0][best].astype(np.float64)
    return Candidates(question.world, question.mode, question.places is None,
                      question.score[best].astype(np.float64), share, question.lies[best])  # fmt: skip


def ask_clips(clips: Path, cache: Path, number: int) -> tuple[list[Memory], list[Question]]:
    """One memory of all clips that are in `clips`, if any, and the questions to it, as of world `number`."""
    known = {place.clip for name in facts().names for place in name.places}
    paths = sorted(p for p in clips.glob("*.mp4") if p.name in known)
    if not paths:
        return [], []
    place = memory_place(cache, "real")
    with Memory.open(place) as memory:
        memory.index(*paths)
    memory = Memory.open(place, read_only=True)
    asked = clip_questions(memory, number, [p.name for p in paths])
    say(f"{len(paths)} clips: {len(asked)} questions to {len(memory.cache())} tracks")
    return [memory], asked
