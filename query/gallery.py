"""Which of all things are wanted: by name, by how sure their names are, by a track; and the names that there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..records import Box, Sighting
from ..store import Store, Vectors
from ..timecode import NS
from .inventory import Stock, page
from .naming import Guess, Naming

SHOWN = 3
"""How many things stand for a name."""
SAME_BOX = 0.5
"""Of a box of a single picture, this share lies in another one of the same name: they are of one thing."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Some of the things of a memory; without anything, all of them.

    part: the name contains this, or, where it is only a guess, one of the guesses does. called: the name is this, and
    it is sure. named: True for things with a sure name, False for those without. track: the thing that this track is
    of, by its id.
    """

    part: str = ""
    called: str | None = None
    named: bool | None = None
    track: int | None = None


@dataclass(frozen=True, slots=True)
class NamedThings:
    """The things of one name. name: None for those without a sure name. seen_ns: how long they were in view together.
    best: the best sightings of the first few."""

    name: str | None
    things: int
    seen_ns: int
    best: tuple[Sighting, ...]

    @property
    def seen_s(self) -> float:
        """How long they were in view together, in seconds."""
        return self.seen_ns / NS


@dataclass(frozen=True, slots=True)
class ThingIn:
    """A thing in a single picture. track: its id. box: x0, y0, x1, y1 in pixels. guess: its names."""

    track: int
    box: Box
    guess: Guess


def chosen(of: Stock, things: Sequence[int], choice: Choice, min_probability: float | None) -> Sequence[int]:
    """The numbers of the things that are wanted, in the given order.

    Args:
        of: All things.
        things: Their numbers.
        choice: Which ones.
        min_probability: Minimum probability of their names; None for any.
    """
    if choice.track is not None:
        things = _with_track(of, things, choice.track)
    part = " ".join(choice.part.lower().split())
    if part or choice.called is not None or choice.named is not None or min_probability is not None:
        things = [thing for thing in things if _is_wanted(of.judge(thing), part, choice, min_probability)]
    return things


def names_of(store: Store, of: Stock, things: Sequence[int]) -> list[NamedThings]:
    """The names of things, in the order of the first thing of each; what has no sure name comes last."""
    groups: dict[str | None, list[int]] = {}
    for thing in things:
        guess = of.judge(thing)
        groups.setdefault(guess.name if guess.named else None, []).append(thing)
    if None in groups:
        groups[None] = groups.pop(None)
    first = [thing for group in groups.values() for thing in group[:SHOWN]]
    best = {thing.tracks: thing.best for thing in page(store, of, first)}
    return [
        NamedThings(
            name=name,
            things=len(group),
            seen_ns=sum(map(of.length_ns, group)),
            best=tuple(best[tracks] for tracks in map(of.tracks, group[:SHOWN]) if tracks in best),
        )
        for name, group in groups.items()
    ]


def things_in(store: Store, cache: Vectors, naming: Naming, source_id: int, t_ns: int) -> list[ThingIn]:
    """The things in a single picture, each judged by this picture alone, the ones with the most probable names first.

    Of two boxes with the same name of which one lies mostly in the other, only the more probable one is given.
    """
    rows = cache.rows_of_source(source_id)
    rows = rows[cache.columns_of(rows).start_ns == t_ns]
    tokens, ids = cache.reconstruct("text", rows), cache.columns_of(rows).ids.tolist()
    boxes = {track.id: track.best_box for track in store.tracks(ids)}
    found = [
        ThingIn(track, boxes[track], naming.of(token))
        for track, token in zip(ids, tokens, strict=True)
        if track in boxes
    ]
    found.sort(key=lambda one: (not one.guess.named, -(one.guess.probability or 0.0)))
    out: list[ThingIn] = []
    for one in found:
        same = [other.box for other in out if other.guess.name == one.guess.name]
        if all(_share_inside(one.box, box) < SAME_BOX for box in same):
            out.append(one)
    return out


def _share_inside(a: Box, b: Box) -> float:
    """The share of the smaller of two boxes that lies in the other one."""
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b))
    return max(across, 0) * max(down, 0) / max(smaller, 1e-9)


def _is_wanted(guess: Guess, part: str, choice: Choice, min_probability: float | None) -> bool:
    if choice.called is not None and not (guess.named and guess.name == choice.called):
        return False
    if choice.named is not None and guess.named != choice.named:
        return False
    if min_probability is not None and (guess.probability or 0.0) < min_probability:
        return False
    names = guess.guesses[:1] if guess.named else guess.guesses
    return not part or any(part in name.lower() for name, _ in names)


def _with_track(of: Stock, things: Sequence[int], track: int) -> list[int]:
    found, wanted = of.found, set(things)
    own = (found.columns.ids == track).nonzero()[0]
    return [i for i, part in enumerate(of.members) if len(own) and i in wanted and own[0] in part]
