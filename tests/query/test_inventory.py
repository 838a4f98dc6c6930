"""What is in a memory: its things, how long each was seen, when last, what it is called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
import seeing as axes
from store.making import DT, DV, MODEL, add, info, track

from vidmem.config import IndexConfig
from vidmem.encoders import Calibration, EncoderInfo, TextEncoder
from vidmem.encoders.probability import Curve, Probabilities
from vidmem.errors import MediaError, UsageError
from vidmem.memory import Memory
from vidmem.query.inventory import Inventory, inventory
from vidmem.query.naming import Naming, names_for
from vidmem.records import Float32, FrameRegions, SourceInfo, SourceKind, Track
from vidmem.store import PICTURE_NS, ModelRecord, Picture, PictureFile, Store, VectorCache
from vidmem.timecode import NS

LEFT, RIGHT = (0, 0, 100, 100), (300, 0, 400, 100)
COLOURS = dict(zip(fakes.NAMES, fakes._tokens(), strict=True))


@pytest.fixture
def memory(tmp_path: Path, colours: None) -> Iterator[Memory]:
    with Memory.open(tmp_path / "memory", encoder="colours") as memory:
        told = memory.text_encoder.info
        memory.store.set_model(ModelRecord("colours", told.weights, 8, 8, IndexConfig().as_dict()))
        yield memory


def seen(ordinal: int, name: str, start: float, end: float, text: Float32 | None = None) -> Track:
    token = COLOURS[name]
    low, high = int(start * NS), int(end * NS)
    return track(
        ordinal,
        visual=token,
        text=token if text is None else text,
        start_ns=low,
        end_ns=high,
        best_ns=low,
        frames=max(1, round((end - start) * 5)),
        best_box=LEFT,
    )


def source(memory: Memory, name: str, *tracks: Track, boxes: tuple[tuple[int, int, int, int], ...] = ()) -> None:
    row = memory.store.begin_source(info(name, name))
    frames = []
    for t_ns in range(0, 60 * NS, NS // 2):
        here = [k for k, t in enumerate(tracks) if t.start_ns <= t_ns <= t.end_ns]
        held = np.array([(boxes or (LEFT,) * 9)[k] for k in here], np.float32).reshape(-1, 4)
        frames.append(
            FrameRegions(
                t_ns, np.array([tracks[k].ordinal for k in here], np.int64), held, np.ones((len(here), 2, 2), bool)
            )
        )
    add(memory.store, row.id, list(tracks), frames, state="done")


def test_things_by_how_long_and_by_when(memory: Memory) -> None:
    source(memory, "a.mp4", seen(0, "red", 0, 4), seen(1, "blue", 1, 3), seen(2, "red", 20, 30))
    source(memory, "b.mp4", seen(0, "blue", 5, 6), seen(1, "green", 1, 2))
    found = memory.things(labels=None)
    assert [(one.name, one.named, one.seen_s, one.sightings) for one in found] == [
        ("red", True, 14, 2),
        ("blue", True, 3, 2),
        ("green", True, 1, 1),
    ]
    assert found.total == len(found) == 3
    red = found[0]
    assert (red.last.start_s, red.last.end_s, Path(red.last.source).name) == (20, 30, "a.mp4")
    assert red.frames == 70
    assert len(red.tracks) == 2
    assert [one.name for one in memory.things(newest=True)] == ["blue", "green", "red"]
    assert [one.name for one in memory.things(top=1)] == ["red"]
    assert memory.things(top=1).total == 3


def test_within_sources_and_times(memory: Memory) -> None:
    source(memory, "a.mp4", seen(0, "red", 0, 4), seen(1, "blue", 10, 13))
    source(memory, "b.mp4", seen(0, "green", 0, 1))
    assert [one.name for one in memory.things("a.mp4")] == ["red", "blue"]
    from vidmem.timecode import parse_moment

    late = memory.things("a.mp4", after=parse_moment("2s"), before=parse_moment("11s"))
    assert [(one.name, one.seen_s) for one in late] == [("red", 2), ("blue", 0.5)]  # frames are half a second apart
    with pytest.raises(UsageError, match="no source is called"):
        memory.things("c.mp4")


def test_two_alike_in_view_together_are_two_things(memory: Memory) -> None:
    tracks = seen(0, "red", 0, 4), seen(1, "red", 1, 4), seen(2, "red", 10, 12)
    source(memory, "a.mp4", *tracks, boxes=(LEFT, RIGHT, LEFT))
    assert sorted(len(one.tracks) for one in memory.things()) == [1, 2]


def test_one_thing_found_twice_is_counted_once(memory: Memory) -> None:
    source(memory, "a.mp4", seen(0, "red", 0, 4), seen(1, "red", 0, 4), boxes=(LEFT, (10, 10, 90, 90)))
    (one,) = memory.things()
    assert (one.seen_s, one.frames, one.sightings, len(one.tracks)) == (4, 20, 1, 2)


def test_a_cut_parts_sightings_and_not_things(memory: Memory) -> None:
    row = memory.store.begin_source(info("a.mp4", "a"))
    add(memory.store, row.id, [seen(0, "red", 0, 4), seen(1, "red", 4.5, 6)], cuts=[int(4.2 * NS)], state="done")
    (one,) = memory.things()
    assert (one.sightings, one.last.start_s) == (2, 4.5)


def test_a_name_that_where_would_not_find_is_a_guess(memory: Memory) -> None:
    between = (COLOURS["red"] + COLOURS["blue"] + COLOURS["green"] + COLOURS["cyan"]) / 2
    source(memory, "a.mp4", seen(0, "red", 0, 4, text=between))
    (one,) = memory.things()
    assert not one.named
    assert one.title == f"? ({one.name})"
    assert not memory.where(one.name)
    assert one.guesses[0][0] == one.name


def test_names_of_a_file(memory: Memory, tmp_path: Path) -> None:
    source(memory, "a.mp4", seen(0, "red", 0, 4))
    names = tmp_path / "names.txt"
    names.write_text("blue\nyellow\n")
    (one,) = memory.things(labels=str(names))
    assert one.name in ("blue", "yellow")
    assert not one.named
    names.write_text("gibberish\n")
    with pytest.raises(UsageError, match="cannot read 'gibberish'"):
        memory.things(labels=str(names))
    with pytest.raises(MediaError, match="cannot be read"):
        memory.things(labels=str(tmp_path / "none.txt"))


def test_without_probabilities_there_is_no_least_one(memory: Memory) -> None:
    source(memory, "a.mp4", seen(0, "red", 0, 4))
    assert memory.things()[0].probability is None
    with pytest.raises(UsageError, match="no probability is known"):
        memory.things(min_probability=0.5)


def test_nothing_is_in_an_empty_memory(memory: Memory) -> None:
    assert not memory.things()
    source(memory, "a.mp4", seen(0, "red", 0, 4))
    from vidmem.timecode import parse_moment

    assert not memory.things(after=parse_moment("30s"))


class Axes(TextEncoder):
    """Names are the axes of the text space; the last axis is none."""

    def __init__(self, probability: Curve | None = None) -> None:
        curves = None if probability is None else Probabilities(probability)
        calibration = Calibration(0.5, 0.0, 0.5, 0.5, same_thing=0.9, probability=curves)
        self.info = EncoderInfo("axes", "w", DV, DT, "axes", True, calibration)

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        return np.eye(DT, dtype=np.float32)[[int(phrase) for phrase in phrases]]

    def contrast(self, vector: Float32) -> Float32:
        return np.zeros((0, DT), np.float32)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "axes", create=True) as made:
        made.set_model(MODEL)
        yield made


def listed(store: Store, curve: Curve | None = None, **more: Any) -> Inventory:
    encoder = Axes(curve)
    names = tuple(str(number) for number in range(DT - 1))
    naming = Naming(encoder, names, encoder.encode_text(names), curve)
    return inventory(store, VectorCache(store), naming, min_cosine=0.9, **more)


def test_of_things_seen_as_long_the_one_in_more_frames_is_first(store: Store) -> None:
    tracks = [
        axes.seen(0, 3, 0, 4, frames=7),
        axes.seen(1, 4, 10, 14, frames=9),
        axes.seen(2, 5, 20, 24, frames=7),
        axes.seen(3, 6, 30, 35, frames=1),
        axes.seen(4, 7, 50, 52, frames=30),
    ]
    axes.source(store, "a.mp4", tracks)
    found = listed(store)
    assert [(one.name, one.seen_s, one.frames) for one in found] == [
        ("6", 5, 1),
        ("4", 4, 9),
        ("3", 4, 7),
        ("5", 4, 7),
        ("7", 2, 30),
    ]
    assert [one.name for one in listed(store, newest=True)] == ["7", "6", "5", "4", "3"]
    assert (found.total, found.notes, [one.name for one in found[1:3]]) == (5, (), ["4", "3"])
    top = listed(store, top=2)
    assert ([one.name for one in top], top.total) == (["6", "4"], 5)


def test_sightings_of_one_thing_are_added_up(store: Store) -> None:
    """Two that a second parts, and one in another video; the name fits the third best."""
    first = [
        axes.seen(0, 3, 0, 4, 0.3, frames=8),
        axes.seen(1, 3, 5, 6, 0.3, frames=2),
        axes.seen(2, 3, 20, 21, 0.2, frames=5),
    ]
    axes.source(store, "a.mp4", [replace(t, visual=axes.axis(DV, 3)) for t in first])
    axes.source(store, "b.mp4", [replace(axes.seen(0, 3, 7, 9, 0.1, frames=3), visual=axes.axis(DV, 3))])
    axes.source(store, "c.mp4", [replace(axes.seen(0, 3, 1, 2, 0.4, frames=1), visual=axes.axis(DV, 3))])
    (one,) = listed(store)
    assert (one.seen_ns, one.frames, one.sightings) == (10 * NS, 19, 4)
    assert one.tracks == tuple(range(1, 6))
    assert [(Path(s.source).name, s.start_s, s.tracks) for s in (one.last, one.best)] == [
        ("c.mp4", 1, (5,)),
        ("b.mp4", 7, (4,)),
    ]
    assert one.best.score == pytest.approx(1 / 1.01**0.5, abs=2e-3)
    assert one.last.score == pytest.approx(1 / 1.16**0.5, abs=2e-3)


def test_things_that_are_seen_for_a_moment_have_a_frame(store: Store) -> None:
    axes.source(store, "a.mp4", [axes.seen(0, 3, 2, 2, frames=1), axes.seen(1, 4, 9, 9, frames=1)])
    axes.source(store, "b.mp4", [axes.seen(i, 5, 9 * i, 9 * i, frames=1) for i in range(3)])
    found = [(one.name, one.seen_ns, one.frames, one.sightings) for one in listed(store)]
    assert found == [("5", 0, 3, 3), ("3", 0, 1, 1), ("4", 0, 1, 1)]


def test_by_the_clock_sources_take_turns(store: Store) -> None:
    axes.source(store, "a.mp4", [axes.seen(0, 3, 0, 1), axes.seen(1, 3, 50, 51)], start_ns=1_700_000_000 * NS)
    axes.source(store, "b.mp4", [axes.seen(0, 4, 0, 1), axes.seen(1, 3, 5, 6)], start_ns=1_700_000_010 * NS)
    found = listed(store, newest=True)
    assert [one.name for one in found] == ["3", "4"]
    assert (Path(found[0].last.source).name, found[0].last.start_s) == ("a.mp4", 50)


def test_what_is_found_twice_in_one_stretch_counts_by_the_stretch(store: Store) -> None:
    """Tracks of 4 s and 3 s that lie in one place and cover 5 s together."""
    tracks = [
        replace(axes.seen(k, 3, a, b, frames=f), best_box=LEFT) for k, (a, b, f) in enumerate([(0, 4, 8), (2, 5, 7)])
    ]
    row = store.begin_source(info("a.mp4", "a"))
    both = np.array([LEFT, LEFT], np.float32)
    frames = [FrameRegions(t * NS, np.array([0, 1]), both, np.ones((2, 2, 2), bool)) for t in (2, 3, 4)]
    add(store, row.id, tracks, frames, state="done")
    (one,) = listed(store)
    assert (one.seen_s, one.sightings, one.frames) == (5, 1, 11)  # 15 * 5 / 7


def test_a_thing_has_the_name_of_most_of_its_frames(store: Store) -> None:
    def part(ordinal: int, name: int, frames: int) -> Track:
        return replace(axes.seen(ordinal, name, 10 * ordinal, 10 * ordinal + 1, frames=frames), visual=axes.axis(DV, 3))

    axes.source(store, "a.mp4", [part(0, 5, 3), part(1, 6, 6), part(2, 5, 1)])
    (one,) = listed(store, Curve(0.0, 1.0, 0.0, 9, 9, 9))
    assert [name for name, _ in one.guesses][:2] == ["6", "5"]
    # The mean of its tokens is .6 long in one direction and .4 in the other.
    for (_, probability), score in zip(one.guesses, (0.6, 0.4, 0), strict=True):
        assert probability == pytest.approx(1 / (1 + np.exp(-score)), abs=1e-3)
    assert one.named
    assert one.title == "6"
    assert not listed(store, Curve(-0.7, 1.0, 0.0, 9, 9, 9))[0].named
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vidmem.query.inventory._BLOCK", 2)
        assert list(listed(store, Curve(0.0, 1.0, 0.0, 9, 9, 9))) == [one]


def test_only_things_whose_name_is_probable_enough_are_listed(store: Store) -> None:
    leans = {3: 0.0, 4: 0.5, 5: 1.0}
    axes.source(
        store,
        "a.mp4",
        [axes.seen(i, what, 10 * i, 10 * i + 5 - i, lean) for i, (what, lean) in enumerate(leans.items())],
    )
    curve = Curve(-6.0, 8.0, 0.0, 9, 9, 9)
    likely = [1 / (1 + np.exp(6 - 8 / (1 + lean**2) ** 0.5)) for lean in leans.values()]
    assert [one.probability for one in listed(store, curve)] == pytest.approx(likely, abs=5e-3)
    for least, names in ((0.0, "345"), (likely[2] + 0.01, "34"), (likely[1] + 0.01, "3"), (0.99, "")):
        found = listed(store, curve, min_probability=least, top=2)
        assert [one.name for one in found] == list(names[:2])
        assert found.total == len(names)
    sure = listed(store, curve, min_probability=float(np.float32(listed(store, curve)[0].probability)))
    assert [one.name for one in sure] == ["3"]
    for one in listed(store, curve):
        assert one.last.probability == one.best.probability == pytest.approx(one.probability)
    assert not listed(store, None, min_probability=0.1)  # no probability is below any


def test_a_cut_before_or_at_the_start_of_a_track_parts_it_from_the_one_before(store: Store) -> None:
    for name, cut, sightings in (("a", 4.5, 2), ("b", 4.500001, 1), ("c", 0, 1), ("d", 0.000001, 2)):
        row = store.begin_source(info(f"{name}.mp4", name))
        tracks = [axes.seen(0, 3, 0, 4), axes.seen(1, 3, 4.5, 6)]
        add(store, row.id, tracks, cuts=[int(cut * NS)], state="done")
        (one,) = listed(store, spans={row.id: (0, 60 * NS)})
        assert (name, one.sightings) == (name, sightings)
        store.remove_source(row.id)


def test_cuts_are_those_of_the_own_source(store: Store) -> None:
    for name, what, cuts in (("a", 3, [int(4.2 * NS)]), ("b", 4, []), ("c", 5, [int(4.2 * NS)]), ("d", 6, [])):
        row = store.begin_source(info(f"{name}.mp4", name))
        tracks = [axes.seen(0, what, 0, 4), axes.seen(1, what, 4.5, 6)]
        add(store, row.id, tracks, cuts=cuts, state="done")
    assert {one.name: one.sightings for one in listed(store)} == {"3": 2, "4": 1, "5": 2, "6": 1}


def test_each_picture_counts_once(store: Store) -> None:
    row = store.begin_source(SourceInfo("/photos", SourceKind.PICTURES, 0, 0, 0, "photos"))
    tracks = [
        replace(axes.seen(i, 3, 0, 0, frames=1), start_ns=i * PICTURE_NS, end_ns=i * PICTURE_NS, best_ns=i * PICTURE_NS)
        for i in range(3)
    ]
    pictures = [Picture(i * PICTURE_NS, bytes([i]) * 32, 64, 48, i * NS + 5, "exif") for i in range(3)]
    files = [PictureFile(f"{i}.jpg", 1, 2, i * PICTURE_NS) for i in range(3)]
    boxes, masks = np.array([LEFT], np.float32), np.ones((1, 2, 2), bool)
    frames = [FrameRegions(i * PICTURE_NS, np.array([i]), boxes, masks) for i in range(3)]
    add(store, row.id, tracks, frames, state="done", pictures=pictures, files=files)
    (one,) = listed(store)
    assert (one.frames, one.sightings, one.seen_ns) == (3, 3, 0)
    assert one.last.frame_ns == 2 * PICTURE_NS


def test_a_picture_without_a_date_makes_the_order_weak(store: Store) -> None:
    row = store.begin_source(SourceInfo("/photos", SourceKind.PICTURES, 0, 0, 0, "photos"))
    times = [0, PICTURE_NS]
    tracks = [replace(axes.seen(i, 3, 0, 0, frames=1), start_ns=t, end_ns=t, best_ns=t) for i, t in enumerate(times)]
    pictures = [Picture(t, bytes([i]) * 32, 64, 48, *((5, "exif") if i else ())) for i, t in enumerate(times)]
    files = [PictureFile(f"{i}.jpg", 1, 2, t) for i, t in enumerate(times)]
    add(store, row.id, tracks, state="done", pictures=pictures, files=files)
    (note,) = listed(store, newest=True).notes
    assert "1 of 2 recordings has no date" in note


def test_a_weak_order_in_time_is_told_where_it_matters(store: Store) -> None:
    axes.source(store, "a.mp4", [axes.seen(0, 3, 0, 4)], start_ns=1_700_000_000 * NS)
    axes.source(store, "b.mp4", [axes.seen(0, 4, 0, 5)])
    assert listed(store).notes == ()
    (note,) = listed(store, newest=True).notes
    assert note.startswith("the order in time is that of indexing: 1 of 2 recordings has no date")


def test_things_within_spans(store: Store) -> None:
    a = axes.source(store, "a.mp4", [axes.seen(0, 3, 0, 4), axes.seen(1, 4, 10, 12)])
    axes.source(store, "b.mp4", [axes.seen(0, 5, 0, 4)])
    assert [one.name for one in listed(store, spans={a: (0, 60 * NS)})] == ["3", "4"]
    assert [one.name for one in listed(store, spans={a: (9 * NS, 60 * NS)})] == ["4"]
    assert list(listed(store, spans={})) == []


def test_what_things_may_be_called() -> None:
    class Open(fakes.Colours):
        def names(self) -> dict[str, str]:
            return {}

    names = names_for(Open(), None)
    assert "cup" in names
    assert "sky" not in names  # stuff
    assert len(set(names)) == len(names) > 150
    assert names_for(Open(), "coco")[0] == "person"
