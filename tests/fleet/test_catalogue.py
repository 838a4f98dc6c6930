"""The catalogue, in SQLite and in a real PostgreSQL: the same behaviour in both."""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store.making import MODEL

from needs import needs
from vidmem.errors import ModelMismatchError, StoreError, UsageError, VersionError
from vidmem.fleet.catalogue import Catalogue
from vidmem.fleet.manifest import Manifest
from vidmem.fleet.rows import MAX_NUMBER, Lease
from vidmem.limits import MAX_NS

from .making import copied, shard
from .servers import Postgres

sa = needs("sqlalchemy")
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Manifest]:
    """Three shards."""
    folder = tmp_path_factory.mktemp("shards")
    return {folder / str(i): shard(folder / str(i), i, sources=2) for i in range(3)}


@pytest.fixture
def catalogue(url: str) -> Any:
    with Catalogue.open(url, create=True) as opened:
        yield opened


def edit(url: str, sql: str) -> None:
    """Change a catalogue behind its back."""
    with Catalogue.open(url) as opened, opened._engine.begin() as conn:
        conn.execute(sa.text(sql))


def test_a_new_catalogue_is_empty(catalogue: Catalogue) -> None:
    fleet = catalogue.fleet()
    assert len(fleet.id) == 32
    assert (fleet.format, fleet.generation, fleet.encoder, fleet.weights, fleet.dims, fleet.config) == (
        *(1, 0),
        *[None] * 4,
    )
    assert catalogue.shards() == catalogue.shards(ready=False) == catalogue.sources() == []


def test_opening_again_keeps_it(url: str) -> None:
    with Catalogue.open(url, create=True) as first, Catalogue.open(url, create=True) as second:
        assert first.fleet() == second.fleet()
    with Catalogue.open(url) as third:
        assert third.fleet().generation == 0


def test_shards_are_entered_with_their_sources(catalogue: Catalogue, made: dict[Path, Manifest]) -> None:
    rows = [catalogue.add(manifest, str(path)) for path, manifest in made.items()]
    assert catalogue.shards() == rows
    assert catalogue.generation() == 3
    assert catalogue.fleet().model == MODEL
    assert catalogue.fleet().dims == (MODEL.visual_dim, MODEL.text_dim)
    for row, (path, manifest) in zip(rows, made.items(), strict=True):
        assert (row.sha256, row.key, row.state) == (manifest.id, manifest.id, "ready")
        assert (row.encoder, row.generation, row.n_tracks) == ("tiny", manifest.generation, manifest.tracks)
        assert (row.t_min, row.t_max, row.bytes) == (manifest.t_min, manifest.t_max, manifest.total_bytes)
        assert row.uri == str(path)
        assert catalogue.shard(row.number) == row
    found = catalogue.sources()
    wanted = [(row.number, s) for row, m in zip(rows, made.values(), strict=True) for s in m.sources]
    assert [(s.shard, s.row) for s in found] == [(number, s.row) for number, s in wanted]
    assert [(s.t_min, s.t_max, s.tracks, s.end_ns) for s in found] == [
        (s.t_min, s.t_max, s.tracks, s.end_ns) for _, s in wanted
    ]


def test_entering_twice_changes_nothing(catalogue: Catalogue, made: dict[Path, Manifest]) -> None:
    path, manifest = next(iter(made.items()))
    row = catalogue.add(manifest, str(path))
    assert catalogue.add(manifest, str(path)) == row
    assert catalogue.add(manifest, str(path), key="a task", owner="me") == row
    assert catalogue.generation() == 1


def test_a_shard_that_moved(catalogue: Catalogue, made: dict[Path, Manifest]) -> None:
    manifest = next(iter(made.values()))
    first = catalogue.add(manifest, "/here")
    second = catalogue.add(manifest, "s3://bucket/there")
    assert second == replace(first, uri="s3://bucket/there")
    assert catalogue.generation() == 2


