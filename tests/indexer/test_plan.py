"""Which source a photo belongs to: never two, however it is named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import fakes
import numpy as np
import pytest
from fakes import photo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vidmem.errors import MediaError, UsageError
from vidmem.indexer.pictures import PicturesReport
from vidmem.indexer.plan import Album, planned
from vidmem.media import Photos
from vidmem.memory import Memory
from vidmem.records import SourceKind
from vidmem.store import Store


@pytest.fixture
def trip(tmp_path: Path) -> Path:
    folder = tmp_path / "trip"
    for name, colour in (("cup.png", "red"), ("b.png", "blue"), ("day/1.png", "green"), ("day/2.png", "yellow")):
        photo(folder / name, colour)
    return folder


@pytest.fixture
def memory(tmp_path: Path, colours: None) -> Iterator[Memory]:
    with Memory.open(tmp_path / "memory", encoder="colours") as memory:
        yield memory


def held(memory: Memory) -> dict[str, list[str]]:
    """The files of every source, by its name."""
    return {Path(row.uri).name: [f.path for f in memory.store.picture_files(row.id)] for row in memory.sources()}


def test_one_photo_is_of_its_folder(memory: Memory, trip: Path) -> None:
    (report,) = memory.index(trip / "cup.png")
    assert (report.info.uri, report.info.kind, report.frames) == (str(trip), "pictures", 1)
    assert memory.where("red")[0].picture == str(trip / "cup.png")
    memory.index(trip / "b.png", trip / "b.png")
    assert held(memory) == {"trip": ["b.png", "cup.png"]}  # the first one is not gone
    (trip / "cup.png").unlink()
    memory.index(trip / "b.png")
    assert held(memory) == {"trip": ["b.png", "cup.png"]}
    memory.index(trip)
    assert held(memory) == {"trip": ["b.png", "day/1.png", "day/2.png"]}


def test_the_whole_folder_later_has_nothing_twice(memory: Memory, trip: Path) -> None:
    memory.index(trip / "day" / "1.png", trip / "cup.png")
    assert held(memory) == {"day": ["1.png"], "trip": ["cup.png"]}
    reports = memory.index(trip)
    assert held(memory) == {"day": ["1.png", "2.png"], "trip": ["b.png", "cup.png"]}
    assert sum(report.new_frames for report in reports) == 2
    assert all(report.skipped for report in memory.index(trip, trip / "day", trip / "b.png"))


def test_a_part_of_a_known_folder_stays_in_it(memory: Memory, trip: Path) -> None:
    memory.index(trip)
    photo(trip / "day" / "3.png", "cyan")
    (trip / "day" / "1.png").unlink()
    (trip / "b.png").unlink()
    memory.index(trip / "day" / "3.png")
    assert held(memory) == {"trip": ["b.png", "cup.png", "day/1.png", "day/2.png", "day/3.png"]}
    (report,) = memory.index(trip / "day")
    assert isinstance(report, PicturesReport)
    assert (report.files, report.gone) == (2, 1)
    assert held(memory) == {"trip": ["b.png", "cup.png", "day/2.png", "day/3.png"]}  # only what was listed is gone


def test_a_photo_far_below_a_named_one_is_not_of_its_folder(memory: Memory, trip: Path) -> None:
    memory.index(trip / "cup.png")
    memory.index(trip / "day")
    assert held(memory) == {"trip": ["cup.png"], "day": ["1.png", "2.png"]}


def test_renamed_and_changed(memory: Memory, trip: Path) -> None:
    memory.index(trip / "cup.png")
    os.rename(trip / "cup.png", trip / "tasse.png")
    (report,) = memory.index(trip / "tasse.png")
    assert report.new_frames == 0
    assert held(memory) == {"trip": ["tasse.png"]}
    photo(trip / "tasse.png", "white", "brown")
    (report,) = memory.index(trip / "tasse.png")
    assert (report.new_frames, report.frames) == (1, 1)
    assert not memory.where("red")
    assert memory.where("white")
    assert memory.sources()[0].frames == 1


def test_links_lead_to_one_source(memory: Memory, trip: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(trip)
    (trip / "same.png").symlink_to(trip / "cup.png")
    (trip / "broken.png").symlink_to(tmp_path / "nowhere")
    memory.index(trip / "day")
    (report, *_) = memory.index(tmp_path / "link", trip)
    assert isinstance(report, PicturesReport)
    assert [Path(row.uri).name for row in memory.sources()] == ["day", "link"]
    assert (report.copies, [path for path, _ in report.unreadable]) == (1, ["broken.png"])


def test_videos_and_photos_in_one_folder(memory: Memory, trip: Path) -> None:
    fakes.squares(trip / "walk.mp4", [("white", 0, 2, 8)], 2)
    reports = memory.index(trip, trip / "cup.png")
    assert [(Path(r.info.uri).name, r.info.kind, r.frames) for r in reports] == [
        ("walk.mp4", "video", 10),
        ("trip", "pictures", 4),
    ]
    assert all(report.skipped for report in memory.index(trip))


def test_odd_files_are_named(memory: Memory, trip: Path) -> None:
    (trip / "iphone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (trip / "empty.jpg").touch()
    os.mkfifo(trip / "pipe.jpg")
    shutil.copy(trip / "cup.png", os.fsencode(trip) + b"/bad\xff.png")
    photo(trip / "new\nline.png", "cyan")
    Image.new("CMYK", (160, 96)).save(trip / "cmyk.jpg")
    Image.new("I;16", (160, 96)).save(trip / "deep.png")
    Image.new("RGB", (1, 1)).save(trip / "one.png")
    frames = [Image.new("RGB", (160, 96), colour) for colour in ("red", "blue")]
    frames[0].save(trip / "moving.webp", save_all=True, append_images=frames[1:])
    (report,) = memory.index(trip)
    assert isinstance(report, PicturesReport)
    assert dict(report.unreadable) == {
        "iphone.HEIC": "HEIC cannot be read, save the picture as JPEG",
        "empty.jpg": "the picture cannot be read (not a picture)",
        "pipe.jpg": "not a regular file",
        "bad\udcff.png": "the file name is not valid UTF-8, rename the file",
    }
    assert (report.damaged, report.frames) == (4, 9)
    (again,) = memory.index(trip)
    assert (again.damaged, again.new_frames) == (4, 0)
    (trip / "new").mkdir()
    shutil.copy(trip / "iphone.HEIC", trip / "new" / "phone.heic")
    with pytest.raises(MediaError, match=r"^HEIC cannot be read, save the picture as JPEG: .*phone.heic"):
        memory.index(trip / "new" / "phone.heic")


def test_what_cannot_be_listed_is_not_gone(memory: Memory, trip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.index(trip)
    walk = os.walk

    def refusing(top: str, onerror: object = None) -> Iterator[tuple[str, list[str], list[str]]]:
        for folder, folders, files in walk(top):
            if folder == str(trip / "day"):
                onerror(PermissionError(13, "Permission denied", folder))  # type: ignore[operator]
            else:
                yield folder, folders, files

    monkeypatch.setattr("os.walk", refusing)
    (report,) = memory.index(trip)
    assert isinstance(report, PicturesReport)
    assert report.unreadable == (("day", "the folder cannot be read (Permission denied)"),)
    assert (report.gone, report.frames) == (0, 4)


def test_a_photo_is_forgotten_by_its_name(memory: Memory, trip: Path) -> None:
    memory.index(trip)
    shutil.copy(trip / "cup.png", trip / "copy.png")
    memory.index(trip)
    with pytest.raises(UsageError, match=r"'cup.png' is a photo; the source is its folder, give that: "):
        memory.where("red", sources=["cup.png"])
    memory.remove("cup.png")
    assert memory.where("red")[0].picture == str(trip / "copy.png")  # its content is there still
    memory.remove("copy.png", str(trip / "day" / "2.png"))
    assert not memory.where("red")
    assert held(memory) == {"trip": ["b.png", "day/1.png"]}
    with pytest.raises(UsageError, match=r"no source is called '%\.png'"):
        memory.remove("%.png")  # no pattern
    with pytest.raises(UsageError, match=r"no source is called 'copy\.png'"):
        memory.remove("b.png", "copy.png")
    memory.remove("b.png", "trip/day/1.png", "b.png")
    assert memory.sources() == []


def test_everything_gone_goes(memory: Memory, trip: Path) -> None:
    fakes.squares(trip / "day" / "walk.mp4", [("white", 0, 2, 8)], 2)
    memory.index(trip / "day")
    (trip / "day" / "1.png").unlink()
    photo(trip / "day" / "below" / "x.png", "red")
    memory.index(trip / "day" / "2.png")
    (trip / "day" / "2.png").write_text("no picture any more")
    (trip / "day" / "below" / "x.png").write_text("nor this")
    report = memory.index(trip / "day")[1]
    assert isinstance(report, PicturesReport)
    assert (report.frames, report.gone, report.damaged) == (0, 2, 2)
    assert [row.kind for row in memory.sources()] == ["video"]


def test_a_source_of_another_kind_is_left_alone(memory: Memory, trip: Path) -> None:
    with memory.session(str(trip)) as session:
        session.append(np.zeros((fakes.HEIGHT, fakes.WIDTH, 3), np.uint8), 1)
    with pytest.raises(UsageError, match=r"another source of this name \(live\)"):
        memory.index(trip)
    assert [row.kind for row in memory.sources()] == ["live"]


FOLDERS = ("", "a", "a/b", "a/b/c", "d")
NAMES = [f"{folder}/{name}.png".lstrip("/") for folder in FOLDERS for name in "xy"]


@given(st.lists(st.lists(st.sampled_from([*NAMES, *FOLDERS]), min_size=1, max_size=3), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_photo_is_of_two_sources(tmp_path_factory: pytest.TempPathFactory, runs: list[list[str]]) -> None:
    top = tmp_path_factory.mktemp("photos")
    for name in NAMES:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(name.encode())
    files: dict[str, set[str]] = {}  # what the memory would hold

    class Known(Store):
        """Knows what earlier runs took in."""

        def __init__(self) -> None:
            pass

        def sources(self) -> list[object]:  # type: ignore[override]
            return [_Row(i, uri) for i, uri in enumerate(files)]

        def picture_files(self, source_id: int) -> list[object]:  # type: ignore[override]
            return [_File(path) for path in sorted(list(files.values())[source_id])]

    for run in runs:
        for album in planned([Photos(str(top / name).rstrip("/")) for name in run], Known()):
            assert isinstance(album, Album)
            there = files.setdefault(album.folder, set())
            there -= {path for path in there if album.gone(path)}
            there.update(album.files)
        where = [os.path.join(uri, path) for uri, paths in files.items() for path in paths]
        assert len(where) == len(set(where))
        wanted = {
            name for name in NAMES for given_ in run if name == given_ or given_ == "" or name.startswith(given_ + "/")
        }
        assert {str(top / name) for name in wanted} <= set(where)


class _Row:
    kind = SourceKind.PICTURES

    def __init__(self, id: int, uri: str) -> None:
        self.id, self.uri = id, uri


class _File:
    def __init__(self, path: str) -> None:
        self.path = path
