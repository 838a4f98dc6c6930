"""A fleet of many shards: each is checked once, takes no descriptors, and is not down because the fleet is busy."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store.making import DT, DV

from needs import needs
from vidmem.errors import UsageError
from vidmem.fleet.bounds_table import BoundsTable
from vidmem.fleet.opened import FIRST_PASSES, most_first_pass_bytes
from vidmem.fleet.store import FleetStore
from vidmem.fleet.vectors import FleetVectors
from vidmem.fleet.warm import Warm
from vidmem.store import Proof, VectorCache
from vidmem.store.mapping import mapped
from vidmem.store.vectors import Rows

from .fleets import directions, linked_fleet, opened

needs("sqlalchemy")
LOOK = directions(30, DV)[0]


@pytest.fixture
def many(tmp_path: Path) -> Iterator[FleetStore]:
    with opened(linked_fleet(tmp_path, 24)) as store:
        yield store


def ask(store: FleetStore) -> tuple[Rows, Proof]:
    """All tracks of all shards, and what that rests on."""
    with store.snapshot():
        vectors = FleetVectors(store)
        rows, _ = vectors.range_search("visual", LOOK, -1)
        vectors.top("visual", LOOK, 3)
        proof = store.proof()
    assert proof is not None
    return rows, proof


def test_each_of_300_shards_is_opened_once(tmp_path: Path) -> None:
    with opened(linked_fleet(tmp_path, 300)) as store:
        shards = store.desk.shards
        first, proof = ask(store)
        assert proof.exact
        assert proof.asked == 300
        assert shards.times_opened == 300
        assert len(shards) == 300
        second, _ = ask(store)
        np.testing.assert_array_equal(first, second)
        assert len(first) == store.state().tracks
        assert shards.times_opened == 300
        assert len(shards.stores) == 0  # a search opens no memory
        if sys.platform == "linux":
            assert sum("made.memory" in at or "/cache/" in at for at in open_files()) == 0
        ids = FleetVectors(store).columns_of(first).ids
        store.tracks(ids[:: len(first) // 100].tolist())
        assert 0 < len(shards.stores) <= shards.stores.most


def open_files() -> list[str]:
    out = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            out.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:  # the one that lists
            continue
    return out


def test_a_shard_whose_files_changed_is_checked_anew(many: FleetStore) -> None:
    ask(many)
    at = Path(many.state().parts[3].row.uri) / "cache" / "vectors.bin"
    whole = at.read_bytes()
    at.unlink()
    at.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    rows, proof = ask(many)
    assert many.desk.shards.times_opened == 25
    assert proof.exact  # read from its database, whose checksums hold
    assert len(rows) == many.state().tracks
    assert len(many.desk.shards) == 24


def test_waiting_for_others_does_not_make_a_shard_down(many: FleetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = VectorCache.range_search

    def range_search(self: VectorCache, *args: Any) -> Any:
        time.sleep(0.05)
        return whole(self, *args)

    ask(many)
    monkeypatch.setattr(VectorCache, "range_search", range_search)
    monkeypatch.setattr(many.desk, "patience_s", 0.6)
    with ThreadPoolExecutor(1) as pool:  # all take 1.2 s, and each has time on a busy machine, too
        monkeypatch.setattr(many.desk, "pool", pool)
        _, proof = ask(many)
    assert proof.exact
    assert proof.asked == 24


def test_when_all_threads_hang_the_others_are_named_and_come_back(
    many: FleetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, whole = threading.Event(), VectorCache.range_search

    def range_search(self: VectorCache, *args: Any) -> Any:
        release.wait(30)
        return whole(self, *args)

    ask(many)
    monkeypatch.setattr(VectorCache, "range_search", range_search)
    monkeypatch.setattr(many.desk, "patience_s", 0.2)
    rows, proof = ask(many)
    assert len(rows) == 0
    assert len(proof.down) == 24
    reasons = [down.reason for down in proof.down]
    assert sum("did not answer within 0.2 s" in reason for reason in reasons) == many.workers
    assert sum("its turn did not come" in reason for reason in reasons) == 24 - many.workers
    release.set()
    for _ in range(100):
        monkeypatch.setattr(many.desk, "patience_s", 30.0)
        rows, proof = ask(many)
        if proof.exact:
            break
        time.sleep(0.05)
    assert len(rows) == many.state().tracks


def test_first_passes_take_so_much_memory_and_no_more(many: FleetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VectorCache, "first_pass_bytes", 10)
    shards = many.desk.shards
    shards.most_first_pass_bytes = 25
    rows, _ = ask(many)
    assert len(rows) == many.state().tracks
    assert shards.first_pass_bytes == 20
    shards.vectors.close()
    assert shards.first_pass_bytes == 0


def test_memory_for_first_passes_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert most_first_pass_bytes() == 2048 << 20
    monkeypatch.setenv(FIRST_PASSES, "0")
    assert most_first_pass_bytes() == 0
    monkeypatch.setenv(FIRST_PASSES, "-1")
    with pytest.raises(UsageError, match="is a number of MB from 0 on; got '-1'"):
        most_first_pass_bytes()


def test_bounds_of_few_shards_are_those_of_all(many: FleetStore) -> None:
    table = many.bounds(many.state())
    assert isinstance(table, BoundsTable)
    for kind, dim in (("visual", DV), ("text", DT)):
        unit = directions(3, dim)[0]
        every = table.uppers(kind, unit, range(24))  # type: ignore[arg-type]
        few = table.uppers(kind, unit, [5])  # type: ignore[arg-type]
        np.testing.assert_allclose(few[5], every[5], atol=1e-5)
        assert np.isfinite(every).all()


def test_warm_things_are_closed_once_when_nobody_uses_them() -> None:
    closed: list[str] = []
    warm: Warm[str] = Warm(closed.append, 2, 100, len)
    with warm.use("a", 1, lambda: "a1"):
        with warm.use("a", 2, lambda: "a2") as other:  # its files have changed meanwhile
            assert other == "a2"
        with warm.use("b", 1, lambda: "b1"), warm.use("c", 1, lambda: "c1"):
            assert closed == ["a2"]
        assert closed == ["a2"]
    assert closed == ["a2", "a1"]
    warm.drop("b")
    assert closed == ["a2", "a1", "b1"]
    with warm.use("c", 1, lambda: "not made"):
        warm.drop("c")
        assert "c1" not in closed
    assert closed[-1] == "c1"
    warm.most_bytes = 3
    for name in ("dd", "ee"):
        with warm.use(name, 1, lambda name=name: name):  # type: ignore[misc]
            pass
    assert closed[-1] == "dd"
    warm.close()
    warm.close()
    assert closed.count("ee") == 1


def test_a_mapped_file_keeps_no_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_bytes(bytes(range(256)) * 40)
    with path.open("rb") as file:
        array = mapped(file.fileno())
    part = array[300:310].view(np.uint8)
    del array
    path.unlink()
    assert part.tolist() == list(range(44, 54))
    assert not part.flags.writeable
    if sys.platform == "linux":
        assert not any(str(path) in at for at in open_files())
    with pytest.raises(OSError, match=r"."):
        mapped(-1)
