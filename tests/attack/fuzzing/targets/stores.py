"""Files of a memory from a stranger: the database, its rows, the packed regions, the cache of vectors."""

from __future__ import annotations

import json
import shutil
import sqlite3
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from ..mutate import WORDS, binary, json_tree, mended
from ..target import Broken, Ready, Target

CODES = frozenset({0, 1, 2, 3, 4, 130})
"""The exit codes of the command line; 70 is a bug."""


def command(*arguments: str) -> int:
    """Run the command line in this process. Raises Broken for anything but a known exit code."""
    from typer.testing import CliRunner

    from vidmem.cli import app

    result = CliRunner().invoke(app, list(arguments), prog_name="vidmem")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code not in CODES:
        raise Broken(f"exit {result.exit_code}: {result.stderr.strip()[-300:]}")
    if "Traceback (most recent call last)" in result.stderr:
        raise Broken(f"a traceback: {result.stderr.strip()[-300:]}")
    return int(result.exit_code)


def small_memory(folder: Path) -> Path:
    """A memory of a short video of coloured squares, made by the encoder `colours`. Returns its folder."""
    import fakes

    from vidmem.memory import Memory

    fakes.register()
    folder.mkdir(parents=True, exist_ok=True)
    video = fakes.squares(folder / "walk.mp4", [("red", 0, 2, 8), ("blue", 1, 3, 60), ("green", 0, 3, 112)], 3, 5)
    with Memory.open(folder / "memory", encoder="colours") as memory:
        memory.index(video)
        memory.cache()
    return folder / "memory"


READS: Sequence[tuple[str, ...]] = (
    ("ls",),
    ("info",),
    ("info", "walk.mp4"),
    ("where", "red"),
    ("where", "blue", "--all", "--json"),
    ("things",),
    ("timeline", "red"),
    ("parse", "walk.mp4", "--labels", "labels.txt"),
    ("forget", "--before", "2s", "--source", "walk.mp4", "--dry-run"),
)
WRITES: Sequence[tuple[str, ...]] = (
    ("compact",),
    ("recorded", "walk.mp4", "2026-01-01"),
    ("rm", "walk.mp4", "--yes"),
    ("forget", "red", "--yes"),
)


