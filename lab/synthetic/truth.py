"""The truth: what is visible when, computed from the script and not from the pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from vidmem.timecode import NS

from .camera import BLURRED
from .render import melt
from .scene import box_in_video, fraction, stamps
from .script import Script

Span = tuple[int, int]
HALF = 0.5
"""Minimum visible share of a thing's area for it to count as visible."""
JOIN_NS = NS
"""Shorter gaps between two spans are bridged."""
LEAST_NS = 4 * NS // 10
"""Spans with less time in view are dropped."""
ENOUGH_NS = 2 * NS
"""Minimum time in view of a target in all; a target with less becomes a bystander."""
BOX_HZ = 5


@dataclass(frozen=True, slots=True)
class Shown:
    """One placement of one thing, with its times in view.

    drawing: index into the drawings of the world. target: True if questions may ask for it. spans: (start_ns, end_ns),
    both frames in which it is visible, in order. visible_ns: frames in view times their duration. boxes: (t_ns, x0, y0,
    x1, y1) in video pixels, cut at the picture's edges, 5 a second while visible.
    """

    name: str
    drawing: int
    target: bool
    spans: tuple[Span, ...]
    visible_ns: int
    boxes: tuple[tuple[int, float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """All that is in view in one world. glimpses: for each name the last instant at which at least a quarter of it was
    in view."""

    seed: int
    width: int
    height: int
    fps: int
    frames: int
    duration_ns: int
    shown: tuple[Shown, ...]
    glimpses: dict[str, int]

    def names(self) -> tuple[str, ...]:
        """Names that are visible at some time, sorted."""
        return tuple(sorted({s.name for s in self.shown if s.spans}))

    def spans(self, name: str) -> tuple[Span, ...]:
        """Return all spans in which a thing of that name is visible, merged over its placements, in order."""
        return join(span for s in self.shown if s.name == name for span in s.spans)


def frame_ns(index: int, fps: int) -> int:
    """Return the presentation time of a frame."""
    return index * NS // fps


def join(spans: Iterable[Span], gap_ns: int = JOIN_NS) -> tuple[Span, ...]:
    """Merge spans that overlap or lie less than gap_ns apart; return them in order."""
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and start - out[-1][1] < gap_ns:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return tuple(out)


def tell(script: Script) -> Truth:
    """Compute the truth of a script."""
    lens = script.lens
    total = script.visits[-1].last
    step = max(1, round(lens.fps / BOX_HZ))
    frame_lists: dict[int, list[int]] = {i: [] for i in range(len(script.placements))}
    boxes: dict[int, list[tuple[int, float, float, float, float]]] = {i: [] for i in range(len(script.placements))}
    glimpses: dict[str, int] = {}
    for v, visit in enumerate(script.visits):
        things = script.things(v)
        k = np.arange(visit.last - visit.first)
        sharp = visit.smear < BLURRED
        if v:  # while more of the old room shows than of the new one, nothing is visible
            sharp &= np.asarray([melt(i / lens.fps) >= 0.5 for i in k])
        for (i, place, _), stamp in zip(things, stamps([(p, s) for _, p, s in things]), strict=True):
            share = fraction(stamp, visit.poses, script.rooms[visit.room].occluders, lens)
            seen = sharp & (share >= HALF)
            frame_lists[i] += (visit.first + np.flatnonzero(seen)).tolist()
            hint = np.flatnonzero(share >= HALF / 2)
            if len(hint):
                glimpses[script.drawings[place.drawing].name] = frame_ns(visit.first + int(hint[-1]), lens.fps)
            for j in np.flatnonzero(seen & ((visit.first + k) % step == 0)):
                t_ns = frame_ns(visit.first + int(j), lens.fps)
                boxes[i].append((t_ns, *box_in_video(stamp, visit.poses[j], lens)))
    shown = []
    for i, place in enumerate(script.placements):
        times = [frame_ns(f, lens.fps) for f in frame_lists[i]]
        spans = join((t, t) for t in times)
        held = [sum(a <= t <= b for t in times) * NS // lens.fps for a, b in spans]
        spans = tuple(s for s, h in zip(spans, held, strict=True) if h >= LEAST_NS)
        inside = tuple(b for b in boxes[i] if any(a <= b[0] <= e for a, e in spans))
        shown.append(
            Shown(
                script.drawings[place.drawing].name,
                place.drawing,
                place.target,
                spans,
                sum(h for h in held if h >= LEAST_NS),
                inside,
            )
        )
    for i, s in enumerate(shown):
        if s.target and sum(o.visible_ns for o in shown if o.name == s.name) < ENOUGH_NS:
            shown[i] = replace(s, target=False)
    return Truth(
        script.seed, lens.width, lens.height, lens.fps, total, frame_ns(total, lens.fps), tuple(shown), glimpses
    )


def to_json(truth: Truth) -> dict[str, object]:
    """Convert to lists and dicts; `from_json` is the inverse."""
    return asdict(truth)


def from_json(data: dict[str, object]) -> Truth:
    """Convert parsed JSON back; the inverse of `to_json`."""
    rows = data["shown"]
    assert isinstance(rows, list)
    shown = tuple(
        Shown(
            r["name"],
            r["drawing"],
            r["target"],
            tuple((a, b) for a, b in r["spans"]),
            r["visible_ns"],
            tuple((t, x0, y0, x1, y1) for t, x0, y0, x1, y1 in r["boxes"]),
        )
        for r in rows
    )
    return Truth(**{**data, "shown": shown})  # type: ignore[arg-type]


def save(path: Path, data: dict[str, object]) -> None:
    """Write JSON in a fixed form."""
    path.write_text(json.dumps(data, indent=None, sort_keys=True, separators=(",", ":")) + "\n", "utf-8")
