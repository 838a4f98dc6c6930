"""What is in a memory: its things, how long each was seen, when last, what it is called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fakes
import numpy as np
import pytest
from store.making import add, info, track

from vidmem.config import IndexConfig
from vidmem.errors import MediaError, UsageError
from vidmem.memory import Memory
from vidmem.query.naming import names_for
from vidmem.records import Float32, FrameRegions, Track
from vidmem.store import ModelRecord
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


def test_what_things_may_be_called() -> None:
    class Open(fakes.Colours):
        def names(self) -> dict[str, str]:
            return {}

    names = names_for(Open(), None)
    assert "cup" in names
    assert "sky" not in names  # stuff
    assert len(set(names)) == len(names) > 150
    assert names_for(Open(), "coco")[0] == "person"
