"""Memories that vidmem did not write: each is refused with a StoreError, and nothing outside the folder is touched."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sqlite3
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidmem.config import IndexConfig
from vidmem.encoders.probability import Probabilities
from vidmem.errors import StoreError, UsageError
from vidmem.query.retention import plan
from vidmem.records import Mark, Trail, ViewMark
from vidmem.store import Picture, PictureFile, Store, VectorCache, cache_build, cache_file
from vidmem.store.phrase_cache import PhraseCache
from vidmem.store.source_names import source_names
from vidmem.timecode import parse_moment

from .making import DT, DV, MODEL, add, frame, info, track

FILES = (
    "memory.sqlite",
    "memory.sqlite-wal",
    "memory.sqlite-shm",
    "memory.sqlite-journal",
    "lock",
    "cache.lock",
    "cache/vectors.bin",
    "cache/texts.sqlite",
)
CURVE = {"bias": 0.0, "score": 1.0, "share": 1.0, "questions": 9, "right": 9, "wrong": 9, "best": 0.0}


@pytest.fixture
def made(folder: Path) -> Path:
    """A closed memory with a row in every table, and a cache."""
    with Store.open(folder, create=True) as store:
        store.set_model(MODEL)
        row = store.begin_source(info())
        seen = ViewMark(12, (0.0, 0.0, 5.0, 5.0), 0.5, b"webp", (0.1, 0.2), 0.9)
        add(
            store,
            row.id,
            [track(0), track(1, views=(seen,)), track(2)],
            [frame(0, [0, 1]), frame(10, [1])],
            marks=[(0, Mark(7, 8, 1))],
            cuts=[10],
            state="done",
            files=[PictureFile("a/b.jpg", 5, 6, 0)],
            pictures=[Picture(0, b"h" * 32, 640, 480)],
        )
        store.set_trail(row.id, Trail("tf", "map", np.array([0, 5]), np.ones((2, 7))))
        store.set_fitted("w", {"text": CURVE})
        VectorCache(store)
        PhraseCache(store).put([(b"k", np.ones((1, DT), np.float32))])
    return folder


def alter(folder: Path, sql: str, *values: Any) -> None:
    """Where any column takes anything."""
    conn = sqlite3.connect(folder / "memory.sqlite")
    before = conn.execute("SELECT sql, name FROM sqlite_master WHERE type = 'table'").fetchall()
    conn.execute("PRAGMA writable_schema = ON")
    conn.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE type = 'table'")
    conn.commit()
    conn.close()
    conn = sqlite3.connect(folder / "memory.sqlite")
    with conn:
        conn.execute(sql, values)
    if sql.startswith(("UPDATE", "DELETE", "INSERT")):  # the schema is as it was, but the rows break it
        conn.execute("PRAGMA writable_schema = ON")
        with conn:
            conn.executemany("UPDATE sqlite_master SET sql = ? WHERE name = ?", before)
    conn.close()


def read_all(folder: Path) -> None:
    """Everything that a Store tells."""
    with Store.open(folder) as store:
        store.model()
        store.stats()
        store.fitted("w")
        store.stale_sources()
        store.extent()[0]
        store.memory_id()
        store.photo("b.jpg")
        for row in store.sources():
            assert row.state in ("open", "done", "partial")
            store.source_tracks(row.id)
            store.views(row.id)
            store.cuts(row.id)
            store.next_ordinal(row.id)
            store.marks(row.id, 0, 100)
            store.trail(row.id)
            store.pictures(row.id)
            store.picture_files(row.id)
            store.picture_paths(row.id, [0])
            list(store.regions(row.id, 0, 100))
            store.boxes(row.id, 0, 100)
        cache = VectorCache(store)
        rows, _ = cache.range_search("visual", np.ones(DV, np.float32), -1)
        store.tracks(cache.columns.ids[rows].tolist())


def write_all(folder: Path) -> None:
    """What reads before it writes."""
    with Store.open(folder, write=True) as store:
        store.begin_source(info("other.mp4", "f2"))
        row = store.sources()[0]
        before = parse_moment("8s", "before")
        plan(store, before=before, sources=[row.uri])
        store.begin_tokens(replace(MODEL, encoder="other"))
        store.compact()
        store.remove_source(row.id)


def test_a_sound_memory_is_read_and_written(made: Path) -> None:
    read_all(made)
    write_all(made)


def kept(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("use", [read_all, write_all])
@pytest.mark.parametrize("name", FILES)
def test_a_link_in_place_of_a_file_fails(made: Path, tmp_path: Path, name: str, use: Callable[[Path], None]) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    victim = theirs / "victim"
    victim.write_bytes((made / name).read_bytes() if (made / name).exists() else b"precious")
    before = kept(theirs)
    (made / name).unlink(missing_ok=True)
    (made / name).symlink_to(victim)
    with pytest.raises(StoreError, match=rf"holds a link in place of a file \({os.path.basename(name)}\).*{made}$"):
        use(made)
    assert kept(theirs) == before


@pytest.mark.parametrize("use", [read_all, write_all])
def test_a_link_in_place_of_the_cache_fails(made: Path, tmp_path: Path, use: Callable[[Path], None]) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "work.tmp").write_text("precious")
    (made / "cache" / "vectors.bin").unlink()
    (made / "cache" / "texts.sqlite").unlink()
    (made / "cache").rmdir()
    (made / "cache").symlink_to(theirs)
    with pytest.raises(StoreError, match=r"holds a link in place of a folder \(cache\)"):
        use(made)
    assert kept(theirs) == {"work.tmp": b"precious"}


@pytest.mark.parametrize("name", FILES)
def test_a_pipe_in_place_of_a_file_fails(made: Path, name: str) -> None:
    (made / name).unlink(missing_ok=True)
    os.mkfifo(made / name)
    with pytest.raises(StoreError, match="holds a pipe or a device in place of a file"):
        Store.open(made)
    with pytest.raises(StoreError, match="holds a pipe or a device in place of a file"):
        source_names(made)


def test_a_folder_in_place_of_a_file_fails(made: Path) -> None:
    (made / "lock").unlink()
    (made / "lock").mkdir()
    with pytest.raises(StoreError, match="holds a folder in place of a file"):
        Store.open(made, write=True)


def test_the_folder_itself_may_be_a_link(made: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to(made)
    read_all(tmp_path / "mine")
    write_all(tmp_path / "mine")


ENDLESS = "CREATE VIEW {} AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT {} FROM r"


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE theirs (x)",
        "CREATE INDEX theirs ON tracks (frames)",
        "CREATE TRIGGER theirs AFTER UPDATE ON sources BEGIN DELETE FROM tracks; END",
        "CREATE VIEW theirs AS SELECT 1",
        "ALTER TABLE tracks ADD COLUMN more INTEGER GENERATED ALWAYS AS (length(zeroblob(1000000000)))",
        "DROP TABLE cuts",
        "DROP TABLE migrations",
        "DELETE FROM migrations",
        "UPDATE migrations SET number = -1 - number",
    ],
)
def test_a_schema_of_another_making_fails(made: Path, sql: str, write: bool) -> None:
    alter(made, sql)
    with pytest.raises(StoreError, match=r"the memory is damaged \(.*restore it from a backup"):
        Store.open(made, write=write)


@pytest.mark.parametrize(
    ("table", "columns"),
    [("tracks", "x AS id, 1 AS source_id"), ("migrations", "x AS number"), ("sources", "x AS id, 'a' AS uri")],
)
def test_an_endless_view_is_never_asked(made: Path, table: str, columns: str) -> None:
    alter(made, f"DROP TABLE {table}")
    alter(made, ENDLESS.format(table, columns))
    with pytest.raises(StoreError, match="holds a view that vidmem did not make"):
        Store.open(made)


def test_the_prompt_asks_no_view(made: Path) -> None:
    assert source_names(made).sources == [info().uri]
    alter(made, "DROP TABLE sources")
    alter(made, ENDLESS.format("sources", "x AS id, 'a' AS uri"))
    with pytest.raises(StoreError, match="holds a view that vidmem did not make"):
        source_names(made)


FAR = 1 << 62
BLOB, WORD = b"\xff" * 5, "word"
DAMAGE = [
    *[("tracks", c, v) for c in ("start_ns", "end_ns", "best_ns") for v in (WORD, BLOB, None, FAR, 0.5)],
    *[("tracks", c, v) for c in ("frames", "ordinal") for v in (WORD, -1, FAR)],
    *[("tracks", c, v) for c in ("x0", "y1") for v in (WORD, BLOB, None, float("inf"), 1e300)],
    *[("tracks", c, v) for c in ("visual", "text") for v in (WORD, 5, None, b"x", b"")],
    *[("tracks", c, np.full(n, np.nan, "<f2").tobytes()) for c, n in (("visual", DV), ("text", DT))],
    *[("tracks", c, v) for c in ("confidence", "text_confidence") for v in (WORD, None, -0.1, 2.0, float("inf"))],
    *[("sources", "uri", v) for v in (BLOB, None, "", "a\0b")],
    *[("sources", c, v) for c in ("kind", "fingerprint") for v in (BLOB, None)],
    *[("sources", "state", v) for v in (WORD, BLOB, None, 1)],
    *[("sources", c, v) for c in ("width", "height") for v in (WORD, -1, 2_000_000_000)],
    *[("sources", c, v) for c in ("duration_ns", "added_at", "next_t_ns", "finished_at") for v in (WORD, BLOB, FAR)],
    ("sources", "duration_ns", -1),
    *[("sources", c, v) for c in ("frames", "damaged", "stale") for v in (WORD, BLOB)],
    *[("sources", "tracker_state", v) for v in (WORD, 5, None)],
    *[("model", c, v) for c in ("encoder", "weights", "regions") for v in (BLOB, None)],
    *[("model", c, v) for c in ("visual_dim", "text_dim") for v in (WORD, -1, 1 << 40, 7)],
    *[
        ("model", "config", v)
        for v in (
            BLOB,
            None,
            "",
            "5",
            "[]",
            "[" * 100_000,
            '{"a":' * 9 + "1" + "}" * 9,
            '{"a": 1e999}',
            '{"a": ' + "9" * 400 + "}",
        )
    ],
    *[("meta", "value", v) for v in (WORD, "1" * 400, "-1", "-1e308", BLOB, "")],
    *[("regions", "blob", v) for v in (WORD, 5, None, b"", BLOB)],
    *[("views", c, v) for c in ("x0", "quality") for v in (WORD, None, float("inf"))],
    *[("views", "t_ns", v) for v in (WORD, FAR)],
    *[("views", "image", v) for v in (WORD, 5)],
    *[("views", "hint", v) for v in (WORD, 5, None)],
    *[("views", "confidence", v) for v in (WORD, 7.0)],
    *[("marks", c, v) for c in ("late_ns", "stamp_late_ns") for v in (WORD, FAR)],
    ("marks", "sequence", WORD),
    *[
        ("trails", "blob", v)
        for v in (WORD, BLOB, b"", zlib.compress(b"x" * 100), zlib.compress(np.full(8, np.nan).tobytes()))
    ],
    *[("trails", c, v) for c in ("topic", "frame") for v in (BLOB, None)],
    ("cuts", "t_ns", WORD),
    *[("pictures", c, v) for c in ("width", "height") for v in (WORD, -1, 2_000_000_000)],
    *[("pictures", "hash", v) for v in (WORD, None)],
    *[("picture_files", "path", v) for v in (BLOB, "../../etc/passwd", "/etc/passwd", "a\0b", "")],
    *[("picture_files", c, v) for c in ("size", "mtime_ns", "t_ns") for v in (WORD, BLOB)],
    ("picture_files", "cause", BLOB),
]


@pytest.mark.parametrize(("table", "column", "value"), DAMAGE)
def test_a_value_that_vidmem_does_not_write_fails(made: Path, table: str, column: str, value: object) -> None:
    (made / "cache" / "vectors.bin").unlink()
    which = {"meta": " WHERE key IN ('generation', 'removed', 'fitted')", "tracks": " WHERE id = 2"}.get(table, "")
    alter(made, f"UPDATE {table} SET {column} = ?{which}", value)
    with pytest.raises(StoreError, match=rf"damaged.*{made}$"):
        read_all(made)


@pytest.mark.parametrize(
    ("column", "value"), [("start_ns", WORD), ("start_ns", FAR), ("recorded_by", BLOB), ("recorded_by", WORD)]
)
def test_a_recording_time_that_is_none_is_not_known(made: Path, column: str, value: object) -> None:
    alter(made, f"UPDATE sources SET start_ns = 5, recorded_by = 'given', {column} = ?", value)
    read_all(made)
    with Store.open(made) as store:
        (row,) = store.sources()
    assert (row.start_ns, row.recorded_by) in ((None, ""), (5, ""))


@pytest.mark.parametrize("value", [-1e308, "9" * 30, 1 << 62], ids=["float", "text", "far"])
def test_the_time_of_a_photo_that_vidmem_does_not_write_fails(made: Path, value: object) -> None:
    alter(made, "UPDATE pictures SET t_ns = ?", value)
    with Store.open(made) as store, pytest.raises(StoreError, match="damaged"):
        store.pictures_recorded(1)


def test_poses_of_any_length_are_not_unpacked(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.store.log_data._MAX_BYTES", 1 << 10)
    alter(made, "UPDATE trails SET blob = ?", zlib.compress(bytes(1 << 20)))
    with Store.open(made) as store, pytest.raises(StoreError, match="poses of source 1 are damaged"):
        store.trail(1)


def test_a_bug_of_arguments_is_no_damage_when_writing(store: Store) -> None:
    row = store.begin_source(info())
    with pytest.raises(ValueError, match="state must be"):
        add(store, row.id, [], state="dreaming")


def test_what_was_asked_is_no_damage(made: Path) -> None:
    with Store.open(made) as store, pytest.raises(UnicodeEncodeError):
        store.source("\udcff.mp4")


def test_random_damage_never_breaks_out(made: Path) -> None:
    """Any values in any columns end in an answer or a StoreError."""
    sound = (made / "memory.sqlite").read_bytes()
    chance = random.Random(17)
    conn = sqlite3.connect(made / "memory.sqlite")
    tables = [name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    columns = [(t, c[1]) for t in tables if t != "sqlite_sequence" for c in conn.execute(f"PRAGMA table_info({t})")]
    conn.close()
    values = [
        None,
        -1,
        0,
        1,
        2**63 - 1,
        -(2**63),
        10**18,
        1e308,
        float("inf"),
        0.5,
        "",
        "x\x1b[31m\u202e/z",
        "9" * 400,
        b"",
        b"\0",
        b"\xff" * 48,
        '{"a": 1}',
        "[]",
        "done",
        "pictures",
        "log",
        "given",
    ]
    refused = 0
    for _ in range(120):
        for path in made.iterdir():
            if path.is_file():
                path.unlink()
        (made / "cache" / "vectors.bin").unlink(missing_ok=True)
        (made / "memory.sqlite").write_bytes(sound)
        for table, column in chance.sample(columns, chance.choice([1, 1, 3])):
            with contextlib.suppress(sqlite3.IntegrityError):  # text for a row's number
                alter(made, f"UPDATE OR IGNORE {table} SET {column} = ?", chance.choice(values))
        for use in (read_all, write_all):
            try:
                use(made)
            except (StoreError, UsageError):
                refused += 1
    assert refused > 60


@pytest.mark.parametrize(
    "change",
    [
        {"visual": np.zeros((3, 5), np.float16)},
        {"text": np.zeros((3, 5), np.float16)},
        {"generation": 99},
        {"columns": np.zeros((6, 3), np.int64)},
        {"scale": np.full((2, 3), np.nan, np.float32)},
        {"scale": np.full((2, 3), np.inf, np.float32)},
        {"scale": np.full((2, 3), -1, np.float32)},
    ],
)
def test_a_cache_of_another_making_is_rebuilt(made: Path, change: dict[str, Any]) -> None:
    with Store.open(made) as store:
        want = cache_build.current(store)
        cache_file.save(store.folder, replace(want, **change))
        got = cache_build.current(store)
    np.testing.assert_array_equal(got.columns, want.columns)
    np.testing.assert_array_equal(got.visual, want.visual)
    np.testing.assert_array_equal(got.scale, want.scale)
    assert got.generation == want.generation


def test_a_cache_with_other_rows_is_rebuilt(made: Path) -> None:
    with Store.open(made) as store:
        want = cache_build.current(store)
        for rows in ([0, 1], [0, 1, 1, 2]):
            cache_file.save(
                store.folder,
                cache_file.CacheData(
                    want.memory,
                    want.generation,
                    want.columns[:, rows],
                    want.visual[rows],
                    want.text[rows],
                    want.scale[:, rows],
                ),
            )
            np.testing.assert_array_equal(cache_build.current(store).columns, want.columns)


@pytest.mark.parametrize("times", [(-FAR, 0), (0, FAR)])
def test_a_cache_with_times_out_of_range_is_rebuilt(made: Path, times: tuple[int, int]) -> None:
    with Store.open(made) as store:
        want = cache_build.current(store)
        columns = want.columns.copy()
        columns[3:5, 1] = times
        cache_file.save(store.folder, replace(want, columns=columns))
        np.testing.assert_array_equal(cache_build.current(store).columns, want.columns)


HEAD = '{"format": 1, "memory": "%s", "generation": 1, "rows": 3, "dims": [24, 16], "crc32": 0}'


@pytest.mark.parametrize(
    "head",
    [
        "[]",
        "[" * 4000,
        "5",
        "{}",
        "\xff",
        HEAD.replace(": 3", ": 1e999"),
        HEAD.replace(": 3", ": " + "9" * 300),
        HEAD.replace(": 3", ": -3"),
        HEAD.replace(": 3", ': "3"'),
        HEAD.replace(": 3", ": true"),
        HEAD.replace("[24, 16]", "[[24], 16]"),
        HEAD.replace("[24, 16]", "null"),
        HEAD.replace("[24, 16]", '"ab"'),
    ],
)
def test_a_cache_header_of_another_making_is_rebuilt(made: Path, head: str) -> None:
    path = made / "cache" / "vectors.bin"
    with Store.open(made) as store:
        want = cache_build.current(store).columns.copy()
        text = head.replace("%s", store.memory_id()).encode("latin-1")
        path.write_bytes((struct.pack("<8sII", b"VMCACHE\0", len(text), zlib.crc32(text)) + text).ljust(5000, b"\0"))
        np.testing.assert_array_equal(cache_build.current(store).columns, want)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE texts SET vectors = 'word'",
        "UPDATE texts SET width = 1, vectors = x'0000c07f'",
        "UPDATE texts SET width = 'word'",
        "UPDATE texts SET width = 0",
        "UPDATE texts SET vectors = x'00'",
        "CREATE VIEW more AS SELECT 1",
        "CREATE TRIGGER more AFTER INSERT ON texts BEGIN DELETE FROM texts; END",
    ],
)
def test_texts_of_another_making_are_made_anew(made: Path, sql: str) -> None:
    with Store.open(made) as store:
        (found,) = PhraseCache(store).get([b"k"])
        assert found is not None
        conn = sqlite3.connect(made / "cache" / "texts.sqlite")
        with conn:
            conn.execute(sql)
        conn.close()
        assert PhraseCache(store).get([b"k"]) == [None]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bias", 10**400),
        ("bias", True),
        ("bias", "1"),
        ("bias", None),
        ("bias", 1e308),
        ("bias", float("nan")),
        ("score", -1.0),
        ("share", -0.1),
        ("best", -1),
        ("questions", 1.5),
        ("right", -1),
        ("wrong", []),
    ],
)
def test_a_curve_that_was_not_fitted_fails(name: str, value: object) -> None:
    assert Probabilities.from_dict({"text": CURVE})
    with pytest.raises(ValueError, match=f"'text' has no valid {name}"):
        Probabilities.from_dict({"text": {**CURVE, name: value}})


@pytest.mark.parametrize("data", [[], "text", None, {"text": 5}, {"words": CURVE}, {"text": {**CURVE, "more": 1}}])
def test_curves_of_another_shape_fail(data: Any) -> None:
    with pytest.raises(ValueError, match="not a curve"):
        Probabilities.from_dict(data)


@pytest.mark.parametrize(
    "settings",
    [
        {"fps": "5"},
        {"fps": True},
        {"fps": float("nan")},
        {"fps": 10**400},
        {"fps": -1},
        {"batch": 4.0},
        {"batch": -4},
        {"batch": 10**9},
        {"still": None},
        {"merge": 5},
        {"merge": {"touching": 1}},
        {"track": {"max_gap": "x"}},
        {"track": {"threshold": []}},
        {"checkpoint_frames": 5},
    ],
)
def test_settings_that_vidmem_does_not_write_fail(settings: dict[str, object]) -> None:
    sound = json.loads(json.dumps(IndexConfig().as_dict()))
    assert IndexConfig.from_dict(sound) == IndexConfig()
    with pytest.raises(StoreError, match=r"its settings: .*restore it from a backup"):
        IndexConfig.from_dict({**sound, **settings})
