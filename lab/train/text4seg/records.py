"""Training data: JSON lines with questions, answers and pictures, in the styles of the training frameworks.

    {"query": "Where is the cup?", "response": "...", "images": ["a.jpg"]}       internvl: pictures come first
    {"query": "<image>\\nWhere is the cup?", "response": ..., "images": [...]}    llava: <image> is the place of one
    {"query": "<img>a.jpg</img>\\nWhere is the cup?", "response": ...}            qwen: the path stands in the question
    {..., "history": [["earlier question", "its answer"], ...], "system": ...}   several turns
    {"conversations": [{"from": "human", "value": ...}, {"from": "gpt", ...}], "image": "a.jpg"}
    {"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}], "images": [...]}

`vidmem export --format text4seg` writes all of them but `conversations`. A relative path starts at the folder of the
file, or else at the working folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidmem.errors import MediaError, UsageError

PLACE = "<image>"
_PATH = re.compile(r"<img>(.*?)</img>", re.DOTALL)
_USER, _ASSISTANT = ("human", "user"), ("gpt", "assistant")


@dataclass(frozen=True, slots=True)
class Turn:
    """A question, whose parts are texts and paths of pictures in order, and its answer."""

    question: tuple[str | Path, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """One record. system: instructions ahead of it, "" for none. where: file and line, for messages."""

    turns: tuple[Turn, ...]
    system: str
    where: str

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The paths of all pictures, in order."""
        return tuple(part for turn in self.turns for part in turn.question if isinstance(part, Path))


def parse(record: Any, folder: Path | None, where: str) -> Conversation:
    """Read one record in any of the forms above.

    folder: where relative paths of pictures start; None leaves them as they are. Raises ValueError, with the reason,
    for anything else.
    """
    if not isinstance(record, dict):
        raise ValueError("it is not an object")
    system, pairs = _pairs(record)
    pictures = _pictures(record)
    if not pairs:
        raise ValueError("it has no question with an answer")
    asked = "\n".join(question for question, _ in pairs)
    places = asked.count(PLACE) + len(_PATH.findall(asked))
    if pictures and not places:
        first, answer = pairs[0]
        pairs[0] = "\n".join([*[PLACE] * len(pictures), first]), answer
    elif asked.count(PLACE) != len(pictures):
        raise ValueError(f"it has {len(pictures)} pictures, and {asked.count(PLACE)} times {PLACE}")
    waiting = iter(pictures)
    turns = []
    for question, answer in pairs:
        if not answer.strip():
            raise ValueError("an answer is empty")
        parts: list[str | Path] = []
        for piece in re.split(rf"({re.escape(PLACE)}|<img>.*?</img>)", question, flags=re.DOTALL):
            if piece == PLACE:
                parts.append(_resolved(next(waiting), folder))
            elif match := _PATH.fullmatch(piece):
                parts.append(_resolved(match[1].strip(), folder))
            elif piece.strip():
                parts.append(piece.strip())
        turns.append(Turn(tuple(parts), answer.strip()))
    return Conversation(tuple(turns), system, where)


