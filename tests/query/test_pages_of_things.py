"""Pages of `things`: one list in parts, made once for each state of the memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakes
import pytest

from vidmem.errors import UsageError
from vidmem.memory import Memory
from vidmem.query import inventory, naming
from vidmem.query.kept import Kept

SCENE = [("red", 0, 3, 8), ("blue", 1, 6, 60), ("green", 4, 12, 24)]


@pytest.fixture
def folder(tmp_path: Path, colours: None) -> Path:
    video = fakes.squares(tmp_path / "walk.mp4", SCENE, 12)
    with Memory.open(tmp_path / "memory", encoder="colours") as m:
        m.index(video)
    return tmp_path / "memory"


@pytest.fixture
def memory(folder: Path) -> Iterator[Memory]:
    with Memory.open(folder, read_only=True) as m:
        yield m


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts how often all tracks are grouped into things."""
    count: list[int] = []
    real = inventory.numbers

    def counted(*args: Any) -> Any:
        count.append(1)
        return real(*args)

    monkeypatch.setattr(inventory, "numbers", counted)
    return count


def test_pages_make_one_list_and_one_grouping(memory: Memory, made: list[int]) -> None:
    whole = list(memory.things())
    pages = [memory.things(top=1, offset=i) for i in range(4)]
    assert [thing for page in pages for thing in page] == whole
    assert [page.total for page in pages] == [3] * 4
    assert list(memory.things(top=2, offset=1)) == whole[1:]
    assert len(made) == 1


def test_a_change_by_another_process_is_seen_at_once(
    memory: Memory, folder: Path, made: list[int], tmp_path: Path
) -> None:
    assert memory.things(top=1).total == 3
    more = fakes.squares(tmp_path / "more.mp4", [("yellow", 0, 2, 8)], 3)
    with Memory.open(folder) as writer:
        writer.index(more)
    assert memory.things(top=1).total == 4
    with Memory.open(folder) as writer:
        writer.set_recorded(str(more), "2020-01-31T08:30")
    assert memory.things(newest=True)[-1].last.recorded_by == "given"
    with Memory.open(folder) as writer:
        writer.remove(str(more))
    assert memory.things(top=1).total == 3
    assert len(made) == 4


def test_a_change_by_the_same_memory_is_seen_at_once(folder: Path, tmp_path: Path, colours: None) -> None:
    with Memory.open(folder) as m:
        assert m.things().total == 3
        m.index(fakes.squares(tmp_path / "more.mp4", [("yellow", 0, 2, 8)], 3))
        assert m.things().total == 4


def test_spans_say_when_a_thing_was_in_view(memory: Memory) -> None:
    for thing in memory.things():
        assert len(thing.spans) == thing.sightings
        assert sum(span.end_ns - span.start_ns for span in thing.spans) == thing.seen_ns
        assert thing.spans[0][1:] == (thing.last.start_ns, thing.last.end_ns)


def test_a_wrong_offset_is_refused(memory: Memory) -> None:
    for wrong in (-1, 1.5, "2"):
        with pytest.raises(UsageError, match="`offset` is a whole number from 0 up"):
            memory.things(offset=wrong)  # type: ignore[arg-type]
    assert not memory.things(offset=99)


def test_all_sightings_of_a_thing_from_its_tracks(memory: Memory) -> None:
    thing = memory.things()[0]
    found = memory.query.sightings(thing.tracks)
    assert [(s.start_ns, s.end_ns) for s in found] == [span[1:] for span in thing.spans]
    assert all(s.probability is None and s.text_score is None for s in found)
    assert memory.query.sightings([]) == memory.query.sightings([10**12]) == []
    with pytest.raises(UsageError, match="`tracks` is a whole number"):
        memory.query.sightings(["1"])  # type: ignore[list-item]


def test_what_is_kept_is_bounded() -> None:
    kept: Kept[int] = Kept(2)
    made: list[int] = []
    for key in (1, 2, 1, 3, 1, 2):
        assert kept.get(key, lambda key=key: made.append(key) or key) == key  # type: ignore[misc]
    assert made == [1, 2, 3, 2]
    heavy: Kept[int] = Kept(8, weight=lambda size: size, most=100)
    for size in (40, 50, 30, 500):
        assert heavy.get(size, lambda size=size: size) == size  # type: ignore[misc]
        assert sum(heavy._held.values()) <= max(100, size)
    assert list(heavy._held) == [500]


def test_what_is_kept_of_another_state_is_dropped() -> None:
    kept: Kept[str] = Kept(8, weight=len, most=100)
    for state in (1, 2, 1):
        assert kept.get("key", lambda state=state: f"of {state}", state) == f"of {state}"  # type: ignore[misc]
        assert kept.get("other", lambda: "other", state) == "other"
        assert list(kept._held) == ["key", "other"]


def test_contrasts_of_names_are_bounded(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "CONTRASTS", 2)
    vectors = memory.text_encoder.encode_text(fakes.NAMES)
    names = naming.Naming(memory.text_encoder, fakes.NAMES, vectors, None)
    assert [names.of(vector).name for vector in vectors] == list(fakes.NAMES)
    assert len(names._contrasts) == 2
