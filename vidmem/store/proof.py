"""What an answer rests on: whether all tracks were looked at, or proved not to matter."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..timecode import iso

SHOWN = 3
"""How many sources of a shard a note names."""


@dataclass(frozen=True, slots=True)
class Down:
    """A shard of a fleet that could not be asked.

    Attributes:
        shard: Its number in the catalogue.
        reason: Why it could not be asked.
        sources: Paths of its sources, which may have been missed.
        tracks: How many tracks may have been missed.
        start_ns: When the earliest of its sources began, in ns since the epoch; None if that is not known.
        end_ns: When the last one ended.
    """

    shard: int
    reason: str
    sources: tuple[str, ...]
    tracks: int
    start_ns: int | None = None
    end_ns: int | None = None

    @property
    def note(self) -> str:
        """One line for people: what may be missed, and why."""
        names = ", ".join(self.sources[:SHOWN]) or "no source"
        more = f" and {len(self.sources) - SHOWN} more" if len(self.sources) > SHOWN else ""
        when = "" if self.start_ns is None or self.end_ns is None else f", {iso(self.start_ns)} to {iso(self.end_ns)}"
        return f"may be missed: {self.tracks:,} tracks of shard {self.shard} ({names}{more}{when}): {self.reason}"


@dataclass(frozen=True, slots=True)
class Proof:
    """What an answer of a fleet rests on.

    Attributes:
        asked: How many shards were searched.
        pruned: How many were not, since their sources, their times or the bounds of their vectors prove that nothing in
            them can answer. It does not matter whether these can be reached.
        down: Those that had to be searched and could not be.
        approximate: What searched and may have missed tracks, such as "Milvus"; empty where the search was exact. Of a
            memory, which has no shards, this is all that a proof says.
    """

    asked: int
    pruned: int
    down: tuple[Down, ...] = ()
    approximate: str = ""

    def also(self, later: Proof) -> Proof:
        """This proof with the shards that were found down since."""
        known = {down.shard for down in self.down}
        more = tuple(down for down in later.down if down.shard not in known)
        return replace(self, asked=max(self.asked - len(more), 0), down=(*self.down, *more))

    @property
    def exact(self) -> bool:
        """True if the answer is that of all tracks. If not, what was not found may still have been seen."""
        return not self.down and not self.approximate

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for people for each shard that was not to be had."""
        return tuple(down.note for down in self.down)
