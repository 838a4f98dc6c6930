"""A stranger's SQLite files run nothing and fill no memory: schemas are compared first, and values have a largest size.

A generated column is computed at each read, in one step of SQLite that cannot be stopped.
"""

# ruff: noqa: F811 (fixtures of the command line's tests)

from __future__ import annotations

import re
import resource
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli.conftest import Run, clean, copy, indexed, run, walk  # noqa: F401

from vidmem.errors import StoreError
from vidmem.store import Store, schema
from vidmem.store.migrations import version
from vidmem.store.phrase_cache import NAME, PhraseCache
from vidmem.store.source_names import source_names
from vidmem.store.sqlite_file import longest_value, open_sqlite

HANG = "instr(hex(zeroblob(50000000)), hex(zeroblob(10000000)) || '1')"
BIG = "zeroblob(990000000)"
SECONDS = 30
MEMORY = 1_500_000_000
"""Bytes of address space that a command may take: libraries need a part of it."""


def rewrite(path: Path, old: str, new: str) -> None:
    """Change the statements in a schema, which SQLite would not do itself."""
    conn = sqlite3.connect(path)
    conn.execute("PRAGMA writable_schema = ON")
    with conn:
        done = conn.execute("UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE instr(sql, ?)", (old, new, old))
        assert done.rowcount
    conn.close()


def foreign(folder: Path, expression: str) -> None:
    """A file that says it is a memory, with computed columns where vidmem reads first."""
    folder.mkdir()
    conn = sqlite3.connect(folder / "memory.sqlite")
    conn.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    conn.execute("CREATE TABLE migrations (name TEXT, number INTEGER GENERATED ALWAYS AS (1))")
    conn.execute("CREATE TABLE sources (id INTEGER PRIMARY KEY, uri TEXT GENERATED ALWAYS AS (1))")
    conn.execute("CREATE TABLE model (encoder TEXT)")
    with conn:
        conn.execute("INSERT INTO migrations (name) VALUES ('x'), ('y')")
        conn.execute("INSERT INTO sources (id) VALUES (1)")
    conn.close()
    rewrite(folder / "memory.sqlite", "AS (1)", f"AS ({expression})")


def foreign_texts(cache: Path, expression: str) -> None:
    """A phrase cache with a computed column of the right name."""
    (cache / NAME).unlink(missing_ok=True)
    conn = sqlite3.connect(cache / NAME)
    computed = "vectors BLOB GENERATED ALWAYS AS (1)"
    conn.execute(f"CREATE TABLE texts (key BLOB PRIMARY KEY, width INTEGER, {computed}, at INTEGER)")
    conn.execute("CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT)")
    with conn:
        conn.execute("INSERT INTO texts (key, width, at) VALUES (x'00', 4, 1)")
    conn.close()
    rewrite(cache / NAME, "AS (1)", f"AS ({expression})")


