"""Instruction data: its styles, and that the answers hold the masks."""

from __future__ import annotations

import numpy as np
import pytest

from vidmem.errors import UsageError
from vidmem.export.instruct import ALL, ANSWERS, NOT_THERE, ONE, only_named, records
from vidmem.export.textanswer import read_answer
from vidmem.export.textmask import Label, build

MASK = build(np.array([[0, 0, -1], [1, 2, 3]]), [Label("red|ball"), Label("cup", 1), Label("cup", 2), Label("{x}")])


def answered(record: dict[str, object], names: list[str]) -> object:
    return read_answer(str(record["response"]), (2, 3), names).mask


@pytest.mark.parametrize("seed", range(8))
def test_the_answer_is_the_mask(seed: int) -> None:
    (record,) = records(MASK, "a.jpg", seed=seed)
    assert answered(record, ["red|ball", "cup", "{x}"]) == MASK
    assert all(name in record["query"] for name in ("red|ball", "cup", "{x}"))
    assert record["images"] == ["a.jpg"]


def test_one_question_for_each_name() -> None:
    made = records(MASK, "a.jpg", ask="each", absent=["drum", "cup"])
    assert len(made) == 4  # the cup is there, so it is not asked for as absent
    for record, name in zip(made, ["red|ball", "cup", "{x}", "drum"], strict=True):
        assert name in record["query"]
        assert answered(record, ["red|ball", "cup", "{x}", "drum"]) == only_named(MASK, name)
    assert only_named(MASK, "cup").labels == (Label("cup", 1), Label("cup", 2))
    assert only_named(MASK, "drum").labels == ()


def test_styles() -> None:
    internvl, llava, qwen = (records(MASK, "/p/a.jpg", style=s)[0] for s in ("internvl", "llava", "qwen"))  # type: ignore[arg-type]
    assert llava == {**internvl, "query": "<image>\n" + internvl["query"]}
    assert qwen == {"query": "<img>/p/a.jpg</img>\n" + internvl["query"], "response": internvl["response"]}


def test_wordings_hang_on_seed_and_picture_alone() -> None:
    assert records(MASK, "a.jpg") == records(MASK, "a.jpg")
    assert len({records(MASK, f"{i}.jpg")[0]["query"] for i in range(40)}) > 10
    for wording in (*ALL, *ONE, *ANSWERS, *NOT_THERE):
        assert ("{names}" in wording) + ("{name}" in wording) + ("{mask}" in wording) >= 1


def test_nothing_to_see_is_nothing_to_ask() -> None:
    empty = build(np.full((2, 2), -1), [])
    assert records(empty, "a.jpg") == records(empty, "a.jpg", ask="each") == []
    assert len(records(empty, "a.jpg", absent=["drum"])) == 1


def test_bad_wishes_fail() -> None:
    with pytest.raises(UsageError, match="`style` is one of internvl, llava, qwen"):
        records(MASK, "a.jpg", style="gpt")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="use the strict form"):
        records(MASK, "a.jpg", form="legacy")
