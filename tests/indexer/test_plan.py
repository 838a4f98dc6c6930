"""Which source a photo belongs to: never two, however it is named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fakes
import numpy as np
import pytest
from fakes import photo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from store.making import MODEL, add, info

from vidmem.address import Address
from vidmem.errors import MediaError, UsageError
from vidmem.indexer.pictures import PicturesReport
from vidmem.indexer.plan import Album, planned
from vidmem.media import Photos
from vidmem.media.photos import Listed
from vidmem.memory import Memory
from vidmem.records import SourceKind
from vidmem.store import Picture, PictureFile, Store


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
        "pipe.jpg": "it is a pipe, not a file",
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


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("a.png", False),  # it is there
        ("b.png", True),
        ("day/1.png", True),
        ("day/locked/1.png", False),  # nobody can see
        ("day/locked", False),
        ("day/lockedroom/1.png", True),
        ("days/1.png", False),  # not listed
        ("day", True),
    ],
)
def test_a_picture_is_gone_where_its_folder_was_listed_and_it_was_not_there(path: str, gone: bool) -> None:
    album = Album("/trip", {"a.png": Listed("a.png", 1, 1)}, {"day", "b.png"}, {"day/locked": "Permission denied"})
    assert album.gone(path) is gone


def test_of_a_folder_listed_whole_all_are_gone_that_are_not_there() -> None:
    for top in ("", "."):
        album = Album("/trip", complete={top})
        assert album.gone("far/below/1.png")
    assert not Album("/trip", refused={"": "Permission denied"}, complete={""}).gone("a.png")
    assert not Album("/trip").gone("a.png")


def shots(folder: Path, name: str, count: int = 10) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(folder / f"{name}0.png")
    for number in range(1, count):
        shutil.copy(folder / f"{name}0.png", folder / f"{name}{number}.png")
    return [f"{name}{number}.png" for number in range(count)]


def test_a_folder_looks_like_a_film_where_something_in_it_is_to_be_indexed(tmp_path: Path) -> None:
    few, many = shots(tmp_path, "few", 9), shots(tmp_path / "walk", "frame")
    paths = [*few, *(f"walk/{name}" for name in many)]
    files = {path: Listed(path, 1, 1) for path in paths}
    album = Album(str(tmp_path), files)
    assert album.film_like(list(files.values())) == str(tmp_path / "walk")
    assert album.film_like([files["walk/frame3.png"]]) == str(tmp_path / "walk")
    assert album.film_like([files["few3.png"]]) is None
    assert album.film_like([]) is None
    top = Album(str(tmp_path / "walk"), {name: Listed(name, 1, 1) for name in many})
    assert top.film_like([*top.files.values()]) == str(tmp_path / "walk")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory", create=True) as store:
        store.set_model(MODEL)
        yield store


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Photos by name alone: nobody reads them here."""
    folder = tmp_path / "trip"
    for name in ("1.png", "10.png", "2.png", "day/1.png", "day/far/1.png", "night/1.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
        os.utime(folder / name, ns=(7, 7))
    return folder


def known(store: Store, uri: Path, kind: SourceKind, *paths: str) -> None:
    row = store.begin_source(replace(info(str(uri), str(uri)), uri=str(uri), kind=kind))
    held = [Picture(t * 10, bytes([t]) * 32, 8, 8) for t in range(len(paths))]
    add(store, row.id, [], files=[PictureFile(path, 1, 1, t * 10) for t, path in enumerate(paths)], pictures=held)


def plan(store: Store, *found: Path | Address) -> list[tuple[str, list[str]] | str]:
    """Albums by folder and files, sources by name."""
    todo = planned([item if isinstance(item, Address) else Photos(str(item)) for item in found], store)
    return [str(item) if isinstance(item, Address) else (item.folder, list(item.files)) for item in todo]


ALL = ["1.png", "2.png", "10.png", "day/1.png", "day/far/1.png", "night/1.png"]


def test_what_was_found_is_planned_once_in_its_order(store: Store, files: Path) -> None:
    walk, other = Address("/videos/walk.mp4"), Address("/videos/other.mp4")
    assert plan(store, walk, files, other, files / "day" / "1.png", walk) == [str(walk), (str(files), ALL), str(other)]
    assert plan(store) == []


def test_an_album_has_the_files_with_their_sizes_and_what_was_listed(store: Store, files: Path) -> None:
    (album,) = planned([Photos(str(files))], store)
    assert isinstance(album, Album)
    assert album.files["day/far/1.png"] == Listed("day/far/1.png", 13, 7)
    assert (album.complete, album.refused) == ({""}, {})
    (album,) = planned([Photos(str(files / "day" / "1.png"))], store)
    assert isinstance(album, Album)
    assert (album.folder, album.files) == (str(files / "day"), {"1.png": Listed("1.png", 9, 7)})
    assert album.complete == set()


def test_a_known_album_takes_what_is_named_in_it(store: Store, files: Path) -> None:
    known(store, files, SourceKind.PICTURES, "day/1.png")
    assert plan(store, files / "day" / "1.png") == [(str(files), ["day/1.png"])]
    assert plan(store, files / "day") == [(str(files), ["day/1.png", "day/far/1.png"])]
    assert plan(store, files / "night") == [(str(files / "night"), ["1.png"])]  # it has none of that folder
    assert plan(store, files / "night", files) == [(str(files / "night"), ["1.png"]), (str(files), ALL[:-1])]
    (album,) = planned([Photos(str(files / "day"))], store)
    assert isinstance(album, Album)
    assert album.complete == {"day"}
    assert (album.gone("day/9.png"), album.gone("9.png"), album.gone("daylight.png")) == (True, False, False)


def test_the_innermost_album_below_a_folder_keeps_its_files(store: Store, files: Path) -> None:
    known(store, files / "day", SourceKind.PICTURES, "1.png")
    todo = planned([Photos(str(files))], store)
    assert [(item.folder, list(item.files), item.complete) for item in todo if isinstance(item, Album)] == [
        (str(files), ["1.png", "2.png", "10.png", "night/1.png"], {""}),
        (str(files / "day"), ["1.png", "far/1.png"], {""}),
    ]


def test_an_album_whose_pictures_were_all_deleted_is_planned_and_a_new_one_without_is_not(
    store: Store, tmp_path: Path
) -> None:
    for name in ("known", "new"):
        (tmp_path / name).mkdir()
    known(store, tmp_path / "known", SourceKind.PICTURES, "1.png")
    assert plan(store, tmp_path / "known", tmp_path / "new") == [(str(tmp_path / "known"), [])]


def test_an_album_is_known_by_a_link_to_it_and_keeps_its_name(store: Store, files: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(files)
    known(store, tmp_path / "link", SourceKind.PICTURES, "1.png")
    assert plan(store, files / "2.png", files / "10.png") == [(str(tmp_path / "link"), ["2.png", "10.png"])]
    assert plan(store, files) == [(str(tmp_path / "link"), ALL)]


def test_a_new_album_has_the_name_it_was_given(store: Store, files: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(files)
    assert plan(store, tmp_path / "link" / "2.png") == [(str(tmp_path / "link"), ["2.png"])]
    assert plan(store, tmp_path / "link", files) == [(str(tmp_path / "link"), ALL)]


def test_a_film_in_the_memory_stays_one(store: Store, files: Path) -> None:
    known(store, files / "day", SourceKind.IMAGES)
    known(store, files / "2.png", SourceKind.IMAGE)
    day, two = str(files / "day"), str(files / "2.png")
    assert plan(store, files / "day" / "1.png", files / "2.png") == [day, two]
    # Below a film each folder is an album of its own.
    assert plan(store, files / "day") == [day, (str(files / "day" / "far"), ["1.png"])]
    rest = (str(files), ["1.png", "10.png", "day/far/1.png", "night/1.png"])
    assert plan(store, files) == [rest, two, day]
    assert plan(store, Address(day), Address(two)) == [day, two]


def test_no_film_is_made_of_pictures_that_were_indexed_one_by_one(store: Store, files: Path) -> None:
    known(store, files, SourceKind.PICTURES, "day/1.png")
    for name in ("trip", "trip/day"):
        film = files.parent / name
        with pytest.raises(
            UsageError, match=rf"^these pictures were .*; `vidmem rm {files}` first, or choose another memory: {film}$"
        ):
            plan(store, Address(str(film)))
    assert plan(store, Address(str(files / "night"))) == [str(files / "night")]  # none of these
    assert plan(store, Address(str(files / "2.png"))) == [str(files / "2.png")]  # a file


def test_albums_of_this_run_count_too(store: Store, files: Path) -> None:
    assert plan(store, files / "1.png", files / "day" / "1.png") == [
        (str(files), ["1.png"]),
        (str(files / "day"), ["1.png"]),
    ]
    assert plan(store, files, files / "day" / "far") == [(str(files), ALL)]
    with pytest.raises(UsageError, match="one by one"):
        plan(store, files, Address(str(files / "day")))


def test_a_folder_that_cannot_be_read_is_refused_in_its_album(
    store: Store, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = [Listed(str(files / name), 1, 1) for name in ALL]
    why = [(str(files / "day" / "locked"), "Permission denied"), (str(files / "cellar"), "Input/output error")]
    monkeypatch.setattr("vidmem.indexer.plan.list_pictures", lambda folder: (listing, why))
    known(store, files / "day", SourceKind.PICTURES, "1.png")
    first, second = planned([Photos(str(files))], store)
    assert isinstance(first, Album)
    assert isinstance(second, Album)
    assert first.refused == {"day/locked": "Permission denied", "cellar": "Input/output error"}
    assert second.refused == {"locked": "Permission denied"}