def limited(code: str, *args: object) -> subprocess.CompletedProcess[str]:
    """Run code with little memory and time."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        preexec_fn=limit,
        check=False,
    )


CLI = "import sys; from vidmem.cli import main; sys.argv[0] = 'vidmem'; main()"
PROMPT = "import sys; from pathlib import Path; from vidmem.store.source_names import source_names; "
PROMPT += "source_names(Path(sys.argv[1]))"
TEXTS = "import sys; from vidmem.store import Store; from vidmem.store.phrase_cache import PhraseCache; "
TEXTS += "cache = PhraseCache(Store.open(sys.argv[1])); print(cache.get([b'\\0']), cache.facts('x'))"


@pytest.mark.parametrize("expression", [HANG, BIG])
def test_no_command_computes_a_column(tmp_path: Path, expression: str) -> None:
    foreign(tmp_path / "m", expression)
    for command in (["ls"], ["doctor", "--verify"]):
        done = limited(CLI, *command, *(["--memory"] if command == ["ls"] else []), tmp_path / "m")
        assert done.returncode == 4, done.stderr
        assert "its tables are not those of any format" in done.stdout + done.stderr
    done = limited(PROMPT, tmp_path / "m")
    assert "its tables are not those of any format" in done.stderr


@pytest.mark.parametrize("expression", [HANG, BIG])
def test_no_question_computes_a_column_of_the_phrases(run: Run, copy: Path, expression: str) -> None:
    (copy / "cache").mkdir(exist_ok=True)
    foreign_texts(copy / "cache", expression)
    done = limited(TEXTS, copy)
    assert (done.returncode, done.stdout.strip()) == (0, "[None] None"), done.stderr
    found = run("doctor", "--verify", copy)
    assert found.exit_code == 4, found.output
    assert re.search(r"BROKEN +cache .*texts\.sqlite in the cache cannot be used", found.stdout)
    with Store.open(copy) as store:  # it is made anew
        PhraseCache(store).put([(b"\0", np.ones((1, 4), np.float32))])
        assert PhraseCache(store).get([b"\0"])[0] is not None
    assert run("doctor", "--verify", copy).exit_code == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("PRIMARY KEY", '"PRIMARY" "KEY"'),
        ("PRIMARY KEY", "[PRIMARY] [KEY]"),
        ("PRIMARY KEY", '"primary" "key"'),
        ("PRIMARY KEY", "\u00a0PRIMARY KEY"),
        ("NOT NULL", '"NOT" "NULL"'),
        ("NOT NULL", "NOT\u2003NULL"),
    ],
)
def test_a_quoted_keyword_is_not_the_keyword(copy: Path, old: str, new: str) -> None:
    rewrite(copy / "memory.sqlite", old, new)
    with pytest.raises(StoreError, match="damaged"):
        Store.open(copy)
    conn = sqlite3.connect(":memory:")  # and where SQLite would take the statement
    conn.execute(f"CREATE TABLE sources (id INTEGER {old})")
    before = schema.schema_digest(conn)
    conn.execute("DROP TABLE sources")
    conn.execute(f"CREATE TABLE sources (id INTEGER {new})")
    assert schema.schema_digest(conn) != before
    conn.close()


def set_state(folder: Path, size: int) -> None:
    shutil.rmtree(folder / "cache", ignore_errors=True)
    conn = sqlite3.connect(folder / "memory.sqlite")
    with conn:
        conn.execute("UPDATE sources SET tracker_state = zeroblob(?)", (size,))
    conn.close()


def test_a_list_of_sources_reads_no_states(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDMEM_BUDGET_MB", "32")
    set_state(copy, 20 << 20)
    with Store.open(copy) as store:
        (row,) = store.sources()
        assert row.tracker_state == b""
        with pytest.raises(StoreError, match=r"a value in the memory takes more than 16 MB.*set VIDMEM_BUDGET_MB"):
            store.sources(states=True)
        monkeypatch.setenv("VIDMEM_BUDGET_MB", "64")
    with Store.open(copy) as store:
        assert len(store.sources(states=True)[0].tracker_state) == 20 << 20


def test_a_large_blob_is_not_read(run: Run, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conn = sqlite3.connect(copy / "memory.sqlite")
    with conn:
        conn.execute("UPDATE regions SET blob = zeroblob(20971520)")
    conn.close()
    monkeypatch.setenv("VIDMEM_BUDGET_MB", "32")
    with Store.open(copy) as store, pytest.raises(StoreError, match="takes more than 16 MB"):
        list(store.regions(1, 0, 1 << 60))
    found = run("doctor", "--verify", copy)
    assert found.exit_code == 4
    assert re.search(r"BROKEN +sizes ", found.stdout)
    assert not re.search(r"(?m)^\S+ +(rows|vectors|regions|cache) ", found.stdout), "nothing is read after that"


@pytest.mark.parametrize(("mb", "longest"), [(1, 16 << 20), (512, 256 << 20), (1 << 20, 1_000_000_000)])
def test_the_largest_value_comes_from_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mb: int, longest: int
) -> None:
    monkeypatch.setenv("VIDMEM_BUDGET_MB", str(mb))
    assert longest_value() == longest
    conn = open_sqlite(tmp_path / "a.sqlite", "mode=rwc", timeout=1)
    assert conn.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) == longest
    assert conn.execute("PRAGMA trusted_schema").fetchone() == (0,)
    with pytest.raises(sqlite3.DataError):
        conn.execute("SELECT zeroblob(?)", (longest + 1,))
    conn.close()
    conn = open_sqlite(tmp_path / "a.sqlite", "mode=ro", timeout=1)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        conn.execute("CREATE TABLE a (b)")
    conn.close()


def test_a_huge_schema_is_not_parsed(copy: Path) -> None:
    rewrite(copy / "memory.sqlite", "CREATE TABLE cuts", "CREATE TABLE " + " " * (2 << 20) + "cuts")
    with pytest.raises(StoreError):
        Store.open(copy)
    with pytest.raises((StoreError, sqlite3.Error)):
        source_names(copy)


def test_a_known_schema_has_its_own_number(copy: Path) -> None:
    conn = open_sqlite(copy / "memory.sqlite", "mode=rwc", timeout=1)
    assert version(conn) == len(schema.SCHEMAS)
    conn.execute("DELETE FROM migrations WHERE number = (SELECT max(number) FROM migrations)")
    with pytest.raises(StoreError, match=f"not those of format {len(schema.SCHEMAS) - 1}"):
        version(conn)
    conn.close()
