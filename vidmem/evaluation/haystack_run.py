"""A run of Visual Haystacks with one needle (arXiv 2407.13766): index the pictures, answer the questions, count.

The files are visual_haystack_N.json, each with questions about sets of N pictures of COCO.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..encoders.base import TextEncoder
from ..errors import MediaError, UnknownWordError, UsageError
from ..indexer.progress import IndexProgress
from ..memory import Memory
from ..query.asking import phrases_of
from ..query.haystack import RULES, Haystack
from ..query.question import Phrase
from ..query.visual_haystacks import Needle, PictureNames, ask_needle, load_needles
from .run import sha256

SEED = 0
"""Of the shuffling of pictures."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of a file. name: of the file, without suffix."""

    name: str
    needle: Needle

    @property
    def key(self) -> str:
        """Names the question in the journal."""
        return f"{self.name}/{self.needle.number}"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The figures for one number of pictures.

    Attributes:
        pictures: In a haystack.
        questions: How many.
        right: By rule, the share of right answers in 0 to 1; "not found" is wrong.
        retrieved: By rule, the share for which the right picture was chosen.
        not_found: By rule, the share of answers that are "not found".
    """

    pictures: int
    questions: int
    right: dict[str, float]
    retrieved: dict[str, float]
    not_found: dict[str, float]


def read_questions(path: str | Path) -> tuple[list[Asked], dict[str, str]]:
    """The questions of a file, or of all `visual_haystack_*.json` of a folder, and the hash of each file by its name.

    Raises:
        MediaError: There is no such file, or one has another form.
    """
    files = sorted(Path(path).glob("visual_haystack_*.json")) if Path(path).is_dir() else [Path(path)]
    if not files:
        raise MediaError(f"the folder has no visual_haystack_N.json; give the one of the single needle: {path}")
    asked = [Asked(file.stem, needle) for file in files for needle in load_needles(str(file))]
    return asked, {file.name: sha256(file) for file in files}


def index_pictures(
    memory: Memory, asked: Sequence[Asked], folder: str | Path, progress: Callable[[IndexProgress], None] | None = None
) -> tuple[int, float]:
    """Index the pictures that questions are about, in the order of their names.

    Pictures that are missing or damaged are left out; `ask` names them. Pictures that the memory has are skipped.

    Returns:
        How many pictures are new, and the time in s.

    Raises:
        MediaError: None of the pictures is there.
        ModelMismatchError: The memory was made with other settings.
        StoreError: The memory cannot be written.
    """
    names = sorted({name for one in asked for name in one.needle.images})
    files = [file for name in names if (file := picture_file(folder, name)) is not None]
    if not files:
        raise MediaError(
            f"none of the {len(names):,} pictures is there, such as {names[0]}; check the folder: {folder}"
        )
    before = memory.store.stats().pictures
    began = time.perf_counter()
    memory.index(files, progress=progress, on_source=lambda name, opened: None)
    return memory.store.stats().pictures - before, time.perf_counter() - began


def picture_file(folder: str | Path, name: str) -> Path | None:
    """The file of a picture: its name below the folder, or else the last part of its name. None if there is none."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts or not parts:
        return None
    below = [part for part in parts if part != "/"]
    for place in (Path(folder, *below), Path(folder, below[-1])) if below else ():
        if place.is_file():
            return place
    return None


class Asker:
    """Answers questions from a memory that has the pictures."""

    def __init__(self, memory: Memory, asked: Sequence[Asked]) -> None:
        """Prepare the phrases of all questions.

        Raises:
            UsageError: The memory has no pictures.
            StoreError: The memory is damaged.
        """
        self._haystack = Haystack(memory.store, memory.cache(), memory.calibration)
        self._names = PictureNames(memory.store)
        words = dict.fromkeys(word for one in asked for word in (one.needle.anchor, one.needle.target))
        self._phrases = {word: _phrase(memory.text_encoder, word) for word in words}

    @property
    def unreadable(self) -> list[str]:
        """Words that the encoder does not know. Questions with one are "not found"."""
        return [word for word, phrase in self._phrases.items() if phrase is None]

    def ask(self, asked: Asked) -> dict[str, Any]:
        """Answer a question by each rule, as plain data for the journal.

        Raises:
            MediaError: One of its pictures is not in the memory.
        """
        needle = asked.needle
        anchor, target = self._phrases[needle.anchor], self._phrases[needle.target]
        out = {"pictures": len(needle.images), "truth": "yes" if needle.answer else "no"}
        if anchor is None or target is None:
            return {
                **out,
                "answers": dict.fromkeys(RULES, "not found"),
                "retrieved": dict.fromkeys(RULES, False),
                "ms": 0,
            }
        began = time.perf_counter()
        found = ask_needle(self._haystack, self._names, needle, anchor, target, SEED)
        ms = (time.perf_counter() - began) * 1000
        answers = {rule: found.answers[rule].verdict for rule in RULES}
        return {**out, "answers": answers, "retrieved": dict(found.retrieved), "ms": ms}


def _phrase(encoder: TextEncoder, word: str) -> Phrase | None:
    try:
        (phrase,) = phrases_of(encoder, [word])
    except (UnknownWordError, UsageError):
        return None
    return phrase


def accuracies(results: Iterable[Mapping[str, Any]]) -> list[Accuracy]:
    """The figures by the number of pictures, ascending, of answers as `Asker.ask` returned them."""
    groups: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for result in results:
        groups[result["pictures"]].append(result)
    out = []
    for pictures, group in sorted(groups.items()):

        def share(of: Callable[[Mapping[str, Any], str], bool], held: Sequence[Mapping[str, Any]] = group) -> Any:
            return {rule: sum(of(one, rule) for one in held) / len(held) for rule in RULES}

        out.append(
            Accuracy(
                pictures=pictures,
                questions=len(group),
                right=share(lambda one, rule: one["answers"][rule] == one["truth"]),
                retrieved=share(lambda one, rule: one["retrieved"][rule]),
                not_found=share(lambda one, rule: one["answers"][rule] == "not found"),
            )
        )
    return out
