"""Conversations in LLaVA's JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sets

from vidmem.errors import MediaError
from vidmem.export.trainset.chat import read_conversations

ASKED, SAID = {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}


def test_turns_and_pictures(tmp_path: Path) -> None:
    path = sets.conversations(tmp_path)
    first, second, third = read_conversations(path, None)
    assert first.turns == (("What is this?", "Noise."), ("Sure?", "Yes."))
    assert first.picture == str(path.parent / "1.jpg")
    assert (second.turns, third.turns, third.picture) == ((("And?", "No"),), (("Hello", "Hi"),), None)
    lines = path.with_suffix(".jsonl")
    lines.write_text("\n".join(map(json.dumps, json.loads(path.read_text()))) + "\n")
    assert read_conversations(lines, path.parent) == [first, second, third]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (3, "`conversations` is not a list"),
        ({"conversations": [ASKED]}, "`conversations` is not a list"),
        ({"conversations": [SAID, ASKED]}, "turn 0 is not a text from human"),
        ({"conversations": [ASKED, {"from": "gpt", "value": 3}]}, "turn 1 is not a text from gpt"),
        ({"conversations": [ASKED, SAID], "image": ["a.jpg", "b.jpg"]}, "is not the name of one picture"),
        ({"conversations": [ASKED, SAID], "image": "../a.jpg"}, "leads out of the folder"),
    ],
)
def test_damaged_entries_are_named(tmp_path: Path, entry: object, message: str) -> None:
    path = tmp_path / "chat.json"
    path.write_text(json.dumps([entry, {"conversations": [ASKED, SAID]}]))
    with pytest.raises(MediaError, match=f"{message}.*: entry 0 of"):
        read_conversations(path, None)
    told: list[str] = []
    assert len(read_conversations(path, None, told.append)) == 1
    assert len(told) == 1


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    for text, message in ((None, "cannot be read"), ("{", "not JSON"), ("{}", "not a list"), ("[]", "no conversation")):
        if text is not None:
            path.write_text(text)
        with pytest.raises(MediaError, match=message):
            read_conversations(path, None)
