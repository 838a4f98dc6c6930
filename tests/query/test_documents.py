"""Documents: sightings as plain data, their ids, and what leaves the process."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.errors import UsageError
from vidmem.query.answers import Answer, Thing
from vidmem.query.documents import (
    SightingPlace,
    plain,
    public,
    read_sighting_id,
    sighting_id,
    sighting_row,
    timeline_document,
    where_document,
)
from vidmem.records import LogPoint, Pose, Sighting
from vidmem.timecode import LONGEST_NS

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
    source_id=4,
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
        "frame_ns": "2500000000",
        "source_id": 4,
        "id": "4-2500000000-3.7-1500000000-9007199254740993",
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


_NS = st.integers(-LONGEST_NS, LONGEST_NS)
_ID = st.integers(0, LONGEST_NS)


@given(_ID, _NS, st.lists(_ID, max_size=6), _NS, _NS)
def test_the_id_of_a_sighting_is_read_as_it_was_made(
    source: int, frame: int, tracks: list[int], one: int, other: int
) -> None:
    start, end = sorted((one, other))
    given_id = sighting_id(
        replace(SIGHTING, source_id=source, frame_ns=frame, tracks=tuple(tracks), start_ns=start, end_ns=end)
    )
    assert read_sighting_id(given_id) == SightingPlace(source, frame, tuple(tracks), start, end)


@given(st.text() | st.from_regex(r"[0-9.\-]{1,60}", fullmatch=True))
def test_another_text_is_no_id_or_one_of_its_own(text: str) -> None:
    try:
        place = read_sighting_id(text)
    except UsageError:
        return
    again = sighting_id(replace(SIGHTING, **{n: getattr(place, n) for n in SightingPlace.__slots__}))
    assert read_sighting_id(again) == place


@pytest.mark.parametrize(
    "text",
    ["", "4", "4-5-3.7-1", "4-5-3.-1-2", "4-5-3.7-2-1", "4-5-3.7-1-2 ", "-4-5-3-1-2", "4-5-3-1-9223372036854775807",
     "4-5-3-1-٣", "4-5-" + ".".join(["1"] * 10_001) + "-1-2"],
)  # fmt: skip
def test_a_wrong_id_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not the id of a sighting; take one from an answer"):
        read_sighting_id(text)


def test_the_document_of_an_answer_has_what_is_shown_and_the_rest() -> None:
    older = replace(SIGHTING, start_ns=0)
    answer = Answer((SIGHTING, older), query={"text": "cup"}, total=5, notes=("a note",), likelier=older)
    document = plain(where_document(answer, answer.sightings[:1]))
    names = ["found", "query", "sightings", "near_misses", "likelier", "total", "notes", "exact", "shards"]
    assert list(document) == names
    assert document["sightings"] == [sighting_row(SIGHTING)]
    assert (document["likelier"], document["total"], document["notes"]) == (sighting_row(older), 5, ["a note"])
    assert plain(where_document(answer))["sightings"] == [sighting_row(SIGHTING), sighting_row(older)]
    missed = plain(where_document(Answer((), near_misses=(older,))))
    assert (missed["found"], missed["near_misses"], missed["likelier"]) == (False, [sighting_row(older)], None)


def test_the_document_of_a_timeline_numbers_its_things() -> None:
    document = plain(timeline_document([Thing((SIGHTING, SIGHTING), (3, 7)), Thing((SIGHTING,), (9,))]))
    assert [(t["thing"], t["seen"], t["tracks"]) for t in document["things"]] == [(1, 2, [3, 7]), (2, 1, [9])]
    assert plain(timeline_document([])) == {"found": False, "things": [], "exact": True, "shards": None}


def test_secrets_in_addresses_do_not_leave_the_process() -> None:
    seen = replace(SIGHTING, source="rtsp://user:secret@camera/stream?key=1")
    answer = Answer((seen,), query={"sources": [seen.source], "crop": {"source": seen.source}})
    told = json.dumps(public(where_document(answer)))
    assert "secret" not in told
    assert "key=1" not in told
    assert "rtsp://camera/stream" in told