def test_numbers_are_never_given_again(catalogue: Catalogue, made: dict[Path, Manifest]) -> None:
    a, b, c = made.values()
    first, second = catalogue.add(a, "/a"), catalogue.add(b, "/b")
    catalogue.remove(second.number)
    assert [row.number for row in catalogue.shards()] == [first.number]
    assert {source.shard for source in catalogue.sources()} == {first.number}
    third = catalogue.add(c, "/c")
    assert third.number > second.number
    assert catalogue.add(b, "/b").number > third.number
    with pytest.raises(StoreError, match="no such shard"):
        catalogue.remove(second.number)
    with pytest.raises(StoreError, match="no such shard"):
        catalogue.shard(second.number)


def test_failed_attempts_use_no_numbers(catalogue: Catalogue) -> None:
    """Asking for a task again and again must not use numbers up: there are two million."""
    for _ in range(20):
        catalogue.lease("one", "me", 60, {})
    lease = catalogue.lease("two", "me", 60, {})
    assert lease is not None
    assert lease.number == 2


def test_numbers_end(catalogue: Catalogue, url: str, made: dict[Path, Manifest]) -> None:
    edit(
        url,
        f"INSERT INTO shards VALUES ({MAX_NUMBER}, NULL, 'last', 'failed', '', 0, 0, NULL, NULL, '', 0, '', 0, 1, '',"
        " 0, 0, '{}')",
    )
    if url.startswith("postgresql"):
        edit(url, f"SELECT setval('shards_number_seq', {MAX_NUMBER})")
    with pytest.raises(StoreError, match="all its 2,097,151 numbers"):
        catalogue.add(next(iter(made.values())), "/a")
    with pytest.raises(StoreError, match="numbers"):
        catalogue.lease("next", "me", 60, {})
    assert catalogue.lease("last", "me", 60, {}) is not None
    assert catalogue.shards() == []


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"encoder": "clip", "weights": "cd" * 32}, "vidmem reembed --encoder tiny"),
        ({"weights": "cd" * 32}, "vidmem reembed"),
        ({"visual_dim": 512}, "vidmem reembed"),
        ({"config": {**MODEL.config, "fps": 9.0}}, "settings of the fleet"),
    ],
)
def test_shards_made_otherwise_are_refused(
    catalogue: Catalogue, made: dict[Path, Manifest], changes: dict[str, Any], remedy: str
) -> None:
    first, second, _ = made.values()
    catalogue.add(first, "/a")
    other = replace(second, model=replace(MODEL, **changes)).named()
    with pytest.raises(ModelMismatchError, match=remedy) as caught:
        catalogue.add(other, "/b")
    assert ("fps" if "config" in changes else next(iter(changes))) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelMismatchError):
        catalogue.claim(other.model)
    assert len(catalogue.shards(ready=False)) == 1
    assert catalogue.generation() == 1


def test_settings_that_only_change_the_speed_are_no_difference(
    catalogue: Catalogue, made: dict[Path, Manifest]
) -> None:
    first, second, _ = made.values()
    catalogue.add(first, "/a")
    catalogue.add(replace(second, model=replace(MODEL, config={**MODEL.config, "batch": 99})).named(), "/b")


def test_a_fleet_claimed_before_its_first_shard(catalogue: Catalogue, made: dict[Path, Manifest]) -> None:
    catalogue.claim(replace(MODEL, encoder="clip"))
    assert catalogue.fleet().encoder == "clip"
    with pytest.raises(ModelMismatchError):
        catalogue.add(next(iter(made.values())), "/a")
    catalogue.claim(replace(MODEL, encoder="clip"))


def test_an_empty_catalogue_takes_another_encoder(catalogue: Catalogue, made: dict[Path, Manifest]) -> None:
    first, second, _ = made.values()
    catalogue.remove(catalogue.add(first, "/a").number)
    assert catalogue.fleet().model is None
    assert catalogue.add(replace(second, model=replace(MODEL, encoder="clip")).named(), "/b").encoder == "clip"


@pytest.mark.parametrize(("schema", "remedy"), [(7, "seal --undo"), (99, "pip install -U vidmem")])
def test_shards_of_another_format(catalogue: Catalogue, made: dict[Path, Manifest], schema: int, remedy: str) -> None:
    with pytest.raises(VersionError, match=remedy):
        catalogue.add(replace(next(iter(made.values())), schema=schema).named(), "/a")


