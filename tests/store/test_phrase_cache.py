"""PhraseCache that are remembered, and what happens to the file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from vidmem.store import Store
from vidmem.store import phrase_cache as module
from vidmem.store.phrase_cache import NAME, PhraseCache


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "memory", create=True)


def table(seed: int, rows: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 6)).astype(np.float32)


def test_what_was_put_comes_back(store: Store) -> None:
    texts = PhraseCache(store)
    assert texts.get([b"a", b"b"]) == [None, None]
    assert texts.facts("gem") is None
    texts.put([(b"a", table(0)), (b"none", table(1, 0))])
    texts.set_facts("gem", {"info": [1, "x"]})
    a, b, none = PhraseCache(store).get([b"a", b"b", b"none"])
    np.testing.assert_array_equal(a, table(0))
    assert b is None
    assert none is not None
    assert none.shape == (0, 6)
    assert PhraseCache(store).facts("gem") == {"info": [1, "x"]}


def test_the_oldest_go(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 3)
    texts = PhraseCache(store)
    for i in range(5):
        texts.put([(bytes([i]), table(i))])
    assert [row is not None for row in texts.get([bytes([i]) for i in range(5)])] == [False, False, True, True, True]


def test_what_is_forgotten_takes_the_texts_with_it(store: Store) -> None:
    texts = PhraseCache(store)
    texts.put([(b"a", table(0))])
    path = store.cache_folder / NAME
    assert path.exists()
    store.compact()
    assert not path.exists()
    assert texts.get([b"a"]) == [None]
    texts.put([(b"a", table(0))])
    assert texts.get([b"a"])[0] is not None


@pytest.mark.parametrize("data", [b"", b"nothing" * 1000, b"SQLite format 3\0" + b"x" * 5000])
def test_a_damaged_file_is_made_anew(store: Store, data: bytes) -> None:
    texts = PhraseCache(store)
    texts.put([(b"a", table(0))])
    (store.cache_folder / NAME).write_bytes(data)
    assert texts.get([b"a"]) == [None]
    assert texts.facts("gem") is None
    texts.put([(b"a", table(1))])
    np.testing.assert_array_equal(texts.get([b"a"])[0], table(1))


def test_where_nothing_can_be_written_nothing_is_kept(store: Store) -> None:
    texts = PhraseCache(store)
    store.cache_folder.mkdir()
    (store.cache_folder / NAME).mkdir()  # in the way, for root too
    texts.put([(b"a", table(0))])
    assert texts.get([b"a"]) == [None]
    os.rmdir(store.cache_folder / NAME)
    texts.put([(b"a", table(0))])
    assert texts.get([b"a"])[0] is not None
