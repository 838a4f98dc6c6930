"""Folders of single pictures: each content once, damage counted, later runs take in what changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakes
import pytest
from fakes import photo

from vidmem.config import IndexConfig
from vidmem.errors import MediaError, UsageError
from vidmem.indexer.pictures import PicturesReport, index_pictures
from vidmem.indexer.plan import Album, planned
from vidmem.indexer.progress import Progress
from vidmem.media import Photos
from vidmem.memory import Memory
from vidmem.store import PICTURE_NS, Store


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    photo(folder / "1.png", "red", "blue")
    photo(folder / "2.png", "green", size=(fakes.WIDTH * 2, fakes.HEIGHT * 2))
    photo(folder / "sub" / "10.png", "yellow")
    shutil.copy(folder / "1.png", folder / "sub" / "copy.png")
    (folder / "sub" / "bad.jpg").write_text("no picture")
    (folder / "notes.txt").write_text("notes")
    photo(folder / ".hidden" / "x.png", "cyan")
    return folder


@pytest.fixture
def memory(tmp_path: Path, colours: None) -> Iterator[Memory]:
    with Memory.open(tmp_path / "memory", encoder="colours") as memory:
        yield memory


def index(
    memory: Memory, path: Path, progress: Progress | None = None, config: IndexConfig | None = None
) -> PicturesReport:
    """One folder or one photo."""
    told = None if progress is None else lambda path, album: progress
    (report,) = memory.index(path, on_source=told, config=config)
    assert isinstance(report, PicturesReport)
    return report


def held(store: Store) -> dict[str, Any]:
    (row,) = store.sources()
    return {
        "files": [(f.path, f.t_ns, f.cause) for f in store.picture_files(row.id)],
        "pictures": store.pictures(row.id),
        "tracks": [
            (t.ordinal, t.start_ns, t.best_box, t.text.tobytes(), t.visual.tobytes())
            for t in store.source_tracks(row.id)
        ],
        "regions": [
            (f.t_ns, f.tracks.tolist(), f.boxes.tolist(), f.masks.tobytes()) for f in store.regions(row.id, 0, 1 << 62)
        ],
        "source": (row.state, row.frames, row.damaged, row.next_t_ns),
    }


def test_each_content_once(memory: Memory, photos: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = index(memory, photos, lambda t_ns, n: seen.append((t_ns, n)))
    assert (report.files, report.looked, report.frames, report.new_frames, report.tracks) == (5, 5, 3, 3, 4)
    assert (report.copies, report.gone, report.damaged, report.skipped) == (1, 0, 1, False)
    assert [path for path, _ in report.unreadable] == ["sub/bad.jpg"]
    assert seen[-1] == (0, 5)
    state = held(memory.store)
    assert state["source"] == ("partial", 3, 1, 3 * PICTURE_NS)
    assert state["files"] == [
        ("1.png", 0, None),
        ("2.png", PICTURE_NS, None),
        ("sub/10.png", 2 * PICTURE_NS, None),
        ("sub/bad.jpg", None, "the picture cannot be read (not a picture)"),
        ("sub/copy.png", 0, None),
    ]
    assert [(p.width, p.height) for p in state["pictures"]] == [(160, 96), (320, 192), (160, 96)]
    boxes = {t[1]: t[2] for t in state["tracks"]}
    assert boxes[PICTURE_NS] == (16, 64, 80, 128)  # in pixels of that picture
    assert memory.sources()[0].kind == "pictures"


def test_answers_name_the_file(memory: Memory, photos: Path) -> None:
    memory.index(photos)
    answer = memory.haystack("red", "blue")
    assert answer.verdict == "yes"
    assert answer.anchor is not None
    assert answer.anchor.paths == (str(photos / "1.png"), str(photos / "sub" / "copy.png"))
    assert memory.haystack("red", "green").verdict == "no"
    assert memory.haystack("cyan", "green").verdict == "not found"
    (sighting,) = memory.where("green")
    assert sighting.picture == str(photos / "2.png")
    assert sighting.box == (16, 64, 80, 128)
    assert memory.picture(sighting, "green").width == 960
    with pytest.raises(MediaError, match="a single picture gives no video"):
        memory.clip(sighting, photos.parent / "c.mp4")
    with pytest.raises(UsageError, match="photos are not parsed"):
        memory.parse(str(photos), "coco")
    crop = (str(photos), sighting.frame_ns, sighting.box)
    assert memory.where(crop=crop)[0].picture == sighting.picture
    with pytest.raises(UsageError, match="there is no photo at that time"):
        memory.where(crop=(crop[0], 5, crop[2]))


def test_a_later_run_takes_in_what_changed(memory: Memory, photos: Path) -> None:
    memory.index(photos)
    again = index(memory, photos)
    assert (again.looked, again.skipped) == (0, True)
    photo(photos / "3.png", "brown")
    os.rename(photos / "2.png", photos / "moved.png")
    (photos / "sub" / "10.png").unlink()
    photo(photos / "sub" / "bad.jpg", "white")
    report = index(memory, photos)
    assert (report.files, report.looked, report.new_frames, report.gone) == (5, 3, 2, 1)
    assert report.unreadable == ()
    state = held(memory.store)
    assert [f[0] for f in state["files"]] == ["1.png", "3.png", "moved.png", "sub/bad.jpg", "sub/copy.png"]
    assert state["source"][0] == "done"
    assert memory.haystack("green", "green").anchor.paths == (str(photos / "moved.png"),)  # type: ignore[union-attr]
    assert memory.haystack("yellow", "red").verdict == "not found"  # deleted, and forgotten
    assert memory.haystack("white", "white").verdict == "yes"


class StopError(Exception):
    pass


@pytest.mark.parametrize("after", [1, 5, 9])
def test_interrupted_and_resumed_is_uninterrupted(
    memory: Memory, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "many"
    names = list(fakes.NAMES)
    for i in range(12):
        photo(folder / f"{i}.png", names[i % 8], names[(i * 3 + 1) % 8])
        photo(folder / f"{i}copy.png", names[i % 8], names[(i * 3 + 1) % 8])
    (folder / "5bad.png").write_text("x")
    config = IndexConfig(batch=2, checkpoint_frames=4)

    def stop(_: int, n: int) -> None:
        if n >= after:
            raise StopError

    with pytest.raises(StopError):
        index(memory, folder, stop, config)
    report = index(memory, folder, config=config)
    assert report.looked < 25 or after < 4
    with Memory.open(tmp_path / "other", encoder="colours") as whole:
        whole.index(folder, config=config)
        assert held(memory.store) == held(whole.store)


def test_nothing_of_it_stays_when_it_is_removed(memory: Memory, photos: Path, tmp_path: Path) -> None:
    memory.index(photos)
    assert files_with(tmp_path / "memory", b"sub/copy.png")
    memory.remove(str(photos))
    assert not files_with(tmp_path / "memory", b"sub/copy.png")


def test_a_thing_is_forgotten_and_the_pictures_stay(memory: Memory, photos: Path) -> None:
    memory.index(photos)
    memory.forget(thing="red", dry_run=False)
    assert memory.haystack("red", "blue").verdict == "not found"
    assert memory.haystack("blue", "blue").verdict == "yes"


def files_with(folder: Path, data: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and data in path.read_bytes()]


def test_film_and_single_pictures_do_not_mix(memory: Memory, photos: Path, tmp_path: Path) -> None:
    memory.index(photos)
    for path in (photos, photos / "sub"):
        with pytest.raises(UsageError, match=f"one by one, not as a film; `vidmem rm {photos}` first"):
            memory.index(path, film=True)
    with pytest.raises(UsageError, match="a film is a folder of pictures"):
        memory.index(photos / "1.png", film=True)
    with Memory.open(tmp_path / "film", encoder="colours") as film:
        film.index(photos, film=True)
        assert [(s.uri, s.kind) for s in film.sources()] == [(str(photos), "images"), (str(photos / "sub"), "images")]
        assert all(report.skipped for report in film.index(photos))  # it stays what it was
        assert all(report.skipped for report in film.index(photos / "1.png"))
        photo(photos / "new" / "1.png", "cyan")
        assert [r.info.kind for r in film.index(photos)] == ["images", "pictures", "images"]
        assert [s.uri for s in film.sources()][2:] == [str(photos / "new")]
        assert all(report.skipped for report in film.index(photos))


def test_bad_folders_fail(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="holds no video, log or picture"):
        memory.index(tmp_path / "empty")
    with pytest.raises(MediaError, match="no such file"):
        memory.index(tmp_path / "none")
    (tmp_path / "empty" / "a.png").write_text("x")
    (tmp_path / "empty" / "b.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(MediaError, match="none of the 2 pictures can be read"):
        memory.index(tmp_path / "empty")
    assert memory.sources() == []


def test_the_encoder_is_not_loaded_when_nothing_is_new(memory: Memory, photos: Path) -> None:
    memory.index(photos)

    def load() -> Any:
        raise AssertionError

    (album,) = planned([Photos(str(photos))], memory.store)
    assert isinstance(album, Album)
    assert index_pictures(album, load, memory.store, memory.settings()).new_frames == 0
