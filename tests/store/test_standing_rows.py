"""Standing questions and undelivered events in a memory, also in one that is damaged."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path

import pytest

from vidmem.errors import StoreError
from vidmem.store import Store
from vidmem.store.forget import Part
from vidmem.store.verify import verify

from .making import add, info, track


def damaged(folder: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(folder / "memory.sqlite") as conn:
        conn.execute(statement, values)


def test_questions_are_kept_in_order(store: Store, folder: Path) -> None:
    store.add_standing(["keys", "dog"], None)
    store.add_standing(["cup", "keys"], 0.9)
    store.drop_standing(["dog", "never there"])
    assert [(row.text, row.min_probability) for row in store.standing()] == [("keys", 0.9), ("cup", 0.9)]
    with Store.open(folder) as reader:
        assert reader.standing() == store.standing()
        with pytest.raises(StoreError, match="opened for reading"):
            reader.add_standing(["cat"], None)


def test_what_was_told_stays_told_and_an_event_waits_until_it_is_settled(store: Store) -> None:
    row = store.begin_source(info())
    add(store, row.id, [track(0), track(1), track(2)])
    store.tell("q", [1, 2, 99], [(1, "{}"), (99, "{}")])
    store.tell("other", [3], [])
    store.tell("q", [1], [(1, "again")])  # which changes nothing
    assert store.told("q", [1, 2, 3, 99]) == {1, 2}
    assert store.undelivered(row.id) == [("q", 1, "{}")]
    assert store.undelivered(row.id + 1) == []
    store.settle_event("q", 1)
    assert store.undelivered(row.id) == []
    assert store.told("q", [1]) == {1}


def test_forgotten_tracks_and_sources_take_it_along(store: Store) -> None:
    row = store.begin_source(info())
    add(store, row.id, [track(0), track(1)], state="done")
    store.tell("q", [1, 2], [(1, "{}"), (2, "{}")])
    store.remove_parts([Part(row.id, tracks=(1,))])
    assert (store.told("q", [1, 2]), store.undelivered(row.id)) == ({2}, [])  # the other may tell of what is forgotten
    store.remove_source(row.id)
    assert store.told("q", [1, 2]) == set()


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("INSERT INTO standing VALUES (?, NULL, 1)", (b"keys",)),
        ("INSERT INTO standing VALUES (?, NULL, 1)", (" ",)),
        ("INSERT INTO standing VALUES (?, NULL, 1)", ("x" * 1001,)),
        ("INSERT INTO standing VALUES ('keys', ?, 1)", (7.0,)),
        ("INSERT INTO standing VALUES ('keys', NULL, ?)", (1 << 62,)),
        ("INSERT INTO told VALUES (1, 'q', ?)", (b"{}",)),
        ("INSERT INTO told VALUES (1, 'q', ?)", ("x" * (1 << 17),)),
        ("INSERT INTO told VALUES (1, ?, '{}')", ("q" * 200,)),
    ],
)
def test_damage_is_found(store: Store, folder: Path, statement: str, values: tuple[object, ...]) -> None:
    row = store.begin_source(info())
    add(store, row.id, [track(0)])
    store.close()
    damaged(folder, statement, *values)
    with Store.open(folder) as reader, pytest.raises(StoreError, match="damaged"):
        (reader.standing if "standing" in statement else partial(reader.undelivered, row.id))()
    assert not all(finding.sound for finding in verify(folder))
