"""An answer as a sequence, and a sighting as plain data."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from vidmem.errors import UsageError
from vidmem.query.answers import COLUMNS, Answer, sighting_row
from vidmem.records import LogPoint, Pose, Sighting

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
POINT = LogPoint(
    topic="/cam",
    clock="ros",
    time_ns=12,
    log_ns=1 << 62,
    stamp_ns=None,
    sequence=4,
    pose=None,
)


def test_a_sighting_as_plain_data() -> None:
    row = sighting_row(SIGHTING)
    recorded = row.pop("recorded")
    assert recorded.startswith("2026-01-31T")
    assert row == {
        "source": "/videos/a.mp4",
        "start_s": 1.5,
        "end_s": SIGHTING.end_s,
        "start_ns": "1500000000",
        "end_ns": "9007199254740993",
        "recorded_by": "exif",
        "score": 0.123457,
        "text_score": 0.234568,
        "visual_score": 0.345679,
        "probability": 0.987654,
        "frame_s": 2.5,
        "box": [1.23, 2.35, 3.46, 4.57],
        "confidence": 0.123457,
        "tracks": [3, 7],
        "seen": None,
        "last": None,
        "picture": None,
    }


def test_what_is_not_known_of_a_sighting_is_none() -> None:
    bare = replace(
        SIGHTING, text_score=None, visual_score=None, probability=None, recorded_ns=None, recorded_by="", tracks=()
    )
    row = sighting_row(bare)
    names = {"text_score", "visual_score", "probability", "recorded", "recorded_by", "seen", "last", "picture"}
    assert {name for name, value in row.items() if value is None} == names
    assert row["tracks"] == []


def test_a_single_picture_has_no_time_in_a_video() -> None:
    row = sighting_row(replace(SIGHTING, picture="/photos/a.jpg"))
    times = {"start_s", "end_s", "start_ns", "end_ns", "frame_s"}
    assert {name for name, value in row.items() if value is None} == times | {"seen", "last"}
    assert row["picture"] == "/photos/a.jpg"


def test_a_point_of_a_log_as_plain_data() -> None:
    last = replace(POINT, stamp_ns=5, sequence=None, pose=Pose("/odom", "map", 1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 1.0))
    row = sighting_row(replace(SIGHTING, seen=POINT, last=last))
    assert row["seen"] == {
        "topic": "/cam",
        "clock": "ros",
        "time_ns": "12",
        "log_ns": "4611686018427387904",
        "stamp_ns": None,
        "sequence": 4,
        "pose": None,
    }
    assert (row["last"]["stamp_ns"], row["last"]["sequence"]) == ("5", None)
    assert (row["last"]["pose"]["frame"], row["last"]["pose"]["z"]) == ("map", 3)
    json.dumps(row)


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