def test_a_task_is_leased_made_and_entered(catalogue: Catalogue, made: dict[Path, Manifest]) -> None:
    manifest = next(iter(made.values()))
    lease = catalogue.lease("task", "worker 1", 60, {"source": "walk.mp4", "span": [0, 10]})
    assert lease is not None
    assert catalogue.lease("task", "worker 2", 60, {}) is None
    assert catalogue.lease("task", "worker 1", 60, {}) is None
    assert catalogue.shards() == []
    (row,) = catalogue.shards(ready=False)
    assert (row.state, row.lease_owner, row.tries, row.sha256) == ("leased", "worker 1", 1, None)
    assert row.about == {"source": "walk.mp4", "span": [0, 10]}
    assert catalogue.generation() == 0
    assert catalogue.renew(lease, 60)
    ready = catalogue.add(manifest, "/a", key="task", owner="worker 1")
    assert (ready.number, ready.state, ready.sha256) == (lease.number, "ready", manifest.id)
    assert ready.about == row.about
    assert catalogue.lease("task", "worker 2", 60, {}) is None
    assert not catalogue.renew(lease, 60)
    catalogue.fail(lease, "too late")
    catalogue.release(lease)
    assert catalogue.shards() == [ready]


def test_entering_a_task_costs_no_second_number(catalogue: Catalogue, made: dict[Path, Manifest]) -> None:
    for number, manifest in enumerate(list(made.values())[:2], 1):
        lease = catalogue.lease(f"task {number}", "worker", 60, {})
        assert lease is not None
        assert lease.number == number
        assert catalogue.add(manifest, f"/{number}", key=lease.key, owner="worker").number == number
    assert catalogue.lease("one more", "worker", 60, {}) is not None
    assert [row.number for row in catalogue.shards(ready=False)] == [1, 2, 3]


def test_a_failed_task_can_be_leased_again(catalogue: Catalogue) -> None:
    lease = catalogue.lease("task", "me", 60, {})
    assert lease is not None
    catalogue.fail(lease, "cannot be read: rtsp://user:very-secret@camera/x\nsecond line")
    (row,) = catalogue.shards(ready=False)
    assert row.state == "failed"
    assert "very-secret" not in row.error
    assert "\n" not in row.error
    again = catalogue.lease("task", "you", 60, {})
    assert again is not None
    assert (again.number, again.tries) == (lease.number, 2)
    assert not catalogue.renew(lease, 60)


def test_a_lease_that_ended_is_taken_over(catalogue: Catalogue, made: dict[Path, Manifest]) -> None:
    first = catalogue.lease("task", "slow", 0.05, {})
    assert first is not None
    time.sleep(0.1)
    second = catalogue.lease("task", "fast", 60, {})
    assert second is not None
    assert second.tries == 2
    assert not catalogue.renew(first, 60)
    catalogue.fail(first, "late")
    assert catalogue.shards(ready=False)[0].lease_owner == "fast"
    # The slow worker still finishes first: its result counts, and the fast one gets the same row.
    a, b, _ = made.values()
    row = catalogue.add(a, "/a", key="task", owner="slow")
    assert catalogue.add(b, "/b", key="task", owner="fast") == row
    assert len(catalogue.shards()) == 1


def test_a_lease_that_ended_and_nobody_took_can_be_renewed(catalogue: Catalogue) -> None:
    lease = catalogue.lease("task", "me", 0.01, {})
    assert lease is not None
    time.sleep(0.05)
    assert catalogue.renew(lease, 60)
    assert catalogue.lease("task", "you", 60, {}) is None


def test_a_released_lease_is_free_at_once(catalogue: Catalogue) -> None:
    lease = catalogue.lease("task", "me", 600, {})
    assert lease is not None
    catalogue.release(lease)
    assert catalogue.lease("task", "you", 60, {}) is not None


