"""Indexing what paths lead to: who is told of what, what is refused, and what a folder's report says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from encoders.fake import ColourEncoder, picture, save, video
from PIL import Image

from vidmem.address import Address
from vidmem.config import IndexConfig
from vidmem.errors import MediaError, UsageError
from vidmem.indexer.dating import Choice
from vidmem.indexer.indexing import IndexOptions, find_sources, index_all
from vidmem.indexer.pictures import PicturesReport, forget_photo, index_pictures, is_text, to_index
from vidmem.indexer.plan import Album, planned
from vidmem.indexer.progress import IndexProgress
from vidmem.media import Photos
from vidmem.media.photos import Listed
from vidmem.records import SourceInfo, SourceKind
from vidmem.store import ModelRecord, Store
from vidmem.timecode import NS

CONFIG = IndexConfig(fps=5, checkpoint_frames=4, batch=2, still=0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory", create=True) as store:
        info = ColourEncoder().info
        store.set_model(ModelRecord(info.name, info.weights, info.visual_dim, info.text_dim, CONFIG.as_dict()))
        yield store


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures, one of them twice."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour in (("1.png", "red"), ("2.png", "green"), ("3.png", "blue"), ("4.png", "red")):
        save(folder / name, {colour: (40, 24)})
    return folder


def never() -> ColourEncoder:
    raise AssertionError("nothing is to be encoded")


def index(store: Store, folder: Path, encoder: Any = ColourEncoder, **more: Any) -> PicturesReport:
    (album,) = planned([Photos(str(folder))], store)
    assert isinstance(album, Album)
    return index_pictures(album, encoder, store, CONFIG, **more)


def test_a_report_of_a_folder_counts_files_pictures_copies_and_regions(store: Store, photos: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = index(store, photos, progress=lambda t_ns, files: seen.append((t_ns, files)))
    assert (report.info.uri, report.info.kind, report.info.duration_ns) == (str(photos), SourceKind.PICTURES, 0)
    assert (report.frames, report.new_frames, report.tracks, report.files, report.looked) == (3, 3, 3, 4, 4)
    assert (report.copies, report.gone, report.damaged, report.skipped, report.media_s) == (1, 0, 0, False, 0.0)
    assert (report.notes, report.unreadable) == ((), ())
    assert 0 < report.seconds < 60
    assert seen == [(0, 2), (0, 4)]
    again = index(store, photos, never)
    assert (again.frames, again.new_frames, again.tracks, again.files, again.looked) == (3, 0, 0, 4, 0)
    assert (again.copies, again.skipped) == (1, True)


def test_deleted_and_renamed_pictures(store: Store, photos: Path) -> None:
    index(store, photos)
    (photos / "2.png").unlink()
    (photos / "1.png").unlink()  # its content is in another file
    report = index(store, photos, never)
    assert (report.frames, report.new_frames, report.gone, report.copies, report.skipped) == (2, 0, 1, 0, False)
    (photos / "3.png").rename(photos / "9.png")
    report = index(store, photos)
    assert (report.frames, report.new_frames, report.gone, report.looked) == (2, 0, 0, 1)
    (row,) = store.sources()
    assert [file.path for file in store.picture_files(row.id)] == ["4.png", "9.png"]
    assert (row.state, row.frames) == ("done", 2)
    assert (row.width, row.height) == (0, 0)  # each picture has a size of its own
    assert sorted(t.start_ns for t in store.source_tracks(row.id)) == sorted(p.t_ns for p in store.pictures(row.id))


def test_what_cannot_be_read_is_listed_and_three_causes_are_noted(store: Store, photos: Path) -> None:
    for name in ("5.png", "6.png", "7.png"):
        (photos / name).write_text("x")
    (photos / os.fsdecode(b"bad\xff.png")).write_text("x")
    (album,) = planned([Photos(str(photos))], store)
    assert isinstance(album, Album)
    album.refused["cellar"] = "Permission denied"
    report = index_pictures(album, ColourEncoder, store, CONFIG)
    broken = "the picture cannot be read (not a picture)"
    assert dict(report.unreadable) == {
        "cellar": "the folder cannot be read (Permission denied)",
        **dict.fromkeys(("5.png", "6.png", "7.png"), broken),
        "bad\udcff.png": "the file name is not valid UTF-8, rename the file",
    }
    assert report.unreadable[0][0] == "cellar"
    assert report.notes == ("the folder cannot be read (Permission denied)", broken, broken)
    assert (report.damaged, report.looked, report.files, report.frames) == (5, 8, 8, 3)
    assert store.sources()[0].state == "partial"
    (photos / "1.png").unlink()
    (photos / "4.png").unlink()
    index(store, photos, never)
    assert store.sources()[0].state == "partial"
    assert store.sources()[0].damaged == 3


def test_a_folder_without_a_picture_that_can_be_read_is_refused(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "1.png").write_text("x")
    with pytest.raises(MediaError, match=rf"^the picture cannot be read \(not a picture\): {folder}/1\.png$"):
        index(store, folder)
    (folder / "2.png").write_text("x")
    with pytest.raises(
        MediaError, match=rf"^none of the 2 pictures can be read \(the picture .*\); check the files: {folder}$"
    ):
        index(store, folder)
    assert store.sources() == []


def test_a_folder_whose_last_picture_was_deleted_leaves_the_memory(store: Store, photos: Path) -> None:
    index(store, photos)
    for name in ("1.png", "2.png", "3.png", "4.png"):
        (photos / name).unlink()
    report = index(store, photos, never)
    assert (report.frames, report.new_frames, report.gone, report.copies) == (0, 0, 3, 0)
    assert store.sources() == []


def test_files_that_are_known_by_size_and_time_are_not_read_again(store: Store, photos: Path) -> None:
    index(store, photos)
    (album,) = planned([Photos(str(photos))], store)
    assert isinstance(album, Album)
    assert to_index(album, store) == []
    known = album.files["1.png"]
    for changed in (Listed("1.png", known.size + 1, known.mtime_ns), Listed("1.png", known.size, known.mtime_ns + 1)):
        album.files["1.png"] = changed
        assert to_index(album, store) == [changed]
    album.files["bad\udcff.png"] = Listed("bad\udcff.png", 1, 1)
    assert to_index(album, store) == [changed]
    assert to_index(Album("/elsewhere", {"1.png": known}), store) == [known]


def test_another_source_of_the_name_is_refused(store: Store, photos: Path) -> None:
    store.begin_source(SourceInfo(str(photos), SourceKind.LIVE, 8, 8, 0, "f"))
    album = Album(str(photos), {"1.png": Listed("1.png", 1, 1)})
    with pytest.raises(UsageError, match=rf"another source of this name \(live\); `vidmem rm` it: {photos}$"):
        index_pictures(album, never, store, CONFIG)


def test_a_photo_is_forgotten_with_its_regions_unless_another_file_shows_the_same(store: Store, photos: Path) -> None:
    index(store, photos)
    (row,) = store.sources()
    forget_photo(store, row, "1.png")
    assert len(store.source_tracks(row.id)) == 3
    forget_photo(store, row, "2.png")
    assert [p.t_ns for p in store.pictures(row.id)] == [t.start_ns for t in store.source_tracks(row.id)]
    assert len(store.source_tracks(row.id)) == 2
    forget_photo(store, row, "3.png")
    forget_photo(store, row, "4.png")
    assert store.sources() == []


def test_pictures_of_an_old_memory_are_dated(store: Store, photos: Path) -> None:
    index(store, photos)
    (row,) = store.sources()
    times = list(store.pictures_recorded(row.id))
    store.set_pictures_recorded(row.id, {times[0]: (None, ""), times[1]: (5, "given")})
    os.utime(photos / "1.png", ns=(1_700_000_000 * NS, 1_700_000_000 * NS))
    index(store, photos)
    assert store.pictures_recorded(row.id)[times[0]] == (1_700_000_000 * NS, "mtime")
    assert store.pictures_recorded(row.id)[times[1]] == (5, "given")


def test_names_that_cannot_be_written_down() -> None:
    assert is_text("straße/ü.png")
    assert not is_text("bad\udcff.png")


def run(store: Store, *todo: Address | Album, encoder: Any = ColourEncoder, **options: Any) -> list[Any]:
    return index_all(todo, store, encoder, CONFIG, IndexOptions(**options))


def test_sources_and_albums_are_indexed_in_their_order_and_progress_is_told(
    store: Store, photos: Path, tmp_path: Path
) -> None:
    clip = video(tmp_path / "a.mp4", [{"red": (40, 24)}] * 3)
    (album,) = planned([Photos(str(photos))], store)
    seen: list[IndexProgress] = []
    calls: list[tuple[str, int, int]] = []

    def on_source(name: str, opened: Any) -> Any:
        return lambda t_ns, frames: calls.append((name, t_ns, frames))

    reports = run(store, album, Address(str(clip)), progress=seen.append, on_source=on_source)
    assert [report.info.uri for report in reports] == [str(photos), str(clip)]
    assert [report.frames for report in reports] == [3, 3]
    assert seen == [
        IndexProgress(str(photos), 0, 0, 2),
        IndexProgress(str(photos), 0, 0, 4),
        IndexProgress(str(clip), NS // 5, 3 * NS // 5, 2),
        IndexProgress(str(clip), 2 * NS // 5, 3 * NS // 5, 3),
    ]
    assert calls == [(p.source, p.done_ns, p.frames) for p in seen]
    assert [report.skipped for report in run(store, album, Address(str(clip)), encoder=never)] == [True, True]


def test_a_source_that_cannot_be_opened_stops_the_run_or_is_told(store: Store, tmp_path: Path) -> None:
    clip = video(tmp_path / "a.mp4", [{"red": (40, 24)}] * 2)
    gone, bad = Address(str(tmp_path / "gone.mp4")), Address("/v/bad\udcff.mp4")
    with pytest.raises(MediaError, match="no such file"):
        run(store, gone, Address(str(clip)))
    assert store.sources() == []
    with pytest.raises(MediaError, match="not valid UTF-8, rename the file"):
        run(store, bad)
    told: list[tuple[str, Any]] = []
    (report,) = run(store, gone, bad, Address(str(clip)), on_source=lambda name, what: told.append((name, what)))
    assert report.info.uri == str(clip)
    assert [name for name, _ in told] == [str(gone), str(bad), str(clip)]
    assert [type(what).__name__ for _, what in told[:2]] == ["MediaError", "MediaError"]


def test_a_date_is_set_also_on_what_was_indexed_before(store: Store, photos: Path, tmp_path: Path) -> None:
    clip = video(tmp_path / "a.mp4", [{"red": (40, 24)}] * 2)
    (album,) = planned([Photos(str(photos))], store)
    for encoder in (ColourEncoder, never):
        run(store, Address(str(clip)), album, encoder=encoder, recorded=Choice("none"))
        (first, second) = store.sources()
        assert (first.start_ns, first.recorded_by) == (None, "given")
        assert set(store.pictures_recorded(second.id).values()) == {(None, "given")}
        os.utime(clip, ns=(1_700_000_000 * NS, 1_700_000_000 * NS))
        run(store, Address(str(clip)), encoder=never, recorded=Choice("mtime"))
        assert store.source_by_id(first.id).recorded_by == "mtime"


def test_views_are_kept_when_wanted(store: Store, photos: Path, tmp_path: Path) -> None:
    from encoders.fake import LookingEncoder

    clip = video(tmp_path / "a.mp4", [{"red": (40, 24)}] * 2)
    (album,) = planned([Photos(str(photos))], store)
    looking = lambda: LookingEncoder(dim=9)  # noqa: E731
    for keep in (True, False):
        folder = tmp_path / str(keep)
        with Store.open(folder, create=True) as other:
            info = looking().info
            other.set_model(ModelRecord(info.name, info.weights, info.visual_dim, info.text_dim, CONFIG.as_dict()))
            run(other, album, Address(str(clip)), encoder=looking, keep_views=keep)
            marks = [mark for n in (1, 2) for views in other.views(n).values() for mark in views]
            assert {mark.image is not None for mark in marks} <= {keep}
            assert bool(marks) or not keep


def test_paths_lead_to_sources_and_photos(photos: Path, tmp_path: Path) -> None:
    clip = video(photos / "a.mp4", [{}] * 2)
    found = find_sources([str(photos), str(clip)], (), film=False, clock="log", pose=None)
    assert found == [Address(str(clip)), Photos(str(photos))]
    film = find_sources([str(photos)], (), film=True, clock="log", pose=None)
    assert sorted(map(str, film)) == [str(photos), str(clip)]
    Image.fromarray(picture({})).save(tmp_path / "one.png")
    assert find_sources([Photos(str(tmp_path / "one.png"))], (), film=False, clock="log", pose=None) == [
        Photos(str(tmp_path / "one.png"))
    ]


def test_a_folder_that_became_unreadable_is_forgotten_without_an_error(store: Store, photos: Path) -> None:
    index(store, photos)
    for name in ("1.png", "2.png", "3.png", "4.png"):
        (photos / name).write_text("no picture any more")
    report = index(store, photos)
    assert (report.frames, report.gone, report.damaged) == (0, 3, 4)
    assert store.sources() == []
