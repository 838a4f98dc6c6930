"""Snapshots: one committed state for all reads of a thread, whatever is written meanwhile."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from vidmem.errors import StoreError
from vidmem.store import Store, VectorCache
from vidmem.store.snapshots import IDLE

from .making import MODEL, add, info, track


@pytest.fixture
def filled(store: Store) -> int:
    row = store.begin_source(info())
    add(store, row.id, [track(0), track(1)])
    return row.id


def test_reads_see_the_state_at_its_start(store: Store, filled: int) -> None:
    with store.snapshot() as (memory, generation):
        assert (memory, generation) == (store.memory_id(), 1)
        writer = threading.Thread(target=add, args=(store, filled, [track(2)]))
        writer.start()
        writer.join(20)
        assert not writer.is_alive()  # a question does not keep a checkpoint waiting
        assert len(store.source_tracks(filled)) == 2
        assert store.extent() == (1, 2)
        with store.snapshot() as inner:
            assert inner == (memory, generation)
        assert VectorCache(store).state == (memory, generation)
    assert len(store.source_tracks(filled)) == 3
    assert store.extent() == (2, 3)


def test_a_removal_waits_for_questions_that_have_begun(store: Store, filled: int) -> None:
    begun, ended = threading.Event(), []

    def ask() -> None:
        with store.snapshot():
            begun.set()
            time.sleep(0.3)
            ended.append(("asked", len(store.source_tracks(filled))))

    asker = threading.Thread(target=ask)
    asker.start()
    begun.wait()
    store.remove_source(filled)
    ended.append(("removed", 0))
    asker.join()
    assert ended == [("asked", 2), ("removed", 0)]
    assert store.sources() == []


def test_writing_within_a_snapshot_is_a_mistake_of_the_caller(store: Store, filled: int) -> None:
    with store.snapshot(), pytest.raises(RuntimeError, match="written after a snapshot"):
        store.remove_source(filled)
    assert len(store.sources()) == 1


def test_what_is_put_off_runs_when_the_snapshot_has_ended(store: Store) -> None:
    done: list[str] = []
    with store.snapshot():
        store.later(lambda: done.append("after"))
        assert done == []
    assert done == ["after"]
    store.later(lambda: done.append("at once"))
    assert done == ["after", "at once"]

    def fail() -> None:
        with store.snapshot():
            store.later(lambda: done.append("never"))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert done == ["after", "at once"]


def test_a_closed_store_gives_none_and_ends_those_that_run(folder: Path) -> None:
    store = Store.open(folder, create=True)
    store.set_model(MODEL)
    begun, told = threading.Event(), []

    def ask() -> None:
        with store.snapshot():
            begun.set()
            while True:
                try:
                    store.sources()
                except StoreError as error:
                    told.append(str(error))
                    return

    asker = threading.Thread(target=ask)
    asker.start()
    begun.wait()
    store.close()
    asker.join(20)
    assert told == [f"this Store is closed; open it again: {folder}"]
    with pytest.raises(StoreError, match="is closed; open it again"), store.snapshot():
        pass


def test_few_connections_are_kept(store: Store) -> None:
    together = threading.Barrier(IDLE + 3)

    def ask() -> None:
        with store.snapshot():
            together.wait()

    pool = [threading.Thread(target=ask) for _ in range(IDLE + 3)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    assert len(store._snapshots._idle) == IDLE
