"""Dating sources: what may be given as a date, for which sources, and what each method finds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from PIL import Image
from store.making import MODEL, add, info

from vidmem.address import Address
from vidmem.errors import UsageError
from vidmem.indexer.dating import Choice, Dated, apply, check, parse_choice, redate
from vidmem.indexer.plan import Album
from vidmem.media.recorded import Recorded
from vidmem.records import SourceKind
from vidmem.store import Picture, PictureFile, SourceRow, Store
from vidmem.timecode import NS

NAMED = int(datetime(2026, 1, 31, 8, 30, tzinfo=UTC).timestamp()) * NS
"""The time in the name of `EARLY`, which ends with Z for UTC."""
EARLY = "20260131_083000Z"
WRITTEN = 1_700_000_000 * NS
TAKEN = int(datetime(2026, 1, 31, 18, 2, tzinfo=UTC).timestamp()) * NS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory", create=True) as store:
        store.set_model(MODEL)
        yield store


def photo(path: Path, taken: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (8, 8))
    exif = image.getexif()
    if taken is not None:
        exif.get_ifd(0x8769).update({0x9003: taken, 0x9011: "+00:00"})
    image.save(path, exif=exif)
    os.utime(path, ns=(WRITTEN, WRITTEN))
    return path


def begun(
    store: Store, folder: Path, name: str, kind: SourceKind = SourceKind.VIDEO, duration_ns: int = 0
) -> SourceRow:
    made = replace(info(name, name, str(folder)), kind=kind, duration_ns=duration_ns)
    return store.begin_source(replace(made, start_ns=5, recorded_by="given"))


@pytest.fixture
def album(store: Store, tmp_path: Path) -> SourceRow:
    """Three photos: one has a date in its name, one in its EXIF, one has none; the last file of four has no picture."""
    folder = tmp_path / "album"
    names = (f"{EARLY}.jpg", "day/taken.jpg", "day/3.jpg")
    for name in names:
        photo(folder / name, "2026:01:31 18:02:00" if "taken" in name else None)
    row = begun(store, tmp_path, "album", SourceKind.PICTURES)
    files = [PictureFile(name, 1, 1, number * 10) for number, name in enumerate(names)]
    files.append(PictureFile("day/broken.jpg", 1, 1, None, "damaged"))
    held = [Picture(number * 10, bytes([number]) * 32, 8, 8) for number in range(3)]
    add(store, row.id, [], files=files, pictures=held)
    return row


def test_a_method_is_chosen_by_its_name() -> None:
    for method in ("container", "name", "mtime", "none"):
        assert parse_choice(f" {method} ") == Choice(method, Recorded(None, "given"))


@pytest.mark.parametrize(
    ("when", "by"),
    [
        ("2026-01-31T08:30Z", "given"),
        (datetime(2026, 1, 31, 8, 30, tzinfo=UTC), "given"),
        ("2026-01-31", "day"),
        (date(2026, 1, 31), "day"),
    ],
)
def test_a_date_without_a_time_sets_the_day(when: str | date, by: str) -> None:
    choice = parse_choice(when)
    assert (choice.method, choice.given.by) == ("", by)
    local = int(datetime(2026, 1, 31).timestamp()) * NS
    assert choice.given.ns == (NAMED if by == "given" else local)


def test_what_is_neither_a_date_nor_a_method_is_refused_with_the_forms() -> None:
    forms = "write 2026-01-31T08:30, 2026-01-31, yesterday 18:02, container, name, mtime or none"
    with pytest.raises(UsageError, match=f"^'nmae' is not a date; {forms}$"):
        parse_choice("nmae")
    with pytest.raises(UsageError, match=f"^'1:02' is a time in a video; say when the recording began: {forms}$"):
        parse_choice("1:02")


@pytest.mark.parametrize(
    ("method", "yes", "no"),
    [
        ("container", ("container", "exif"), ("name", "day", "mtime", "given", "")),
        ("name", ("name", "day"), ("container", "exif", "mtime", "given")),
        ("mtime", ("mtime",), ()),
        ("", ("given", "day"), ()),
    ],
)
def test_a_time_may_come_from_a_method(method: str, yes: tuple[str, ...], no: tuple[str, ...]) -> None:
    assert all(Choice(method).matches(by) for by in yes)
    assert not any(Choice(method).matches(by) for by in no)


ONE = Address("/videos/a.mp4")


def test_one_date_is_for_one_source_and_a_method_is_for_many() -> None:
    given = Choice("", Recorded(NAMED, "given"))
    check(given, [])
    check(given, [ONE])
    check(Choice("name"), [ONE, Address("/videos/b.mp4"), Album("/photos")])
    with pytest.raises(UsageError, match=r"^2 sources did not begin at one time; .*`vidmem recorded SOURCE WHEN`$"):
        check(given, [ONE, ONE])
    with pytest.raises(UsageError, match=r"^each photo has a date of its own; `vidmem recorded PHOTO WHEN` sets one$"):
        check(given, [Album("/photos")])


def test_a_log_and_an_episode_keep_their_own_times_whatever_the_method(tmp_path: Path) -> None:
    log = Address("/logs/a.mcap", "/cam")
    with pytest.raises(UsageError, match=r"^a log source has a clock of its own, .*: /logs/a.mcap#/cam$"):
        check(Choice("name"), [ONE, log])
    dataset = tmp_path / "pusht"
    (dataset / "meta").mkdir(parents=True)
    (dataset / "meta" / "info.json").write_text('{"codebase_version": "v2.1"}')
    with pytest.raises(UsageError, match=r"^an episode counts from its start, .*: .*pusht#0"):
        check(Choice("none"), [Address(str(dataset), "0")])


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (SourceKind.LIVE, "a live source has a clock of its own"),
        (SourceKind.EPISODE, "an episode counts from its start"),
    ],
)
def test_a_known_source_with_times_of_its_own_is_not_dated(
    store: Store, tmp_path: Path, kind: SourceKind, cause: str
) -> None:
    row = begun(store, tmp_path, "a#b", kind)
    with pytest.raises(UsageError, match=rf"^{cause}, which its times are on; leave it as it is: .*a#b$"):
        apply(store, row, Choice("none"))
    assert store.source_by_id(row.id).start_ns == 5


def recorded(store: Store, row: SourceRow) -> tuple[int | None, str]:
    now = store.source_by_id(row.id)
    return now.start_ns, now.recorded_by


def test_a_video_is_dated_by_what_is_given_by_its_name_or_not_at_all(store: Store, tmp_path: Path) -> None:
    row = begun(store, tmp_path, f"{EARLY}.mp4")
    assert apply(store, row, Choice("", Recorded(7, "day"))) == Dated(row.uri, 7, "day", True, 0, 0)
    assert recorded(store, row) == (7, "day")
    assert apply(store, row, Choice("name")) == Dated(row.uri, NAMED, "name", True)
    assert recorded(store, row) == (NAMED, "name")
    assert apply(store, row, Choice("none")) == Dated(row.uri, None, "given", True)
    assert recorded(store, row) == (None, "given")


@pytest.mark.parametrize("method", ["name", "mtime", "container"])
def test_a_method_that_finds_nothing_changes_nothing(store: Store, tmp_path: Path, method: str) -> None:
    row = begun(store, tmp_path, "walk.mp4")
    assert apply(store, row, Choice(method)) == Dated(row.uri, 5, "given", False)
    assert recorded(store, row) == (5, "given")
    cause = {"name": "its name has no date", "container": "the file has no date written in it"}.get(
        method, "the file does not exist, or its time is not set"
    )
    with pytest.raises(UsageError, match="^" + cause + r"; give one, such as 2026-01-31T08:30: walk\.mp4$"):
        redate(store, "walk.mp4", Choice(method))


def test_the_time_of_a_file_is_that_of_its_end(store: Store, tmp_path: Path) -> None:
    (tmp_path / "walk.mp4").write_bytes(b"x")
    os.utime(tmp_path / "walk.mp4", ns=(WRITTEN, WRITTEN))
    row = begun(store, tmp_path, "walk.mp4", duration_ns=60 * NS)
    assert redate(store, "walk.mp4", Choice("mtime")) == Dated(row.uri, WRITTEN - 60 * NS, "mtime", True)


def test_a_film_of_pictures_is_dated_by_its_first_one(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "film"
    photo(folder / f"2_{EARLY}.jpg")
    photo(folder / "10.jpg")
    first = photo(folder / "1.jpg", "2026:01:31 18:02:00")
    row = begun(store, tmp_path, "film", SourceKind.IMAGES, duration_ns=60 * NS)
    assert apply(store, row, Choice("container")) == Dated(row.uri, TAKEN, "exif", True)
    assert apply(store, row, Choice("mtime")) == Dated(row.uri, WRITTEN, "mtime", True)  # written at its start
    assert not apply(store, row, Choice("name")).changed
    first.unlink()
    assert apply(store, row, Choice("name")) == Dated(row.uri, NAMED, "name", True)
    (folder / "10.jpg").unlink()
    (folder / f"2_{EARLY}.jpg").unlink()
    os.utime(folder, ns=(WRITTEN, WRITTEN))
    assert apply(store, row, Choice("mtime")).start_ns == WRITTEN  # of the folder, which is empty
    folder.rmdir()
    assert apply(store, row, Choice("mtime")).changed is False


def test_a_film_of_one_picture_is_dated_as_a_photo(store: Store, tmp_path: Path) -> None:
    photo(tmp_path / "one.jpg", "2026:01:31 18:02:00")
    row = begun(store, tmp_path, "one.jpg", SourceKind.IMAGE, duration_ns=60 * NS)
    assert apply(store, row, Choice("container")) == Dated(row.uri, TAKEN, "exif", True)
    assert apply(store, row, Choice("mtime")) == Dated(row.uri, WRITTEN, "mtime", True)


def test_all_photos_of_a_folder_are_dated_each_by_its_own(store: Store, album: SourceRow) -> None:
    assert apply(store, album, Choice("mtime")) == Dated(album.uri, WRITTEN, "mtime", True, 3, 0)
    assert apply(store, album, Choice("name")) == Dated(album.uri, NAMED, "name", True, 1, 2)
    assert apply(store, album, Choice("container")) == Dated(album.uri, TAKEN, "exif", True, 1, 2)
    assert store.pictures_recorded(album.id) == {0: (NAMED, "name"), 10: (TAKEN, "exif"), 20: (WRITTEN, "mtime")}
    assert apply(store, album, Choice("name"), [10, 20]) == Dated(album.uri, None, "", False, 0, 2)
    assert apply(store, album, Choice("none"), [10, 99]) == Dated(album.uri, None, "given", True, 1, 1)
    assert store.pictures_recorded(album.id)[10] == (None, "given")


def test_one_photo_is_named_by_its_path_or_the_end_of_it(store: Store, tmp_path: Path, album: SourceRow) -> None:
    given = Choice("", Recorded(7, "given"))
    for name, t_ns in (
        (str(tmp_path / "album" / "day" / "3.jpg"), 20),
        ("3.jpg", 20),
        ("day/3.jpg", 20),
        (f"{EARLY}.jpg", 0),
    ):
        assert redate(store, name, given) == Dated(album.uri, 7, "given", True, 1, 0)
        assert store.pictures_recorded(album.id)[t_ns] == (7, "given")
        assert apply(store, album, Choice("mtime")).pictures == 3
    for name in ("jpg", "ay/3.jpg", "broken.jpg", "other/3.jpg", "4.jpg"):
        with pytest.raises(UsageError, match=r"no source is called|is a photo"):
            redate(store, name, given)


def test_a_name_that_two_photos_have_means_neither(store: Store, tmp_path: Path) -> None:
    row = begun(store, tmp_path, "album", SourceKind.PICTURES)
    files = [PictureFile("a/1.jpg", 1, 1, 0), PictureFile("b/1.jpg", 1, 1, 10), PictureFile("1.jpg", 1, 1, 20)]
    held = [Picture(t, bytes([t]) * 32, 8, 8) for t in (0, 10, 20)]
    add(store, row.id, [], files=files, pictures=held)
    given = Choice("", Recorded(7, "given"))
    with pytest.raises(UsageError, match=r"'1\.jpg' is a photo; the source is its folder"):
        redate(store, "1.jpg", given)
    assert redate(store, str(tmp_path / "album" / "1.jpg"), given).pictures == 1  # all of its path is clear
    assert store.pictures_recorded(row.id) == {0: (None, ""), 10: (None, ""), 20: (7, "given")}


def test_a_photo_is_found_in_a_second_folder_and_behind_a_video(store: Store, tmp_path: Path, album: SourceRow) -> None:
    begun(store, tmp_path, "walk.mp4")
    other = begun(store, tmp_path, "other", SourceKind.PICTURES)
    held = [Picture(0, b"z" * 32, 8, 8)]
    add(store, other.id, [], files=[PictureFile("new.jpg", 1, 1, 0)], pictures=held)
    assert redate(store, "new.jpg", Choice("", Recorded(7, "given"))).uri == other.uri


def test_a_folder_of_photos_takes_a_method_and_no_date(store: Store, album: SourceRow) -> None:
    with pytest.raises(
        UsageError, match=r"^each picture has a date of its own; .*, or give container, name, mtime or none: .*album$"
    ):
        redate(store, "album", Choice("", Recorded(7, "given")))
    assert redate(store, "album", Choice("mtime")).pictures == 3
