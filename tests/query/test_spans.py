"""The spans of sources, the rows within them, and what is near what, by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from store.making import MODEL, add, info, track

from vidmem.errors import UsageError
from vidmem.query import filters
from vidmem.query.filters import Filtered, by_time, merged, near, spans_of
from vidmem.query.scores import Hits
from vidmem.records import FrameRegions, SourceInfo, SourceKind
from vidmem.store import PICTURE_NS, Columns, Picture, PictureFile, Spans, Store, VectorCache
from vidmem.store.within import meeting
from vidmem.timecode import NS, Moment

NOON = 1_800_000_000 * NS
Box = tuple[float, float, float, float]
BOX: Box = (0, 0, 10, 10)


def media(seconds: float) -> Moment:
    return Moment(int(seconds * NS), False, f"{seconds}s")


def date(seconds: float) -> Moment:
    return Moment(NOON + int(seconds * NS), True, f"noon + {seconds}s")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "m", create=True) as opened:
        opened.set_model(MODEL)
        yield opened


def video(store: Store, name: str, start_s: float | None = None) -> int:
    start = None if start_s is None else NOON + int(start_s * NS)
    row = store.begin_source(dataclasses.replace(info(name, name), start_ns=start))
    add(store, row.id, [track(0)], state="done")
    return row.id


def photos(store: Store, *dates: float | None, name: str = "photos") -> int:
    row = store.begin_source(SourceInfo(f"/{name}", SourceKind.PICTURES, 0, 0, 0, name))
    times = [i * PICTURE_NS for i in range(len(dates))]
    pictures = [
        Picture(t, bytes([i]) * 32, 64, 48, None if d is None else NOON + int(d * NS), "" if d is None else "exif")
        for i, (t, d) in enumerate(zip(times, dates, strict=True))
    ]
    files = [PictureFile(f"{i}.jpg", 1, 1, t) for i, t in enumerate(times)]
    tracks = [track(i, start_ns=t, end_ns=t, best_ns=t) for i, t in enumerate(times)]
    add(store, row.id, tracks, files=files, pictures=pictures, state="done")
    return row.id


def test_nothing_asked_for_is_everything(store: Store) -> None:
    video(store, "a.mp4")
    assert spans_of(store, [], None, None) == (None, [])


def test_video_time_is_that_of_each_video_and_its_end_is_not_in(store: Store) -> None:
    a, b = video(store, "a.mp4"), video(store, "b.mp4", 100)
    assert spans_of(store, [], media(1), media(3)) == ({a: (NS, 3 * NS - 1), b: (NS, 3 * NS - 1)}, [])
    assert spans_of(store, ["b.mp4"], media(1), None) == ({b: (NS, 1 << 62)}, [])
    assert spans_of(store, ["a.mp4"], None, media(3)) == ({a: (0, 3 * NS - 1)}, [])
    assert spans_of(store, ["a.mp4", "b.mp4"], None, None) == ({a: (0, 1 << 62), b: (0, 1 << 62)}, [])


def test_dates_are_times_in_the_videos_that_have_one(store: Store) -> None:
    a, b = video(store, "a.mp4", 0), video(store, "b.mp4", 100)
    assert spans_of(store, [], date(50), date(120)) == (
        {a: (50 * NS, 120 * NS - 1), b: (-50 * NS, 20 * NS - 1)},
        [],
    )
    video(store, "c.mp4")
    spans, notes = spans_of(store, [], date(50), None)
    assert spans == {a: (50 * NS, 1 << 62), b: (-50 * NS, 1 << 62)}
    assert notes == [
        "1 of 3 sources do not know when they were recorded, left out; set it with `vidmem recorded`",
    ]
    assert spans_of(store, ["c.mp4"], media(1), None)[1] == []
    for after, before in ((date(1), None), (None, date(1)), (media(1), date(1))):
        with pytest.raises(UsageError, match="no source here knows when it was recorded; set it with"):
            spans_of(store, ["c.mp4"], after, before)


def test_a_span_that_ends_before_it_begins_fails(store: Store) -> None:
    video(store, "a.mp4", 0)
    for after, before in ((media(2), media(1)), (media(2), media(2)), (date(2), date(1)), (date(2), date(2))):
        with pytest.raises(UsageError, match=r" is not before .*; nothing lies between them"):
            spans_of(store, [], after, before)
    assert spans_of(store, [], date(0), media(1))[0] == {1: (0, NS - 1)}  # of two clocks, either may be less
    assert spans_of(store, [], media(1), media(1 + 1e-9))[0] == {1: (NS, NS)}
    with pytest.raises(UsageError, match="no source"):
        spans_of(store, ["b.mp4"], None, None)


def test_photos_are_searched_by_their_dates(store: Store) -> None:
    row = photos(store, 500, 100, None, 300)

    def times(after: Moment | None, before: Moment | None) -> list[int]:
        spans, notes = spans_of(store, [], after, before)
        assert notes == []
        assert spans is not None
        found = spans[row]
        assert isinstance(found, np.ndarray)
        assert found.dtype == np.int64
        return (found // PICTURE_NS).tolist()

    assert times(date(100), date(500)) == [1, 3]
    assert times(date(101), None) == [0, 3]
    assert times(None, date(301)) == [1, 3]
    assert times(None, date(300)) == [1]
    assert times(date(600), None) == []
    assert spans_of(store, ["/photos"], None, None)[0] == {row: (0, 1 << 62)}


def test_photos_have_no_time_in_a_video(store: Store) -> None:
    photos(store, 500)
    for after, before in ((media(1), None), (None, media(1)), (date(1), media(1))):
        with pytest.raises(UsageError, match="single pictures have no time in a video; give a date, such as"):
            spans_of(store, [], after, before)
    a = video(store, "a.mp4")
    spans, notes = spans_of(store, [], media(1), None)
    assert spans == {a: (NS, 1 << 62)}
    assert notes == ["1 of 2 sources are single pictures without a time in a video, left out"]
    with pytest.raises(UsageError, match="no source here knows"):
        spans_of(store, ["a.mp4"], date(1), None)
    with pytest.raises(UsageError, match="no source here knows"):
        spans_of(store, [], date(1), media(1))  # the one without a date, the other without video time
    photos(store, None, None, name="undated")
    spans, notes = spans_of(store, [], date(1), None)
    assert spans is not None
    assert list(spans) == [1]
    assert notes[0].startswith("2 of 3 sources do not know when they were recorded")


def test_sources_that_wait_for_new_tokens_are_named_up_to_three(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    video(store, "a.mp4")
    stale = [f"/videos/{name}.mp4" for name in "abcde"]
    for count, names in ((1, "a.mp4"), (3, "a.mp4, b.mp4, c.mp4"), (5, "a.mp4, b.mp4, c.mp4 and 2 more")):
        monkeypatch.setattr(store, "stale_sources", lambda count=count: stale[:count])
        note = f"left out, since they wait for `vidmem reembed`: {names}"
        assert spans_of(store, [], None, None) == (None, [note])
        assert spans_of(store, [], media(1), None)[1] == [note]


def columns(*spans: tuple[int, int, int]) -> Columns:
    """Source, start and end of each track."""
    source, start, end = (np.array([s[i] for s in spans], np.int64) for i in range(3))
    numbers = np.arange(len(spans))
    return Columns(numbers, source, numbers, start, end, numbers)


def test_rows_within_meet_the_span_of_their_source() -> None:
    tracks = columns((1, 0, 4), (1, 5, 9), (2, 5, 9), (1, 10, 12), (3, 0, 99), (1, 4, 10))
    assert rows_within(tracks, {1: (5, 9), 2: (0, 4), 4: (0, 99)}).tolist() == [1, 5]
    assert rows_within(tracks, {1: (4, 4), 2: (9, 20)}).tolist() == [0, 2, 5]
    assert rows_within(tracks, {1: (10, 5)}).tolist() == []  # nothing lies in it
    assert rows_within(tracks, {}).tolist() == []
    assert rows_within(columns(), {1: (0, 9)}).tolist() == []


def test_rows_of_photos_are_at_the_times_to_search() -> None:
    tracks = columns((1, 0, 0), (1, 5, 5), (1, 9, 9), (2, 5, 5), (1, 20, 20))
    assert rows_within(tracks, {1: np.array([0, 9]), 2: (0, 9)}).tolist() == [0, 2, 3]
    assert rows_within(tracks, {1: np.array([], np.int64), 2: np.array([4, 6])}).tolist() == []


def film(store: Store, tracks: Sequence[tuple[Sequence[int], Box]], name: str = "a.mp4") -> int:
    """Each track: the seconds in which it is seen, and its box."""
    row = store.begin_source(info(name, name))
    made = [
        track(i, start_ns=s[0] * NS, end_ns=s[-1] * NS, best_ns=s[0] * NS, best_box=box)
        for i, (s, box) in enumerate(tracks)
    ]
    frames = []
    for t in sorted({t for s, _ in tracks for t in s}):
        here = [(i, box) for i, (s, box) in enumerate(tracks) if t in s]
        boxes = np.array([box for _, box in here], np.float32).reshape(-1, 4)
        frames.append(FrameRegions(t * NS, np.array([i for i, _ in here]), boxes, np.ones((len(here), 2, 2), bool)))
    add(store, row.id, made, frames, state="done")
    return row.id


def hits_of(rows: Sequence[int]) -> Hits:
    return Hits(np.array(rows, np.int64), np.arange(1, len(rows) + 1, dtype=np.float32))


def rows_within(tracks: Columns, spans: Spans) -> NDArray[np.intp]:
    return np.flatnonzero(meeting(tracks, spans))


def cut(found: Filtered) -> dict[int, tuple[float, float]]:
    rows, columns = found.hits.rows.tolist(), found.columns
    ends = zip((columns.start_ns / NS).tolist(), (columns.end_ns / NS).tolist(), strict=True)
    return dict(zip(rows, ends, strict=True))


def test_a_track_across_the_edge_is_cut_to_where_it_was_seen(store: Store) -> None:
    boxes: list[Box] = [(i, 0, i + 10, 10) for i in range(4)]
    seconds: list[Sequence[int]] = [range(0, 10), range(2, 5), (0, 1, 8, 9), range(5, 20)]
    a = film(store, list(zip(seconds, boxes, strict=True)))
    known = VectorCache(store)
    found = by_time(store, known, hits_of([3, 2, 1, 0]), {a: (2 * NS, 6 * NS)})
    assert cut(found) == {3: (5, 6), 1: (2, 4), 0: (2, 6)}  # the third was out of view
    assert found.hits.rows.tolist() == [3, 1, 0]
    assert found.hits.score.tolist() == [1, 3, 4]
    assert found.evidence == {3: (5 * NS, boxes[3]), 0: (2 * NS, boxes[0])}
    assert known.columns.start_ns[0] == 0  # those of the cache stay
    inside = by_time(store, known, hits_of([1]), {a: (2 * NS, 4 * NS)})
    assert cut(inside) == {1: (2, 4)}
    assert inside.evidence == {}
    assert cut(by_time(store, known, hits_of([1]), {a: (4 * NS, 9 * NS)})) == {1: (4, 4)}
    assert cut(by_time(store, known, hits_of([1]), {a: (0, 2 * NS)})) == {1: (2, 2)}
    assert cut(by_time(store, known, hits_of([1]), {a: (5 * NS, 9 * NS)})) == {}
    assert cut(by_time(store, known, hits_of([]), {a: (5 * NS, 9 * NS)})) == {}


def test_each_source_is_cut_to_its_own_span(store: Store) -> None:
    a, b = (film(store, [(range(0, 10), BOX)], name) for name in ("a.mp4", "b.mp4"))
    known = VectorCache(store)
    spans = {a: (-5 * NS, 2 * NS), b: (8 * NS, 1 << 62)}
    assert cut(by_time(store, known, hits_of([0, 1]), spans)) == {0: (0, 2), 1: (8, 9)}
    assert cut(by_time(store, known, hits_of([0, 1]), {b: (8 * NS, 9 * NS)})) == {1: (8, 9)}
    assert cut(by_time(store, known, hits_of([0, 1]), {a: (9 * NS, 8 * NS), b: (0, 9 * NS)})) == {1: (0, 9)}


def test_photos_at_the_times_to_search_stay_whole(store: Store) -> None:
    row = photos(store, 1, 2, 3)
    known = VectorCache(store)
    found = by_time(store, known, hits_of([0, 1, 2]), {row: np.array([0, 2 * PICTURE_NS])})
    assert cut(found) == {0: (0, 0), 2: (2 * PICTURE_NS / NS, 2 * PICTURE_NS / NS)}


def test_both_parts_keep_their_times_and_evidence() -> None:
    tracks = columns((1, 0, 9), (1, 0, 9), (1, 0, 9))
    first = dataclasses.replace(tracks, start_ns=np.array([1, 0, 0]), end_ns=np.array([2, 9, 9]))
    second = dataclasses.replace(tracks, start_ns=np.array([0, 0, 5]), end_ns=np.array([9, 9, 6]))
    one, other = first.take(np.array([0])), second.take(np.array([2]))
    both = merged(Filtered(hits_of([0]), one, {0: (1, BOX)}), Filtered(hits_of([2]), other, {2: (5, BOX)}))
    assert both.hits.rows.tolist() == [0, 2]
    assert both.columns.ids.tolist() == [0, 2]
    assert both.columns.start_ns.tolist() == [1, 5]
    assert both.columns.end_ns.tolist() == [2, 6]
    assert both.evidence == {0: (1, BOX), 2: (5, BOX)}


def nearby(store: Store, own: Sequence[int], *others: Sequence[int], **more: Any) -> dict[int, tuple[float, float]]:
    known = VectorCache(store)
    found = Filtered.whole(known, hits_of(own))
    return cut(near(store, found, [Filtered.whole(known, hits_of(rows)) for rows in others], **more))


def test_near_is_by_default_within_two_seconds_and_one_longest_side(store: Store) -> None:
    film(store, [((0, 1, 2, 3, 4, 5), BOX), ((7,), (20, 0, 30, 10)), ((20,), BOX), ((23,), BOX)])
    assert nearby(store, [0], [1]) == {0: (5, 5)}
    assert nearby(store, [1], [0]) == {1: (7, 7)}
    assert nearby(store, [2], [3]) == {}
    assert nearby(store, [2], [3], within_ns=3 * NS) == {2: (20, 20)}
    assert nearby(store, [2], [3], within_ns=3 * NS - 1) == {}
    assert nearby(store, [0, 2], [1, 3], within_ns=3 * NS) == {0: (4, 5), 2: (20, 20)}


def test_the_gap_is_measured_in_each_direction_and_across(store: Store) -> None:
    """In longest sides of the larger of the two boxes, of 20."""
    boxes: list[Box] = [
        (100, 100, 110, 120),
        (60, 100, 80, 110),  # 20 to the left
        (130, 100, 150, 110),  # to the right
        (100, 60, 120, 80),  # above
        (100, 140, 120, 150),  # below
        (59, 100, 79, 110),
        (131, 100, 151, 110),
        (100, 59, 120, 79),
        (100, 141, 120, 151),
        (122, 136, 130, 140),  # 12 across and 16 down: 20 in all
        (123, 136, 131, 140),
    ]
    film(store, [((0,), box) for box in boxes])
    for other in range(1, len(boxes)):
        expected = {0: (0, 0)} if other in (1, 2, 3, 4, 9) else {}
        assert nearby(store, [0], [other], max_gap=1.0) == expected
        assert nearby(store, [other], [0], max_gap=1.0) == ({other: (0, 0)} if expected else {})
    assert nearby(store, [0], [5], max_gap=1.05) == {0: (0, 0)}


def test_boxes_that_overlap_are_near_with_no_gap_at_all(store: Store) -> None:
    film(store, [((0,), BOX), ((0,), (2, 2, 4, 4)), ((0,), (10, 0, 20, 10)), ((0,), (11, 0, 20, 10))])
    assert nearby(store, [0], [1], max_gap=0) == {0: (0, 0)}
    assert nearby(store, [0], [2], max_gap=0) == {0: (0, 0)}
    assert nearby(store, [0], [3], max_gap=0) == {}


def test_one_near_thing_among_several_is_enough_and_each_of_the_others_is_needed(store: Store) -> None:
    far: Box = (500, 0, 510, 10)
    film(store, [(range(0, 9), BOX), ((1,), far), ((4,), BOX), ((2, 3, 4, 5), BOX), ((8,), BOX)])
    assert nearby(store, [0], [1, 2], within_ns=0) == {0: (4, 4)}
    assert nearby(store, [0], [2, 4], within_ns=0) == {0: (4, 8)}
    assert nearby(store, [0], [3], [2], within_ns=0) == {0: (4, 4)}
    assert nearby(store, [0], [3], [4], within_ns=0) == {}  # what was near one was so at another time
    assert nearby(store, [0], [3], [4], within_ns=3 * NS) == {0: (5, 8)}
    assert nearby(store, [0], within_ns=0) == {0: (0, 8)}


def test_a_track_found_for_both_is_near_other_tracks_alone(store: Store) -> None:
    film(store, [((0, 1), BOX), ((1,), BOX)])
    assert nearby(store, [0], [0]) == {}
    assert nearby(store, [0], [0, 1], within_ns=0) == {0: (1, 1)}


def test_things_of_two_sources_are_not_near(store: Store) -> None:
    film(store, [((0,), BOX)])
    film(store, [((0,), BOX), ((0,), BOX)], "b.mp4")
    assert nearby(store, [0], [1]) == {}
    assert nearby(store, [0, 1], [2]) == {1: (0, 0)}


def test_only_the_cut_spans_of_both_count(store: Store) -> None:
    a = film(store, [(range(0, 10), BOX), (range(0, 10), BOX)])
    known = VectorCache(store)
    own = by_time(store, known, hits_of([0]), {a: (2 * NS, 6 * NS)})
    other = by_time(store, known, hits_of([1]), {a: (5 * NS, 9 * NS)})
    found = near(store, own, [other], within_ns=0)
    assert cut(found) == {0: (5, 6)}
    assert found.evidence == {0: (5 * NS, BOX)}
    assert cut(near(store, own, [other], within_ns=NS)) == {0: (4, 6)}


def test_frames_where_nothing_can_be_near_are_not_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    film(store, [(range(0, 5), BOX), (range(40, 45), BOX), (range(3, 9), BOX), ((43,), BOX), (range(80, 90), BOX)])
    read: list[tuple[float, float]] = []
    regions = store.regions
    monkeypatch.setattr(
        store, "regions", lambda source, low, high: read.append((low / NS, high / NS)) or regions(source, low, high)
    )
    assert nearby(store, [0, 1], [2, 3, 4]) == {0: (1, 4), 1: (41, 44)}
    assert set(read) == {(-1, 6), (39, 46)}


@pytest.mark.parametrize(
    ("spans", "union"),
    [
        ([], []),
        ([(3, 5)], [(3, 5)]),
        ([(3, 5), (0, 2)], [(0, 2), (3, 5)]),
        ([(3, 5), (0, 3)], [(0, 5)]),
        ([(0, 9), (1, 2), (4, 5), (9, 11), (12, 13)], [(0, 11), (12, 13)]),
        ([(5, 6), (5, 9), (0, 1)], [(0, 1), (5, 9)]),
    ],
)
def test_spans_that_overlap_are_joined(spans: list[tuple[int, int]], union: list[tuple[int, int]]) -> None:
    found = filters._union(np.array(spans, np.int64).reshape(-1, 2))
    assert [tuple(span) for span in found.tolist()] == union


def test_the_evidence_is_the_largest_box_that_is_not_much_larger_than_the_others() -> None:
    def best(*sides: float) -> tuple[int, Box]:
        views = filters._Views()
        for t, side in enumerate(sides):
            views.times.append(10 + t)
            views.boxes.append(np.array([5, 7, 5 + side, 7 + 2 * side], np.float32))
        return views.best()

    assert best(10) == (10, (5, 7, 15, 27))
    assert best(10, 12, 11) == (11, (5, 7, 17, 31))
    assert best(10, 20, 10) == (10, (5, 7, 15, 27))
    assert best(10, 10, 11, 10) == (12, (5, 7, 16, 29))
    assert best(4, 6) == (11, (5, 7, 11, 19))  # areas of 32 and 72: the median is 52
    assert best(2, 6) == (10, (5, 7, 7, 11))

    views = filters._Views([10, 11, 12], [np.array(box) for box in ((9, 0, 39, 2), (60, 50, 70, 60), (0, 7, 2, 47))])
    assert views.best() == (11, (60, 50, 70, 60))  # areas of 60, 100 and 80
    views = filters._Views(
        [10, 11, 12], [np.array(box) for box in ((100, 50, 110, 60), (0, 5, 11, 15), (3, 90, 13, 100))]
    )
    assert views.best() == (11, (0, 5, 11, 15))


def test_an_empty_memory_has_no_spans_and_no_fault(store: Store) -> None:
    for moment in (date(1), media(1)):
        assert spans_of(store, [], moment, None) == ({}, [])
        assert spans_of(store, [], None, moment) == ({}, [])


def test_a_span_of_one_moment_is_searched(store: Store) -> None:
    a = film(store, [(range(0, 10), BOX), ((4,), BOX)])
    known = VectorCache(store)
    assert cut(by_time(store, known, hits_of([0, 1]), {a: (4 * NS, 4 * NS)})) == {0: (4, 4), 1: (4, 4)}
    assert rows_within(known.columns, {a: (4 * NS, 4 * NS)}).tolist() == [0, 1]


def test_views_are_compared_in_time_and_not_the_spans_of_their_tracks_alone(store: Store) -> None:
    film(store, [((20,), BOX), ((0, 23), BOX), ((50,), BOX), ((47, 70), BOX)])
    for own, other in ((0, 1), (2, 3)):
        assert nearby(store, [own], [other], within_ns=3 * NS) != {}
        assert nearby(store, [own], [other], within_ns=3 * NS - 1) == {}


@pytest.mark.parametrize(
    ("box", "other", "gap"),
    [
        ((200, 100, 210, 120), (230, 100, 234, 104), 1.0),  # 20 across, the own 20 high
        ((200, 100, 220, 110), (240, 100, 244, 104), 1.0),  # 20 across, the own 20 wide
        ((200, 100, 204, 104), (224, 100, 244, 110), 1.0),  # 20 across, the other 20 wide
        ((200, 100, 204, 104), (224, 100, 234, 120), 1.0),  # 20 across, the other 20 high
        ((200, 100, 204, 104), (200, 124, 220, 134), 1.0),  # 20 down
        ((200, 100, 210, 110), (240, 140, 250, 150), np.hypot(30, 30) / 10),
    ],
)
def test_the_gap_is_in_longest_sides_of_the_two(box: Box, other: Box, gap: float) -> None:
    for a, b in ((box, other), (other, box)):
        own, others = np.array(a, np.float32), np.array([b], np.float32)
        assert filters._any_close(own, others, gap)
        assert not filters._any_close(own, others, gap - 0.01)
        far = np.array([[9000, 9000, 9001, 9001]], np.float32)
        assert filters._any_close(own, np.concatenate([far, others]), gap)
    assert not filters._any_close(own, np.empty((0, 4), np.float32), 99.0)
