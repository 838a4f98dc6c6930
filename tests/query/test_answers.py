"""An answer as a sequence."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from vidmem.errors import UsageError
from vidmem.query.answers import Answer
from vidmem.query.documents import COLUMNS, sighting_row
from vidmem.records import Sighting

SIGHTING = Sighting(
    source="/videos/a.mp4",
    start_ns=1_500_000_000,
    end_ns=9_007_199_254_740_993,  # which JSON's numbers cannot hold
    score=0.123456789,
    text_score=0.23456789,
    visual_score=0.3456789,
    frame_ns=2_500_000_000,
    box=(1.234, 2.345, 3.456, 4.567),
    tracks=(3, 7),
    probability=0.987654321,
    confidence=0.1234567,
    recorded_ns=1_769_848_200_000_000_000,
    recorded_by="exif",
)


def test_an_answer_is_true_when_something_was_found() -> None:
    other = replace(SIGHTING, start_ns=0)
    answer = Answer((SIGHTING, other), near_misses=(), total=5)
    assert answer.found
    assert bool(answer)
    assert (len(answer), list(answer), answer[0], answer[-1]) == (2, [SIGHTING, other], SIGHTING, other)
    assert answer[1:] == (other,)
    assert [row["start_s"] for row in answer.to_dicts()] == [1.5, 0]
    empty = Answer((), near_misses=(other,))
    assert not empty.found
    assert not empty
    assert (len(empty), empty.to_dicts(), empty.total, empty.notes, empty.likelier) == (0, [], 0, (), None)


def test_the_columns_are_the_names_in_a_row() -> None:
    assert tuple(sighting_row(SIGHTING)) == COLUMNS
    assert COLUMNS[0] == "source"


def test_an_answer_as_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pandas:
        @staticmethod
        def DataFrame(rows: list[dict[str, object]], columns: list[str]) -> tuple[object, object]:
            return rows, columns

    monkeypatch.setitem(sys.modules, "pandas", Pandas)
    assert Answer((SIGHTING,)).to_pandas() == ([sighting_row(SIGHTING)], list(COLUMNS))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pandas is not installed"):
        Answer(()).to_pandas()


def test_an_answer_at_a_prompt_and_in_a_notebook() -> None:
    answer = Answer((), query={"text": "cup"})
    assert repr(answer) == "<Answer 'cup': not found>"
    assert "not found" in answer._repr_html_()