class Copies:
    """A sound memory, copied anew for each input."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "labels.txt").write_text("red\nblue\n")
        self.sound = small_memory(folder / "sound")
        database = sqlite3.connect(self.sound / "memory.sqlite")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        self.copy = folder / "copy"

    def fresh(self) -> Path:
        """The folder of a new copy."""
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.sound, self.copy)
        return self.copy

    def ask(self, choice: int, doctor: bool = False) -> None:
        """Run two commands that read and, for every fourth input, one that writes."""
        from vidmem.errors import StoreError

        commands = [READS[choice % len(READS)], READS[choice // 9 % len(READS)]]
        if choice % 4 == 0:
            commands.append(WRITES[choice // 4 % len(WRITES)])
        if doctor:
            commands = [("doctor",)]
        codes = []
        for one in commands:
            words = [str(self.folder / word) if word == "labels.txt" else word for word in one]
            codes.append(command(*words, "-m", str(self.copy)))
        if 4 in codes:
            raise StoreError("a command refused the memory")


def database(folder: Path) -> Ready:
    """The SQLite database of a memory, with bytes changed; commands that read and write it."""
    copies = Copies(folder)

    def run(data: bytes) -> None:
        place = copies.fresh()
        (place / "memory.sqlite").write_bytes(data)
        if data and data[-1] % 2:
            shutil.rmtree(place / "cache", ignore_errors=True)
        copies.ask(zlib.crc32(data))

    return Ready(run, [(copies.sound / "memory.sqlite").read_bytes()])


def doctor(folder: Path) -> Ready:
    """The SQLite database of a memory, with bytes changed; `vidmem doctor`."""
    copies = Copies(folder)

    def run(data: bytes) -> None:
        (copies.fresh() / "memory.sqlite").write_bytes(data)
        copies.ask(0, doctor=True)

    return Ready(run, [(copies.sound / "memory.sqlite").read_bytes()])


def verified(folder: Path) -> Ready:
    """The SQLite database of a memory, with bytes changed: `vidmem doctor --verify` finds what commands refuse."""
    from vidmem.errors import StoreError

    copies = Copies(folder)

    def run(data: bytes) -> None:
        place = copies.fresh()
        (place / "memory.sqlite").write_bytes(data)
        found = command("doctor", "--verify", str(place))
        refused = [one for one in READS[:4] if command(*one, "-m", str(place)) == 4]
        if found == 0 and refused:
            raise Broken(f"verified, but refused by {refused[0]}")
        if found:
            raise StoreError("not verified")

    return Ready(run, [(copies.sound / "memory.sqlite").read_bytes()])


def rows(folder: Path) -> Ready:
    """Values in the tables of a memory: the database is sound, what it says is not."""
    copies = Copies(folder)
    connection = sqlite3.connect(copies.sound / "memory.sqlite")
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    columns = {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in tables}
    columns = {name: found for name, found in columns.items() if found and not name.startswith("sqlite_")}
    connection.close()

    def run(data: bytes) -> None:
        rng = Random(data)
        place = copies.fresh()
        if rng.random() < 0.7:
            shutil.rmtree(place / "cache", ignore_errors=True)
        changed = sqlite3.connect(place / "memory.sqlite")
        try:
            with changed:
                for _ in range(rng.choice((1, 1, 2, 4))):
                    name = rng.choice(list(columns))
                    column = rng.choice(columns[name])
                    some = rng.choice(("", "", f" WHERE rowid % {rng.randint(2, 5)} = 1"))
                    changed.execute(
                        f"UPDATE OR IGNORE {name} SET {column} = ?{some}", (_value(rng, changed, name, column),)
                    )
                if rng.random() < 0.05:
                    changed.execute(rng.choice(SCHEMA))
        except sqlite3.Error:
            return
        finally:
            changed.close()
        copies.ask(zlib.crc32(data))

    return Ready(run, [bytes([n]) for n in range(8)])


SCHEMA = (
    "CREATE VIEW v AS SELECT * FROM sources",
    "CREATE TRIGGER t AFTER UPDATE ON sources BEGIN DELETE FROM tracks; END",
    "DELETE FROM model",
    "DELETE FROM meta",
    "DROP TABLE regions",
    "ALTER TABLE tracks ADD COLUMN extra",
    "INSERT INTO meta VALUES ('extra', '1')",
    "PRAGMA user_version = 9999",
)


def _value(rng: Random, connection: sqlite3.Connection, table: str, column: str) -> Any:
    """A value for a column: odd, or a changed copy of what is there."""
    numbers = (
        0,
        -1,
        1,
        255,
        1 << 31,
        (1 << 62) + 1,
        (1 << 63) - 1,
        -(1 << 63),
        0.5,
        -0.0,
        1e308,
        float("inf"),
        float("nan"),
    )
    kind = rng.randrange(5)
    if kind == 0:
        return rng.choice(numbers)
    if kind == 1:
        return rng.choice(WORDS).encode("utf-8", "replace").decode()
    if kind == 2:
        return rng.choice((None, b"", b"\0" * 48, rng.randbytes(64)))
    found = connection.execute(f"SELECT {column} FROM {table} LIMIT 1").fetchone()
    old = found[0] if found else None
    if isinstance(old, bytes) and old:
        return binary()(rng, [old])
    if isinstance(old, str) and old[:1] in "{[":
        return json_tree()(rng, [old.encode()]).decode("utf-8", "replace")
    if isinstance(old, bytes):
        return rng.randbytes(8)
    if isinstance(old, str):
        return old + rng.choice(WORDS).encode("utf-8", "replace").decode()
    return rng.choice(numbers) if old is None else old + rng.choice((-1, 1, 1 << 40))


def settings(folder: Path) -> Ready:
    """The JSON of a memory's settings and of its fitted probabilities."""
    copies = Copies(folder)
    connection = sqlite3.connect(copies.sound / "memory.sqlite")
    ((config,),) = connection.execute("SELECT config FROM model")
    connection.close()
    curve = json.dumps(
        {"bias": 0.5, "score": 1.0, "share": 2.0, "best": 0.1, "questions": 30, "right": 20, "wrong": 10}
    )

    def run(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        changed = sqlite3.connect(copies.fresh() / "memory.sqlite")
        with changed:
            if '"bias"' in text:
                changed.execute("INSERT OR REPLACE INTO meta VALUES ('fitted', ?)", (text,))
            else:
                changed.execute("UPDATE model SET config = ?", (text,))
        changed.close()
        copies.ask(zlib.crc32(data))

    return Ready(run, [config.encode(), curve.encode()])


def _regions() -> list[bytes]:
    from store import making

    from vidmem.store.region_blobs import encode

    few = [making.frame(t * 10**8, [0, 1, 5][: t + 1]) for t in range(3)]
    many = [making.frame(t * 10**8, list(range(8)), grid=(12, 20)) for t in range(12)]
    return [encode(few), encode(many), encode([making.frame(0, [])])]


def regions(_: Path) -> Ready:
    """Packed regions of frames, with and without a right checksum."""
    from vidmem.store.region_blobs import decode, decode_boxes, encode

    def run(data: bytes) -> None:
        times, tracks, boxes = decode_boxes(data)
        if not len(times) == len(tracks) == len(boxes):
            raise Broken("columns of different lengths")
        frames = decode(data)
        try:
            again = encode(frames)
        except ValueError:  # sizes that `encode` does not write
            return
        if [f.t_ns for f in decode(again)] != [f.t_ns for f in frames]:
            raise Broken("frames are not read back")

    return Ready(run, _regions())


def with_checksum(data: bytes) -> bytes:
    """A blob of regions whose checksum is right."""
    return data[:4] + struct.pack("<I", zlib.crc32(data[8:])) + data[8:] if len(data) > 8 else data


def unpacked(data: bytes) -> bytes:
    """A blob of regions whose content was changed before it was packed."""
    import lzma

    from vidmem.store.region_blobs import _FILTERS, _HEADER

    rng = Random(data)
    head = bytearray(rng.choice(_regions()))
    payload = bytearray(lzma.decompress(bytes(head[_HEADER.size :]), lzma.FORMAT_RAW, filters=_FILTERS))
    for _ in range(rng.randint(1, 6)):
        if payload:
            payload[rng.randrange(len(payload))] = rng.randrange(256)
    return with_checksum(bytes(head[: _HEADER.size]) + lzma.compress(bytes(payload), lzma.FORMAT_RAW, filters=_FILTERS))


def regions_mutate(rng: Random, seeds: Sequence[bytes]) -> bytes:
    data = binary([struct.pack("<I", 1 << 30), struct.pack("<HH", 65535, 65535)])(rng, seeds)
    return rng.choice((lambda d: d, with_checksum, with_checksum, unpacked))(data)


def cache(folder: Path) -> Ready:
    """The cache of vectors, with and without right checksums: loaded alone, and by a question."""
    from vidmem.store.cache_file import load

    copies = Copies(folder)
    sound = (copies.sound / "cache" / "vectors.bin").read_bytes()
    head = _header(sound)

    def run(data: bytes) -> None:
        place = copies.fresh()
        (place / "cache" / "vectors.bin").write_bytes(data)
        with suppress(OSError, ValueError):  # both are its contract: the cache is then made anew
            load(place / "cache", head["memory"], (8, 8), head["generation"], head["rows"])
        copies.ask(3 * (zlib.crc32(data) | 1))

    return Ready(run, [sound])


def _header(data: bytes) -> dict[str, Any]:
    length = struct.unpack_from("<I", data, 8)[0]
    found: dict[str, Any] = json.loads(data[16 : 16 + length])
    return found


def cache_checksums(data: bytes) -> bytes:
    """A cache whose checksums are right."""
    try:
        head = _header(data)
        head["crc32"] = zlib.crc32(data[4096:])
        text = json.dumps(head).encode()
    except (ValueError, struct.error, TypeError, RecursionError):
        return data
    return (data[:8] + struct.pack("<II", len(text), zlib.crc32(text)) + text).ljust(4096, b"\0")[:4096] + data[4096:]


def files(folder: Path) -> Ready:
    """Other files beside the database: its log, locks, and what does not belong there."""
    copies = Copies(folder)
    names = (
        "memory.sqlite-wal",
        "memory.sqlite-shm",
        "memory.sqlite-journal",
        "lock",
        "cache.lock",
        "cache/x.tmp",
        "notes.txt",
    )

    def run(data: bytes) -> None:
        place = copies.fresh()
        (place / names[data[0] % len(names) if data else 0]).write_bytes(data[1:])
        copies.ask(zlib.crc32(data))

    journal = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + struct.pack(">5I", 1, 7, 1, 512, 4096)
    wal = struct.pack(">8I", 0x377F0682, 3007000, 4096, 1, 7, 7, 0, 0)
    return Ready(run, [bytes([n]) + body for n, body in enumerate((wal, b"", journal, b"1234\n", b"", b"x", b"x"))])


TARGETS = [
    Target(
        "memory-database",
        database,
        binary([b"SQLite format 3\0", b"CREATE TABLE", b"\x0d", b"\x05", b"\x02", b"\x0a"]),
        1.0,
        megabytes=1024,
    ),
    Target("memory-doctor", doctor, binary([b"CREATE VIEW"]), 0.05, megabytes=1024),
    Target("memory-verify", verified, binary([b"CREATE VIEW", b"CREATE TRIGGER"]), 0.2, megabytes=1024),
    Target("memory-rows", rows, binary(), 1.0, megabytes=1024),
    Target("memory-settings", settings, json_tree(["fps", "bias", "questions"]), 0.3, megabytes=1024),
    Target("memory-files", files, binary(), 0.2, megabytes=1024),
    Target("regions", regions, regions_mutate),
    Target(
        "vector-cache",
        cache,
        mended(binary([struct.pack("<e", float("nan"))]), cache_checksums, 0.7),
        0.3,
        megabytes=1024,
    ),
]
