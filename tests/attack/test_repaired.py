"""A source that was repaired or replaced in place is looked at again; one that is the same is not."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from encoders.fake import ColourEncoder, save, video
from media import make

from vidmem.config import IndexConfig
from vidmem.indexer.indexing import IndexOptions, find_sources, index_all
from vidmem.indexer.pipeline import SourceReport
from vidmem.indexer.plan import planned
from vidmem.media import fingerprint
from vidmem.store import ModelRecord, Store

CONFIG = IndexConfig(fps=5, checkpoint_frames=4, batch=2, still=0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory", create=True) as store:
        info = ColourEncoder().info
        store.set_model(ModelRecord(info.name, info.weights, info.visual_dim, info.text_dim, CONFIG.as_dict()))
        yield store


def index(store: Store, path: Path) -> SourceReport:
    todo = planned(find_sources([str(path)], (), film=False, clock="log", pose=None), store)
    (report,) = index_all(todo, store, ColourEncoder, CONFIG, IndexOptions())
    return report


def times(path: Path) -> tuple[int, int]:
    stat = os.stat(path)
    return stat.st_atime_ns, stat.st_mtime_ns


def write_back(path: Path, data: bytes) -> None:
    """Write other bytes of the same length, and set the old times."""
    assert len(data) == path.stat().st_size
    before = times(path)
    path.write_bytes(data)
    os.utime(path, ns=before)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return make.video(tmp_path / "film.mkv", range(0, 120, 3))


def _with_hole(data: bytes) -> bytes:
    hole = slice(len(data) // 2, len(data) * 3 // 4)
    return data[: hole.start] + bytes(hole.stop - hole.start) + data[hole.stop :]


def test_an_unchanged_video_is_skipped_and_a_touched_one_too(store: Store, film: Path) -> None:
    assert not index(store, film).skipped
    (row,) = store.sources()
    assert row.stamp
    assert row.content == fingerprint.whole([str(film)])
    assert index(store, film).skipped
    os.utime(film, ns=(1, 10**18))
    assert index(store, film).skipped
    (touched,) = store.sources()
    assert (touched.id, touched.content) == (row.id, row.content)
    assert touched.stamp != row.stamp  # so that the content is not compared the next time


def test_a_moved_video_is_known(store: Store, film: Path, tmp_path: Path) -> None:
    index(store, film)
    film.rename(tmp_path / "moved.mkv")
    assert index(store, tmp_path / "moved.mkv").skipped
    assert [row.uri for row in store.sources()] == [str(tmp_path / "moved.mkv")]


def test_a_truncated_video_that_is_completed_is_looked_at_again(store: Store, film: Path) -> None:
    whole = film.read_bytes()
    film.write_bytes(whole[: len(whole) * 2 // 3])
    short = index(store, film)
    film.write_bytes(whole)
    again = index(store, film)
    assert not again.skipped
    assert again.frames > short.frames
    assert again.damaged == 0


def test_a_hole_that_is_filled_at_the_same_size_and_time_is_looked_at_again(store: Store, film: Path) -> None:
    """A download that was set aside in full length and has arrived in part."""
    whole = film.read_bytes()
    film.write_bytes(_with_hole(whole))
    first = index(store, film)
    assert first.damaged
    assert index(store, film).skipped
    write_back(film, whole)
    again = index(store, film)
    assert not again.skipped
    assert (again.damaged, len(store.sources())) == (0, 1)
    assert index(store, film).skipped


def _without_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the file were so large that no sample falls on what changed."""
    monkeypatch.setattr(fingerprint, "SAMPLES", 2)
    monkeypatch.setattr(fingerprint, "BLOCK", 64)


