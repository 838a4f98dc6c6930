"""How answers, sightings and memories are displayed at a prompt and in a notebook. Nothing here raises."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from .timecode import clock, relative_date

if TYPE_CHECKING:
    from .memory import Memory
    from .query.answers import Answer
    from .records import Sighting

MAX_WIDTH = 1000
"""Width of a picture in a notebook, in pixels."""
MAX_ROWS = 20
"""Rows of a table in a notebook; the rest is counted below it."""


def sighting_text(s: Sighting) -> str:
    """One line for a sighting."""
    probability = "" if s.probability is None else f", probability {s.probability:.2f}"
    return f"<Sighting {_place(s)}, score {s.score:.3f}{probability}>"


def answer_text(answer: Answer) -> str:
    """One line for an answer: the question, its newest sighting, and how many there are."""
    question = _question(answer)
    if not answer.sightings:
        near = f"; nearest: {_place(answer.near_misses[0])}" if answer.near_misses else ""
        return f"<Answer {question}: not found{near}>"
    last = answer.sightings[0]
    probability = "" if last.probability is None else f" ({last.probability:.2f})"
    total = max(answer.total, len(answer.sightings))
    count = "" if total == 1 else f"; {len(answer.sightings)} of {total} sightings"
    return f"<Answer {question}: {_place(last)}{probability}{count}>"


def memory_text(memory: Memory) -> str:
    """One line for a memory: its folder and what is in it."""
    try:
        stats = memory.stats()
        counts = f"{stats.sources} sources, {stats.tracks} tracks"
    except Exception:  # closed or damaged; displaying it must not fail
        counts = "closed"
    return f"<Memory {memory.store.folder}: {counts}>"


def answer_html(answer: Answer) -> str:
    """A table of the sightings; above it the contact sheet of the newest one, if its video can be read."""
    shown = answer.sightings or answer.near_misses
    head = "found" if answer.sightings else "not found; the nearest" if shown else "not found"
    parts = [f"<p><b>{escape(_question(answer))}</b>: {head}</p>"]
    parts += [f"<p>{escape(note)}</p>" for note in answer.notes]
    if answer.sightings:
        parts.append(_sheet(answer))
    if shown:
        parts.append(sightings_html(shown))
    if answer.likelier is not None:
        parts += ["<p>likelier, but older:</p>", sightings_html([answer.likelier])]
    return "\n".join(part for part in parts if part)


def sightings_html(sightings: Sequence[Sighting]) -> str:
    """A table of sightings. The column of recording times is left out if none is known; photos have no time in a
    video."""
    head = ("when", "from", "to", "score", "probability", "box", "source")
    rows = [
        (
            relative_date(s.recorded_ns, s.recorded_by) or "-",
            "-" if s.picture else clock(s.start_ns),
            "-" if s.picture else clock(s.end_ns),
            f"{s.score:.3f}",
            "-" if s.probability is None else f"{s.probability:.2f}",
            ",".join(f"{v:.0f}" for v in s.box),
            s.picture or s.source,
        )
        for s in sightings[:MAX_ROWS]
    ]
    first = 0 if any(row[0] != "-" for row in rows) else 1
    more = len(sightings) - len(rows)
    return _table(head[first:], (row[first:] for row in rows)) + (f"<p>and {more} more</p>" if more else "")


def memory_html(memory: Memory) -> str:
    """A table of the sources of a memory."""
    text = escape(memory_text(memory)[1:-1])
    try:
        rows = [
            (row.uri, "-" if row.kind.single_pictures else clock(row.duration_ns), str(row.frames), row.state)
            for row in memory.sources()
        ]
    except Exception:  # as above
        return f"<p>{text}</p>"
    more = f"<p>and {len(rows) - MAX_ROWS} more</p>" if len(rows) > MAX_ROWS else ""
    return f"<p>{text}</p>" + _table(("source", "length", "frames", "state"), rows[:MAX_ROWS]) + more


def _place(s: Sighting) -> str:
    if s.picture:
        return Path(s.picture).name
    return f"{clock(s.start_ns)} to {clock(s.end_ns)} in {Path(s.source).name}"


def _question(answer: Answer) -> str:
    query = answer.query
    parts = [repr(query["text"])] if query.get("text") else []
    if query.get("image"):
        parts.append(f"picture {query['image']}" if query["image"] != "picture" else "a picture")
    if query.get("crop"):
        parts.append("a box")
    return " and ".join(parts) or "to a question"


def _sheet(answer: Answer) -> str:
    try:
        if answer.album is None:
            return ""
        picture = answer.album(answer.sightings[0], str(answer.query.get("text") or ""), others=answer.sightings)
        picture.thumbnail((MAX_WIDTH, 10 * MAX_WIDTH))
        out = io.BytesIO()
        picture.save(out, "PNG")
    except Exception:  # the video or the memory is gone or damaged; the table is enough
        return ""
    return f'<img alt="contact sheet" src="data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}">'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