def _pairs(record: dict[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """The system text, and questions with answers."""
    listed = record.get("conversations", record.get("messages"))
    if listed is None:
        history = record.get("history") or []
        if not isinstance(history, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in history):
            raise ValueError("`history` is not a list of questions with their answers")
        pairs = [(_text(q, "history"), _text(a, "history")) for q, a in history]
        system = record.get("system") or ""
        return _text(system, "system"), [*pairs, (_text(record.get("query"), "query"), _response(record))]
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise ValueError("its turns are not a list of objects")
    system, pairs, question = "", [], None
    for item in listed:
        role = item.get("from", item.get("role"))
        text = _text(item.get("value", item.get("content")), str(role))
        if role == "system" and not pairs and question is None:
            system = text
        elif role in _USER and question is None:
            question = text
        elif role in _ASSISTANT and question is not None:
            pairs.append((question, text))
            question = None
        else:
            raise ValueError(f"a turn of {role!r} is out of order")
    if question is not None:
        raise ValueError("its last question has no answer")
    return system, pairs


def _response(record: dict[str, Any]) -> str:
    return _text(record.get("response"), "response")


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"`{name}` is not a text")
    return value


def _pictures(record: dict[str, Any]) -> list[str]:
    given = record.get("images", record.get("image")) or []
    given = [given] if isinstance(given, str) else given
    if not isinstance(given, list) or not all(isinstance(path, str) and path for path in given):
        raise ValueError("`images` is not a list of paths")
    return given


def _resolved(path: str, folder: Path | None) -> Path:
    given = Path(path)
    if folder is None:
        return given
    beside = folder / given
    # os.path: a name that is too long for the file system does not exist.
    return beside if os.path.exists(beside) or not os.path.exists(given) else given


class Records:
    """Records by number, read from disk when they are asked for.

    paths: files of JSON lines, or folders with data-*.jsonl, data.jsonl or other *.jsonl files. Raises MediaError for a
    file that is missing or has a line that is no record; the message names file and line.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        if not paths:
            raise UsageError("no training data was given; give a file of JSON lines, or a folder with such files")
        self.files = [file for path in paths for file in _files(path)]
        starts: list[tuple[int, int, int]] = []
        digest = hashlib.sha256()
        self.most_turns = 0
        for number, file in enumerate(self.files):
            at = 0
            try:
                with file.open("rb") as stream:
                    for line_number, line in enumerate(stream, 1):
                        if line.strip():
                            found = _read(line, file, line_number, look=False)
                            self.most_turns = max(self.most_turns, len(found.turns))
                            starts.append((number, at, line_number))
                            digest.update(line.strip() + b"\n")
                        at += len(line)
            except OSError as error:
                raise MediaError(f"the data cannot be read ({error.strerror}); check the file: {file}") from None
        if not starts:
            raise MediaError(f"the data has no records; give a file with some: {self.files[0]}")
        self._starts = np.array(starts, np.int64)
        self.digest = digest.hexdigest()[:16]
        """The same for the same records in the same order."""

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Conversation:
        number, start, line_number = self._starts[index].tolist()
        file = self.files[number]
        try:
            with file.open("rb") as stream:
                stream.seek(start)
                line = stream.readline()
        except OSError as error:
            raise MediaError(f"the data cannot be read ({error.strerror}); check the file: {file}") from None
        return _read(line, file, line_number)


def _files(path: Path) -> list[Path]:
    if os.path.isdir(path):  # False for a name that is too long; Path.is_dir raises OSError
        for pattern in ("data-*.jsonl", "data.jsonl", "*.jsonl"):
            if found := sorted(path.glob(pattern)):
                _check_complete(found)
                return found
        raise MediaError(f"there is no *.jsonl in the folder; `vidmem export` writes some: {path}")
    if not os.path.isfile(path):
        raise MediaError(f"the data is missing; check the path: {path}")
    return [path]


def _check_complete(files: Sequence[Path]) -> None:
    """Raise MediaError if files of a set are missing, whose names say how many there are (data-00000-of-00008)."""
    totals = {int(match[1]) for file in files if (match := re.fullmatch(r"data-\d+-of-(\d+)", file.stem))}
    if totals and totals != {len(files)}:
        raise MediaError(
            f"the set has {len(files)} of {max(totals)} files; finish it by the same `vidmem export`: {files[0].parent}"
        )


def _read(line: bytes, file: Path, number: int, look: bool = True) -> Conversation:
    """One record. look: see where its pictures are."""
    try:
        return parse(json.loads(line), file.parent if look else None, f"{file}:{number}")
    except (ValueError, RecursionError) as error:
        raise MediaError(f"line {number} is not a record ({error}); correct or remove it: {file}") from None