def _changed(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def test_damage_is_compared_by_all_of_its_bytes(store: Store, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_samples(monkeypatch)
    film.write_bytes(_with_hole(film.read_bytes()))
    assert index(store, film).damaged
    write_back(film, _changed(film.read_bytes()))
    assert not index(store, film).skipped
    assert index(store, film).skipped


def test_one_changed_byte_is_seen_by_its_time(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_samples(monkeypatch)
    film = make.video(tmp_path / "raw.avi", range(0, 24, 3), codec="rawvideo")  # in which nothing looks damaged
    index(store, film)
    before = times(film)
    film.write_bytes(_changed(film.read_bytes()))
    os.utime(film, ns=(before[0], before[1] + 10**9))
    assert not index(store, film).skipped
    write_back(film, _changed(film.read_bytes()))
    assert index(store, film).skipped  # what the page on formats says: neither sampled nor dated, it is not seen


def test_a_video_that_is_written_while_it_is_indexed_is_looked_at_again(
    store: Store, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidmem.indexer.looking_again.fingerprint.whole", lambda files: os.utime(film, ns=(1, 1)) or "")
    index(store, film)
    monkeypatch.undo()
    (row,) = store.sources()
    assert row.content == ""
    assert not index(store, film).skipped
    assert index(store, film).skipped


def _of_an_earlier_version(store: Store) -> None:
    conn = sqlite3.connect(store.folder / "memory.sqlite")
    for row in store.sources():
        former = fingerprint.of_file(row.uri).former
        conn.execute("UPDATE sources SET fingerprint = ?, stamp = '', content = '' WHERE id = ?", (former, row.id))
    conn.commit()
    conn.close()


def test_a_memory_of_an_earlier_version_is_not_indexed_anew(store: Store, film: Path) -> None:
    index(store, film)
    (before,) = store.sources()
    _of_an_earlier_version(store)
    assert index(store, film).skipped
    (after,) = store.sources()
    assert (after.id, after.fingerprint, after.stamp) == (before.id, before.fingerprint, before.stamp)


def test_damage_in_a_memory_of_an_earlier_version_is_looked_at_once_more(store: Store, film: Path) -> None:
    film.write_bytes(_with_hole(film.read_bytes()))
    index(store, film)
    _of_an_earlier_version(store)
    assert not index(store, film).skipped
    assert index(store, film).skipped


def test_samples_see_what_they_promise(tmp_path: Path) -> None:
    size, path = 1 << 28, tmp_path / "large.bin"
    with open(path, "wb") as file:
        file.truncate(size)  # takes no room on the disk
    before = fingerprint.of_file(str(path))
    gap = (size - fingerprint.BLOCK) / (fingerprint.SAMPLES - 1)
    for place in (0, size // 3, size // 2 + 17, size - int(gap)):
        with open(path, "r+b") as file:
            file.seek(place)
            file.write(b"\1" * (int(gap) - fingerprint.BLOCK + 2))
        assert fingerprint.of_file(str(path)).now != before.now
        with open(path, "r+b") as file:
            file.seek(place)
            file.write(bytes(int(gap) - fingerprint.BLOCK + 2))
    assert fingerprint.of_file(str(path)) == before


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    save(folder / "1.bmp", {"red": (40, 24)})
    save(folder / "2.bmp", {"blue": (40, 24)})
    return folder


def test_a_photo_that_was_replaced_at_the_same_size_and_time_is_read_again(store: Store, photos: Path) -> None:
    index(store, photos)
    assert index(store, photos).skipped
    save(photos.parent / "other.bmp", {"green": (40, 24)})
    write_back(photos / "1.bmp", (photos.parent / "other.bmp").read_bytes())
    again = index(store, photos)
    assert (again.skipped, again.new_frames, again.frames) == (False, 1, 2)
    assert index(store, photos).skipped


def test_a_photo_that_was_repaired_at_the_same_size_and_time_is_read_again(store: Store, photos: Path) -> None:
    sound = (photos / "1.bmp").read_bytes()
    (photos / "1.bmp").write_bytes(b"\0\0" + sound[2:])
    assert index(store, photos).damaged == 1
    assert index(store, photos).skipped
    write_back(photos / "1.bmp", sound)
    again = index(store, photos)
    assert (again.damaged, again.new_frames) == (0, 1)


def test_a_photo_that_could_not_be_read_is_tried_again(store: Store, photos: Path) -> None:
    (photos / "1.bmp").rename(photos.parent / "1.bmp")
    os.mkfifo(photos / "1.bmp")
    report = index(store, photos)
    assert "it is a pipe, not a file" in report.notes[0]
    os.unlink(photos / "1.bmp")
    (photos.parent / "1.bmp").rename(photos / "1.bmp")
    assert index(store, photos).new_frames == 1


def test_videos_of_two_films_with_equal_ends_are_two(store: Store, tmp_path: Path) -> None:
    video(tmp_path / "a.mp4", [{"red": (40, 24)}] * 10)
    index(store, tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(_changed(data))
    assert not index(store, tmp_path / "b.mp4").skipped
    assert len(store.sources()) == 2
