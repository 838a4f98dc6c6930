"""Reading instruction data in the forms of the training frameworks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import talking
from hypothesis import given
from hypothesis import strategies as st

from lab.train.text4seg.records import Records, Turn, parse
from vidmem.errors import MediaError, UsageError
from vidmem.export.instruct import STYLES, records
from vidmem.export.textmask import build

HERE = Path("folder")


def turns(record: dict[str, Any]) -> tuple[Turn, ...]:
    return parse(record, HERE, "").turns


@pytest.mark.parametrize("style", STYLES)
def test_every_style_of_the_export_says_the_same(style: Any) -> None:
    mask = build(np.array([[0, -1], [-1, 1]]), ["a|b", "c*"])
    (made,) = records(mask, "a.jpg", style=style)
    (turn,) = turns(made)
    assert turn.question[0] == HERE / "a.jpg"
    assert isinstance(turn.question[1], str)
    assert "a|b" in turn.question[1]
    assert "<" not in turn.question[1]
    assert turn.answer.startswith(("The", "Here", "This"))
    assert "a\\pb *1| others *1\n others *1| c\\a *1\n</seg>" in turn.answer


def test_pictures_stand_where_they_are_marked() -> None:
    record = {"query": "Is <image> like <image>?", "response": "No.", "images": ["1.png", "2.png"]}
    assert turns(record)[0].question == ("Is", HERE / "1.png", "like", HERE / "2.png", "?")


def test_several_turns() -> None:
    record = {
        "history": [["What is it?", "A cup."]],
        "query": "Mask it.",
        "response": "m",
        "images": ["1.png"],
        "system": "Be short.",
    }
    conversation = parse(record, HERE, "here")
    assert conversation.turns == (Turn((HERE / "1.png", "What is it?"), "A cup."), Turn(("Mask it.",), "m"))
    assert (conversation.system, conversation.where) == ("Be short.", "here")
    assert conversation.pictures == (HERE / "1.png",)
    listed = {
        "image": "1.png",
        "conversations": [
            {"from": "system", "value": "Be short."},
            {"from": "human", "value": "<image>\nWhat is it?"},
            {"from": "gpt", "value": "A cup."},
            {"from": "human", "value": "Mask it."},
            {"from": "gpt", "value": "m"},
        ],
    }
    assert parse(listed, HERE, "here") == conversation
    roles = {"human": "user", "gpt": "assistant", "system": "system"}
    messages = [{"role": roles[t["from"]], "content": t["value"]} for t in listed["conversations"]]  # type: ignore[index]
    assert parse({"messages": messages, "images": ["1.png"]}, HERE, "here") == conversation


def test_a_record_without_a_picture() -> None:
    assert turns({"query": "What is 1 + 1?", "response": "2"}) == (Turn(("What is 1 + 1?",), "2"),)


def test_paths_start_at_the_file_or_else_at_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    talking.picture(tmp_path / "set" / "a.png", 0)
    talking.picture(tmp_path / "b.png", 0)
    record = {"query": "q", "response": "r", "images": ["a.png", "b.png", "c.png", str(tmp_path / "b.png")]}
    found = parse(record, Path("set"), "").pictures
    assert found == (Path("set/a.png"), Path("b.png"), Path("set/c.png"), tmp_path / "b.png")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (["a"], "not an object"),
        ({}, "`query` is not a text"),
        ({"query": "q"}, "`response` is not a text"),
        ({"query": "q", "response": " "}, "an answer is empty"),
        ({"query": "q", "response": "r", "images": [3]}, "not a list of paths"),
        ({"query": "<image><image>", "response": "r", "images": ["a"]}, "1 pictures, and 2 times <image>"),
        ({"query": "q", "response": "r", "history": ["q"]}, "`history` is not a list"),
        ({"conversations": []}, "no question with an answer"),
        ({"conversations": "hello"}, "not a list of objects"),
        ({"conversations": [{"from": "gpt", "value": "r"}]}, "out of order"),
        ({"conversations": [{"from": "human", "value": "q"}]}, "last question has no answer"),
    ],
)
def test_what_is_no_record_says_why(record: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(record, HERE, "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(
    st.sampled_from(["query", "response", "images", "image", "history", "system", "conversations", "messages"]), JSON
)


@given(FIELDS)
def test_any_object_is_a_record_or_says_why_not(record: dict[str, Any]) -> None:
    try:
        found = parse(record, HERE, "")
    except ValueError:
        return
    assert found.turns
    assert all(turn.answer for turn in found.turns)


def test_records_by_number(tmp_path: Path) -> None:
    for part, numbers in (("00000", (0, 1)), ("00001", (2,))):
        talking.write(tmp_path / f"data-{part}.jsonl", [talking.record(n) for n in numbers])
    with (tmp_path / "data-00001.jsonl").open("a") as stream:
        stream.write("\n\n" + json.dumps(talking.record(3, history=[["q", "r"]])) + "\n")
    talking.write(tmp_path / "other.jsonl", [talking.record(9)])
    found = Records([tmp_path])
    assert len(found) == 4
    assert [found[i].turns[-1].answer for i in (3, 0, 2, 1)] == [talking.answer(n) for n in (3, 0, 2, 1)]
    assert found[3].where == f"{tmp_path / 'data-00001.jsonl'}:4"
    assert found.most_turns == 2
    more = Records([tmp_path / "other.jsonl", tmp_path])
    assert more[0].turns[0].answer == talking.answer(9)
    assert len(more) == 5
    assert more.digest != found.digest
    assert Records([tmp_path / "data-00000.jsonl", tmp_path / "data-00001.jsonl"]).digest == found.digest


def test_a_set_of_several_files_is_whole(tmp_path: Path) -> None:
    for n in (0, 2):
        talking.write(tmp_path / f"data-{n:05d}-of-00003.jsonl", [talking.record(n)])
    with pytest.raises(MediaError, match="the set has 2 of 3 files"):
        Records([tmp_path])
    talking.write(tmp_path / "data-00001-of-00003.jsonl", [talking.record(1)])
    assert [Records([tmp_path])[n].turns[0].answer for n in range(3)] == [talking.answer(n) for n in range(3)]


def test_data_that_cannot_be_read_fails(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no training data"):
        Records([])
    with pytest.raises(MediaError, match="the data is missing"):
        Records([tmp_path / "none.jsonl"])
    with pytest.raises(MediaError, match=r"no \*\.jsonl in the folder"):
        Records([tmp_path])
    path = tmp_path / "data.jsonl"
    path.write_text("\n")
    with pytest.raises(MediaError, match="has no records"):
        Records([tmp_path])
    for cut in ('{"query": "q", "resp', "[" * 100_000, "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")):
        path.write_text(json.dumps(talking.record(0)) + "\n" + cut)
        with pytest.raises(MediaError, match="line 2 is not a record") as caught:
            Records([tmp_path])
        assert str(caught.value).endswith(str(path))


def test_names_that_are_too_long_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="the data is missing"):
        Records([tmp_path / ("x" * 300)])
    name = "x" * 300 + ".jpg"
    (tmp_path / "data.jsonl").write_text(json.dumps({"query": "A?", "response": "b", "images": [name]}))
    assert Records([tmp_path])[0].pictures == (tmp_path / name,)
