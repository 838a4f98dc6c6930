"""The question file of Visual Haystacks (arXiv 2407.13766, one needle), for an indexed folder of its pictures.

The file is a list of questions in JSON: `pos_image` and `neg_image`, names of the pictures of the haystack; `needle`,
what the picture is known by; `target`, what is looked for in it; `conversations[1].value`, yes or no.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..errors import MediaError
from ..store import Store
from ..text_files import read_json
from .haystack import RULES, Haystack, HaystackAnswer
from .question import Phrase


@dataclass(frozen=True, slots=True)
class Needle:
    """One question. images: names of the haystack. holding: those of them that are the right picture."""

    number: int
    anchor: str
    target: str
    answer: bool
    images: tuple[str, ...]
    holding: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NeedleAnswer:
    """A question with its answers by rule. retrieved: True if the region most like the needle is in the right
    picture."""

    needle: Needle
    answers: Mapping[str, HaystackAnswer]
    retrieved: bool

    def right(self, rule: str) -> bool:
        """Return True if the answer is that of the file; "not found" is wrong."""
        return self.answers[rule].verdict == ("yes" if self.needle.answer else "no")


def load_needles(path: str) -> list[Needle]:
    """Read a question file.

    Raises:
        MediaError: the file cannot be read or has another form; the message has the first entry that has.
    """
    data = read_json(path, "the questions cannot")
    if not isinstance(data, list) or not data:
        raise MediaError(f"a question file of Visual Haystacks is a list of questions, and this is not one: {path}")
    return [_needle(number, entry, path) for number, entry in enumerate(data)]


def _needle(number: int, entry: Any, path: str) -> Needle:
    try:
        holding, others = _names(entry["pos_image"]), _names(entry["neg_image"])
        anchor, target = str(entry["needle"]).strip(), str(entry["target"]).strip()
        said = str(entry["conversations"][1]["value"]).strip().strip(".").lower()
    except (KeyError, IndexError, TypeError):
        raise MediaError(
            f"question {number} lacks one of pos_image, neg_image, needle, target and conversations; is it the file "
            f"for one needle?: {path}"
        ) from None
    if said not in ("yes", "no") or not holding or not anchor or not target:
        raise MediaError(f"question {number} says neither yes nor no, or names nothing; check it: {path}")
    return Needle(number, anchor, target, said == "yes", (*holding, *others), holding)


def _names(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else list(value)
    if not all(isinstance(name, str) and name for name in names):
        raise TypeError
    return tuple(names)


class PictureNames:
    """The pictures of a memory by name: by the longest end of a path that only one picture has."""

    def __init__(self, store: Store) -> None:
        self._by_name: dict[str, list[tuple[tuple[str, ...], tuple[int, int]]]] = defaultdict(list)
        for row in store.sources():
            for file in store.picture_files(row.id) if row.kind.single_pictures else ():
                if file.t_ns is not None:
                    parts = (*Path(row.uri).parts, *Path(file.path).parts)
                    self._by_name[parts[-1]].append((parts, (row.id, file.t_ns)))

    def find(self, name: str) -> tuple[int, int] | None:
        """Source id and time of the picture with this name; None if there is none, or several fit equally well."""
        wanted = PurePosixPath(name.replace("\\", "/")).parts
        best: dict[tuple[int, int], int] = {}
        for parts, place in self._by_name.get(wanted[-1] if wanted else "", ()):
            same = 0
            while same < min(len(parts), len(wanted)) and parts[-1 - same] == wanted[-1 - same]:
                same += 1
            best[place] = max(best.get(place, 0), same)
        longest = max(best.values(), default=0)
        found = [place for place, same in best.items() if same == longest]
        return found[0] if len(found) == 1 else None


def ask_all(
    haystack: Haystack,
    pictures: PictureNames,
    needles: Sequence[Needle],
    phrases: Mapping[str, Phrase],
    missing: set[str],
) -> Iterator[NeedleAnswer]:
    """Answer every question whose pictures are all in the memory, by each rule, each in its own haystack.

    Args:
        haystack: All pictures of the memory.
        pictures: Their names.
        needles: The questions.
        phrases: The vectors of every anchor and target.
        missing: The names of pictures that are not in the memory are added to it; questions with one are left out.
    """
    for needle in needles:
        places = {name: pictures.find(name) for name in needle.images}
        if absent := {name for name, place in places.items() if place is None}:
            missing |= absent
            continue
        by_source: dict[int, list[int]] = defaultdict(list)
        for place in places.values():
            assert place is not None
            by_source[place[0]].append(place[1])
        rows = np.sort(np.concatenate([haystack.rows(source, times) for source, times in by_source.items()]))
        if not len(rows):
            missing |= set(needle.images)
            continue
        anchor, target = phrases[needle.anchor], phrases[needle.target]
        answers: dict[str, HaystackAnswer] = {rule: haystack.ask(anchor, target, rule, rows) for rule in RULES}
        chosen = answers["paper"].anchor
        held = {pictures.find(path) for path in chosen.paths} if chosen else set()
        yield NeedleAnswer(needle, answers, bool(held & {places[name] for name in needle.holding}))
