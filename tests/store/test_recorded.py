"""When sources and pictures were recorded, in the store; and a memory of before that was asked."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import pytest

from vidmem.errors import UsageError
from vidmem.records import SourceKind
from vidmem.store import Picture, PictureFile, Store
from vidmem.timecode import NS

from .making import add, info

THEN = 1_800_000_000 * NS


def test_it_is_kept_and_mended(store: Store) -> None:
    row = store.begin_source(dataclasses.replace(info(), start_ns=THEN, recorded_by="container"))
    assert (row.start_ns, row.recorded_by) == (THEN, "container")
    again = store.begin_source(dataclasses.replace(info(), start_ns=5, recorded_by="mtime"))
    assert (again.start_ns, again.recorded_by) == (THEN, "container")  # what is known stays
    store.set_recorded(row.id, 7, "given")
    assert (store.source_by_id(row.id).start_ns, store.source_by_id(row.id).recorded_by) == (7, "given")
    store.set_recorded(row.id, None, "given")
    again = store.begin_source(dataclasses.replace(info(), start_ns=5, recorded_by="mtime"))
    assert (again.start_ns, again.recorded_by) == (None, "given")  # nobody looks again


@pytest.mark.parametrize("kind", [SourceKind.LOG, SourceKind.LIVE, SourceKind.EPISODE, SourceKind.PICTURES])
def test_times_of_their_own_stay(store: Store, kind: str) -> None:
    row = store.begin_source(dataclasses.replace(info(), kind=kind))
    with pytest.raises(UsageError, match="times of its own"):
        store.set_recorded(row.id, THEN, "given")
    assert store.source_by_id(row.id).start_ns is None


def test_pictures(store: Store) -> None:
    row = store.begin_source(dataclasses.replace(info("photos"), kind=SourceKind.PICTURES))
    held = [Picture(0, b"a" * 32, 8, 8, THEN, "exif"), Picture(10, b"b" * 32, 8, 8)]
    add(store, row.id, [], files=[PictureFile("a.jpg", 1, 1, 0), PictureFile("b.jpg", 1, 1, 10)], pictures=held)
    assert store.pictures_recorded(row.id) == {0: (THEN, "exif"), 10: (None, "")}
    assert store.pictures_recorded(row.id, [10, 99]) == {10: (None, "")}
    store.set_pictures_recorded(row.id, {10: (7, "given"), 99: (1, "given")})
    assert [(p.recorded_ns, p.recorded_by) for p in store.pictures(row.id)] == [(THEN, "exif"), (7, "given")]


LATER = (("sources", "stamp"), ("sources", "content"), ("picture_files", "sample"), ("tracks", "crc"))
"""Columns of later steps."""


def test_a_memory_of_before(store: Store, folder: Path) -> None:
    """Logs and live sources keep their time; of others none was known, until they are indexed again."""
    for name, kind, start in (("a.mcap#/cam", "log", THEN), ("cam0", "live", 5), ("walk.mp4", "video", None)):
        store.begin_source(dataclasses.replace(info(name, name), kind=kind, start_ns=start))
    store.close()
    conn = sqlite3.connect(folder / "memory.sqlite")
    with conn:
        for table, column in (
            ("sources", "recorded_by"),
            ("pictures", "recorded_ns"),
            ("pictures", "recorded_by"),
            *LATER,
        ):
            conn.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        for table in ("standing", "told"):
            conn.execute(f"DROP TABLE {table}")
        conn.execute("DELETE FROM migrations WHERE number >= 5")
    conn.close()
    with Store.open(folder) as again:  # a reader does it, too
        assert [(r.start_ns, r.recorded_by) for r in again.sources()] == [(THEN, "log"), (5, "live"), (None, "")]
    with Store.open(folder, write=True) as again:
        told = dataclasses.replace(info("walk.mp4", "walk.mp4"), start_ns=7, recorded_by="name")
        assert (again.begin_source(told).start_ns, again.sources()[2].recorded_by) == (7, "name")
