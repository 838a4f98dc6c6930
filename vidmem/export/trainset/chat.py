"""Conversations about pictures in LLaVA's JSON, to be mixed into a training set (Text4Seg, section 4.4).

A file is a list, or one object per line, of {"image": "a.jpg", "conversations": [{"from": "human", "value": ...},
{"from": "gpt", "value": ...}, ...]}. Entries without `image` are text alone. The mark <image> is taken out of the
questions; the style of the set puts its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import MediaError
from ...text_files import read_json, read_json_lines
from ..files import inside
from .content import Conversation

MARK = "<image>"
WHAT, AGAIN = "the conversations cannot", "fetch them again"
"""For messages about a file that cannot be read."""


def read_conversations(path: Path, images: Path | None, bad: Callable[[str], None] | None = None) -> list[Conversation]:
    """Read all conversations of a file.

    Args:
        path: The JSON file, or JSON lines (.jsonl).
        images: Folder of the pictures; by default that of the file.
        bad: Is told of entries that are left out. By default the first one is an error.

    Raises:
        MediaError: The file cannot be read, or has no conversation.
    """
    folder = images or path.parent
    out = []
    for place, entry in enumerate(_entries(path)):
        try:
            out.append(_conversation(entry, folder))
        except MediaError as error:
            message = f"{error}: entry {place} of {path}"
            if bad is None:
                raise MediaError(message) from None
            bad(message)
    if not out:
        raise MediaError(f"there is no conversation in the file; give one in LLaVA's JSON: {path}")
    return out


def _entries(path: Path) -> list[Any]:
    if path.suffix == ".jsonl":
        return read_json_lines(path, WHAT, remedy=AGAIN)
    document = read_json(path, WHAT, remedy=AGAIN)
    if not isinstance(document, list):
        raise MediaError(f"the conversations are not a list; fetch them again: {path}")
    return document


def _conversation(entry: Any, folder: Path) -> Conversation:
    turns = entry.get("conversations") if isinstance(entry, dict) else None
    if not isinstance(turns, list) or not turns or len(turns) % 2:
        raise MediaError("`conversations` is not a list of questions and answers")
    said = []
    for i, turn in enumerate(turns):
        who = "gpt" if i % 2 else "human"
        if not isinstance(turn, dict) or turn.get("from") != who or not isinstance(turn.get("value"), str):
            raise MediaError(f"turn {i} is not a text from {who}")
        said.append(turn["value"] if i % 2 else turn["value"].replace(MARK, "").strip())
    image = entry.get("image")
    picture = None
    if image is not None:
        if not isinstance(image, str) or not image:
            raise MediaError("`image` is not the name of one picture")
        path = inside(folder, image)
        if path is None:
            raise MediaError(f"{image!r} leads out of the folder of the pictures")
        picture = str(path)
    return Conversation(picture, tuple(zip(said[::2], said[1::2], strict=True)))