def test_the_clock_of_a_worker_does_not_matter_to_a_server(
    url: str, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose clock is a day ahead takes no lease that has not ended."""
    if not url.startswith("postgresql"):
        pytest.skip("a file is for one machine, which has one clock")
    assert catalogue.lease("task", "me", 60, {}) is not None
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 86_400_000_000_000)
    assert catalogue.lease("task", "you", 60, {}) is None


WORKER = """
import sys
sys.path.insert(0, sys.argv[1])
from vidmem.fleet.catalogue import Catalogue
with Catalogue.open(sys.argv[2]) as catalogue:
    print("ready", flush=True)
    sys.stdin.readline()
    won = [i for i in range(int(sys.argv[4])) if catalogue.lease(f"task {i}", sys.argv[3], 60, {})]
print(*won)
"""


def test_of_processes_that_lease_at_once_exactly_one_gets_it(url: str, catalogue: Catalogue) -> None:
    tasks = 25
    command = [sys.executable, "-c", WORKER, str(TESTS), url]
    workers = [
        subprocess.Popen(
            [*command, f"worker {i}", str(tasks)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for i in range(3)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    outs = []
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        outs.append(worker.communicate(timeout=60)[0].split())
    assert sorted(int(number) for out in outs for number in out) == list(range(tasks))
    rows = catalogue.shards(ready=False)
    assert [row.tries for row in rows] == [1] * tasks
    assert len({row.key for row in rows}) == tasks


def many(n: int, act: Callable[[int], Any]) -> list[Any]:
    out: list[Any] = [None] * n
    barrier = threading.Barrier(n)

    def run(i: int) -> None:
        barrier.wait()
        try:
            out[i] = act(i)
        except Exception as error:
            out[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return out


def test_threads_share_a_catalogue(catalogue: Catalogue, made: dict[Path, Manifest]) -> None:
    manifests = list(made.values())
    rows = many(9, lambda i: catalogue.add(manifests[i % 3], f"/{i % 3}"))
    assert {row.sha256 for row in rows} == {manifest.id for manifest in manifests}
    assert len(catalogue.shards()) == 3
    leases = many(9, lambda i: catalogue.lease("task", f"worker {i}", 60, {}))
    assert sum(isinstance(lease, Lease) for lease in leases) == 1
    assert sum(lease is None for lease in leases) == 8


def test_entering_and_leasing_a_task_at_once(catalogue: Catalogue, made: dict[Path, Manifest]) -> None:
    manifest = next(iter(made.values()))

    def act(i: int) -> Any:
        return catalogue.add(manifest, "/a", key="task") if i % 2 else catalogue.lease("task", f"worker {i}", 60, {})

    for _ in range(5):
        out = many(6, act)
        (row,) = catalogue.shards(ready=False)
        assert row.state == "ready"
        assert all(result.number == row.number for result in out[1::2])
        assert all(result is None or isinstance(result, Lease) for result in out[::2])
        catalogue.remove(row.number)


def test_many_make_the_same_catalogue_at_once(url: str) -> None:
    def fleet(i: int) -> str:
        with Catalogue.open(url, create=True) as opened:
            return opened.fleet().id

    found = many(6, fleet)
    assert len(set(found)) == 1, found


def test_two_encoders_at_once_one_wins(catalogue: Catalogue) -> None:
    """Two fleets on one catalogue: the second is refused, whatever the order."""
    names = [f"encoder{i % 2}" for i in range(6)]
    out = many(6, lambda i: catalogue.claim(replace(MODEL, encoder=names[i])))
    winner = catalogue.fleet().encoder
    for name, result in zip(names, out, strict=True):
        assert result is None if name == winner else isinstance(result, ModelMismatchError)


def test_replaced_shards_answer_no_more(catalogue: Catalogue, made: dict[Path, Manifest]) -> None:
    a, b, _ = made.values()
    first, second = catalogue.add(a, "/a", key="one"), catalogue.add(b, "/b", key="two")
    catalogue.replace(first.number)
    assert catalogue.shards() == [second]
    assert {source.shard for source in catalogue.sources()} == {second.number}
    assert catalogue.generation() == 3
    assert catalogue.lease("one", "me", 60, {}) is None
    with pytest.raises(StoreError, match="no such shard"):
        catalogue.replace(first.number)


def test_clocks(catalogue: Catalogue, made: dict[Path, Manifest]) -> None:
    row = catalogue.add(next(iter(made.values())), "/a")
    catalogue.set_clock(row.number, -2_000_000_000, 5)
    (found,) = catalogue.shards()
    assert (found.clock_offset_ns, found.clock_error_ns) == (-2_000_000_000, 5)
    assert (found.t_min, found.t_max) == (row.t_min, row.t_max)
    assert catalogue.generation() == 2
    for offset, error in ((MAX_NS, 0), (-MAX_NS, 0), (0, -1), (0, MAX_NS)):
        with pytest.raises(UsageError, match="out of range"):
            catalogue.set_clock(row.number, offset, error)
    with pytest.raises(StoreError, match="no such shard"):
        catalogue.set_clock(99, 0, 0)


@pytest.mark.parametrize(
    ("key", "owner", "seconds", "about"),
    [
        ("", "me", 1, {}),
        ("k" * 201, "me", 1, {}),
        ("a\nb", "me", 1, {}),
        ("k", "", 1, {}),
        ("k", "me", -1, {}),
        ("k", "me", float("nan"), {}),
        ("k", "me", float("inf"), {}),
        ("k", "me", 1, {"a": object()}),
        ("k", "me", 1, {"a": float("nan")}),
        ("k", "me", 1, {"a": "x" * (1 << 20)}),
    ],
)
def test_bad_leases(catalogue: Catalogue, key: str, owner: str, seconds: float, about: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        catalogue.lease(key, owner, seconds, about)
    assert catalogue.shards(ready=False) == []


def test_a_newer_catalogue(url: str, catalogue: Catalogue) -> None:
    edit(url, "UPDATE fleet SET format = 2")
    edit_later = "newer vidmem made the catalogue .format 2, this one knows 1."
    for create in (False, True):
        with pytest.raises(VersionError, match=edit_later):
            Catalogue.open(url, create=create)


def test_there_is_none(url: str) -> None:
    with pytest.raises(StoreError, match="no catalogue here"):
        Catalogue.open(url)
    if "://" not in url:
        assert not os.path.exists(url)


def test_a_catalogue_travels_to_another_process(catalogue: Catalogue, made: dict[Path, Manifest]) -> None:
    catalogue.add(next(iter(made.values())), "/a")
    with pickle.loads(pickle.dumps(catalogue)) as again:
        assert again.shards() == catalogue.shards()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE shards SET state = 'odd'",
        "UPDATE shards SET about = 'x'",
        "UPDATE shards SET about = '[]'",
        "UPDATE shards SET uri = './../../etc'",
        "UPDATE sources SET json = '{}'",
        "UPDATE sources SET json = 'x'",
        "UPDATE fleet SET config = 'x'",
        "UPDATE fleet SET visual_dim = -1",
    ],
)
def test_damaged_rows(url: str, catalogue: Catalogue, made: dict[Path, Manifest], sql: str) -> None:
    catalogue.add(next(iter(made.values())), "/a")
    edit(url, sql)
    if url.startswith("postgresql") and "./.." in sql:
        pytest.skip("addresses in PostgreSQL are absolute")
    with pytest.raises(StoreError, match="damaged"):
        (catalogue.shards(ready=False), catalogue.sources(), catalogue.fleet())


def test_a_file_that_is_no_catalogue(tmp_path: Path, made: dict[Path, Manifest]) -> None:
    noise = tmp_path / "noise"
    noise.write_bytes(b"x" * 5000)
    other = tmp_path / "other.sqlite"
    conn = sqlite3.connect(other)
    conn.execute("CREATE TABLE other (a)")
    conn.close()
    view = tmp_path / "view.sqlite"
    conn = sqlite3.connect(view)
    conn.execute("CREATE VIEW fleet AS SELECT 1 AS format, 1 AS one")
    conn.close()
    half = tmp_path / "half.sqlite"
    conn = sqlite3.connect(half)
    conn.execute("CREATE TABLE fleet (format)")
    conn.execute("INSERT INTO fleet VALUES ('many')")
    conn.close()
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(other)
    os.mkfifo(pipe)
    for path in (noise, other, view, half, link, pipe, tmp_path, next(iter(made)) / "memory.sqlite"):
        for create in (False, True):
            with pytest.raises(StoreError) as caught:
                Catalogue.open(path, create=create)
            assert "\n" not in str(caught.value)
    assert noise.read_bytes() == b"x" * 5000


def test_a_column_that_computes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "c"
    Catalogue.open(path, create=True).close()
    conn = sqlite3.connect(path)
    conn.execute("ALTER TABLE fleet ADD COLUMN more AS (hex(zeroblob(900000000)))")
    conn.commit()
    conn.close()
    with pytest.raises(StoreError, match="damaged"):
        Catalogue.open(path)


def test_a_trigger_of_a_stranger_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "c"
    Catalogue.open(path, create=True).close()
    conn = sqlite3.connect(path)
    conn.execute("CREATE TRIGGER t AFTER INSERT ON shards BEGIN DELETE FROM fleet; END")
    conn.commit()
    conn.close()
    with pytest.raises(StoreError, match="damaged"):
        Catalogue.open(path)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of folders are POSIX")
def test_a_catalogue_on_a_read_only_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: dict[Path, Manifest]
) -> None:
    folder = tmp_path / "disk"
    with Catalogue.open(folder / "c", create=True) as opened:
        opened.add(next(iter(made.values())), "/a")
    assert sorted(os.listdir(folder)) == ["c"]
    monkeypatch.setattr(os, "access", lambda *args: False)
    with Catalogue.open(folder / "c") as opened:
        (row,) = opened.shards()
        with pytest.raises(StoreError, match="cannot be written"):
            opened.remove(row.number)
    assert sorted(os.listdir(folder)) == ["c"]


def test_a_catalogue_and_its_shards_can_move_together(tmp_path: Path, made: dict[Path, Manifest]) -> None:
    path, manifest = next(iter(made.items()))
    first = tmp_path / "first"
    copied(path, first / "shards" / "a")
    with Catalogue.open(first / "c", create=True) as opened:
        assert opened.add(manifest, str(first / "shards" / "a")).uri == str(first / "shards" / "a")
    first.rename(tmp_path / "second")
    with Catalogue.open(tmp_path / "second" / "c") as opened:
        (row,) = opened.shards()
        assert row.uri == str(tmp_path / "second" / "shards" / "a")
        assert opened.add(manifest, row.uri) == row
        assert opened.generation() == 1


@pytest.mark.parametrize(
    "url",
    ["", "a\0b", "sqlite://", "sqlite:///", "sqlite:///a?x=1", "mysql://root:very-secret@host/x", "redis://h", "x://"],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Catalogue.open(url)
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgresql://me:very-secret@127.0.0.1:9/x", "postgresql+psycopg://me:very-secret@/x?host=/none"]
)
def test_no_password_in_messages(url: str) -> None:
    needs("psycopg")
    with pytest.raises(StoreError, match="check that its server runs") as caught:
        Catalogue.open(url, create=True)
    assert "very-secret" not in str(caught.value)
    assert "very-secret" not in str(caught.value.__context__ or "")


def test_a_server_that_goes_away_and_comes_back(server: Postgres) -> None:
    """A lost connection is one error or none, never a wrong answer."""
    with Catalogue.open(server.new_url().replace("@", ":very-secret@"), create=True) as opened:
        assert "very-secret" not in repr(opened)
        assert opened.shards() == []
        with opened._engine.connect() as conn, pytest.raises(sa.exc.DBAPIError):
            conn.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
        assert opened.shards() == []


def test_another_database_of_postgresql(server: Postgres) -> None:
    url = server.new_url()
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as conn:
        conn.execute(sa.text("CREATE TABLE fleet (a integer)"))
    engine.dispose()
    for create in (False, True):
        with pytest.raises(StoreError, match="no catalogue"):
            Catalogue.open(url, create=create)


def test_the_tables_are_the_same(server: Postgres, tmp_path: Path) -> None:
    columns = []
    for url in (str(tmp_path / "c"), server.new_url()):
        with Catalogue.open(url, create=True) as opened:
            seen = sa.inspect(opened._engine)
            columns.append({t: [c["name"] for c in seen.get_columns(t)] for t in ("fleet", "shards", "sources")})
    assert columns[0] == columns[1]
    assert json.dumps(columns[0])
