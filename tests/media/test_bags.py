"""rosbag2 and ROS 1 bags."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import make
import pytest
from media import make_logs
from media.make_logs import SKEW, START, STEP

from vidmem.address import Address
from vidmem.errors import MediaError
from vidmem.media import discover, open_source, parts


@pytest.mark.parametrize("kind", ["sqlite3", "mcap", "ros1"])
def test_a_bag(tmp_path: Path, kind: str) -> None:
    path = make_logs.bag(tmp_path / ("run.bag" if kind == "ros1" else "run"), 20, kind)
    assert discover([str(tmp_path)]) == [Address(str(path))]
    assert parts(Address(str(path))) == [Address(str(path), "/cam/front")]
    with open_source(path) as source:
        assert (source.info.start_ns, source.info.duration_ns) == (START, 19 * STEP)
        frames = list(source.frames(0))
        assert [make.number_in(f.image) for f in frames] == list(range(20))
        assert [f.t_ns for f in frames] == [STEP * i for i in range(20)]
        mark = frames[3].mark
        assert mark is not None
        assert (mark.log_ns, mark.stamp_ns) == (START + 3 * STEP, START + 3 * STEP - SKEW)
        assert mark.sequence == (503 if kind == "ros1" else None)
        assert not source.damage
    with open_source(f"{path}#header:/cam/front") as source:
        assert source.info.start_ns == START - SKEW


def test_a_file_in_a_bag_is_the_bag(tmp_path: Path) -> None:
    path = make_logs.bag(tmp_path / "run", 5, "sqlite3")
    (file,) = path.glob("*.db3")
    with open_source(file) as source:
        assert len(list(source.frames(0))) == 5


def test_a_bag_without_metadata_fails(tmp_path: Path) -> None:
    path = make_logs.bag(tmp_path / "run", 5, "sqlite3")
    (path / "metadata.yaml").unlink()
    (file,) = path.glob("*.db3")
    with pytest.raises(MediaError, match="make it with `ros2 bag reindex`"):
        open_source(file)


@pytest.mark.parametrize("kind", ["sqlite3", "ros1"])
def test_a_damaged_bag_fails_in_one_line(tmp_path: Path, kind: str) -> None:
    path = make_logs.bag(tmp_path / ("run.bag" if kind == "ros1" else "run"), 5, kind)
    file = path if kind == "ros1" else next(path.glob("*.db3"))
    file.write_bytes(b"nonsense" * 100)
    with pytest.raises(MediaError, match=r"the bag cannot be opened .* repair it with `ros") as caught:
        open_source(path)
    assert "\n" not in str(caught.value)


def test_a_bag_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rosbags.highlevel import AnyReader

    path = make_logs.bag(tmp_path / "run", 20, "sqlite3")
    whole = AnyReader.messages

    def messages(self: AnyReader, *args: Any, **more: Any) -> Iterator[Any]:
        for number, item in enumerate(whole(self, *args, **more)):
            if number == 12:
                raise RuntimeError("database disk image is malformed")
            yield item

    monkeypatch.setattr(AnyReader, "messages", messages)
    with open_source(path) as source:
        assert [make.number_in(f.image) for f in source.frames(0)] == list(range(12))
        assert source.damage.packets == 1
        assert source.damage.notes == ["the bag cannot be read any further (database disk image is malformed)"]


def test_without_the_library_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_logs.bag(tmp_path / "run.bag", 2, "ros1")
    monkeypatch.setitem(__import__("sys").modules, "rosbags.highlevel", None)
    with pytest.raises(MediaError, match=r"pip install 'vidmem\[robotics\]'"):
        open_source(path)
