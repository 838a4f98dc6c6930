"""The question file of Visual Haystacks (arXiv 2407.13766, one needle), for an indexed folder of its pictures.

The file is a list of questions in JSON: `pos_image` and `neg_image`, names of the pictures of the haystack; `needle`,
what the picture is known by; `target`, what is looked for in it; `conversations[1].value`, yes or no.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
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
    """A question with its answers by rule. retrieved: by rule, True if the chosen picture is the right one."""

    needle: Needle
    answers: Mapping[str, HaystackAnswer]
    retrieved: Mapping[str, bool]

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


def ask_needle(
    haystack: Haystack, pictures: PictureNames, needle: Needle, anchor: Phrase, target: Phrase, seed: int = 0
) -> NeedleAnswer:
    """Answer a question by each rule, in its own haystack.

    The pictures are shuffled, so that of equal regions none is favoured for its place in the file, where the right
    picture stands first.

    Args:
        haystack: All pictures of the memory.
        pictures: Their names.
        needle: The question.
        anchor: The vectors of what the picture is known by.
        target: The vectors of what is looked for in it.
        seed: Of the shuffling, with the number of the question.

    Raises:
        MediaError: Pictures are not in the memory; the message names the first.
    """
    places = {name: pictures.find(name) for name in needle.images}
    if absent := [name for name, place in places.items() if place is None]:
        more = f" and {len(absent) - 1:,} more" if len(absent) > 1 else ""
        raise MediaError(f"its pictures are not in the memory: {absent[0]}{more}")
    order = list(dict.fromkeys(place for place in places.values() if place is not None))
    shuffled = [order[i] for i in np.random.default_rng([seed, needle.number]).permutation(len(order))]
    rows = haystack.rows_of(shuffled)
    answers: dict[str, HaystackAnswer] = {rule: haystack.ask(anchor, target, rule, rows) for rule in RULES}
    right = {places[name] for name in needle.holding}
    retrieved = {}
    for rule, answer in answers.items():
        chosen = answer.anchor
        retrieved[rule] = chosen is not None and not right.isdisjoint({pictures.find(path) for path in chosen.paths})
    return NeedleAnswer(needle, answers, retrieved)
