"""The names that regions get: things, which can be counted, and stuff, which cannot (sky, grass)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vidmem.errors import UsageError


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a training, things first: the number of a name is its column in all tables of scores.

    Attributes:
        things: Names of things; may be empty.
        stuff: Names of stuff; may be empty.
        repeated: Names that were given more than once. Each is kept once.
    """

    things: tuple[str, ...]
    stuff: tuple[str, ...]
    repeated: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Things, then stuff."""
        return self.things + self.stuff

    @property
    def sha256(self) -> str:
        """A hash of the names, their order and their kinds."""
        return hashlib.sha256("\n".join((*self.things, "", *self.stuff)).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.things) + len(self.stuff)


def make_names(things: Iterable[str], stuff: Iterable[str]) -> Names:
    """Names without repetitions. Names that differ only in case or spaces are the same: CLIP reads them alike.

    Raises:
        UsageError: A name is both a thing and stuff, or there are fewer than two names.
    """
    repeated: list[str] = []
    kept_things, kept_stuff = (_distinct(names, repeated) for names in (things, stuff))
    both = [name for key, name in kept_things.items() if key in kept_stuff]
    if both:
        more = f" and {len(both) - 1} more" if len(both) > 1 else ""
        raise UsageError(f"{both[0]!r}{more} is both a thing and stuff; remove it from one of the two lists")
    names = Names(tuple(kept_things.values()), tuple(kept_stuff.values()), tuple(repeated))
    if len(names) < 2:
        raise UsageError(
            f"there {'is one name' if len(names) else 'are no names'} to tell apart; give at least two names of things "
            "or stuff"
        )
    return names


def _distinct(names: Iterable[str], repeated: list[str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    for name in names:
        plain = " ".join(name.split())
        key = plain.casefold()
        if not plain:
            continue
        if key in kept:
            repeated.append(plain)
        else:
            kept[key] = plain
    return kept


def joined(parts: Sequence[Names]) -> Names:
    """The names of several lists together. Raises UsageError as `make_names`."""
    return make_names((n for part in parts for n in part.things), (n for part in parts for n in part.stuff))
