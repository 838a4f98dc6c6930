"""The file of the first pass: damaged, foreign, half written, and a memory that grows through the threshold."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidmem.errors import StoreError
from vidmem.records import Float32
from vidmem.store import Store, VectorCache, cache_file, first_file, scan
from vidmem.store.first_file import FIRST_FILE_NAME
from vidmem.store.first_pass import Stored, build

from .making import DT, DV, MODEL, add, info, track

FROM = 100


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.store.first_passes.FIRST_PASS_FROM", FROM)
    monkeypatch.setattr("vidmem.store.first_passes.PATIENCE", 0)
    monkeypatch.setattr("vidmem.store.first_pass.MOST", 10.0)


@pytest.fixture
def full(store: Store) -> Store:
    tracks = [track(i) for i in range(300)]
    tracks[7] = track(7, visual=np.zeros(DV, np.float32), text=np.zeros(DT, np.float32))
    add(store, store.begin_source(info()).id, tracks)
    VectorCache(store)
    return store


def query(seed: int = 1, dim: int = DV) -> Float32:
    return np.random.default_rng(seed).standard_normal(dim, dtype=np.float32)


def path(store: Store) -> Path:
    return store.cache_folder / FIRST_FILE_NAME


def used(cache: VectorCache) -> bool:
    """Whether a search of this cache uses a first pass."""
    return cache._data.first.of(0, cache._data.visual) is not None


def answers(cache: VectorCache) -> list[tuple[list[int], bytes]]:
    found = []
    for seed in range(4):
        for threshold in (-1.0, 0.1, 0.4, 0.8):
            found.append(cache.range_search("visual", query(seed), threshold))
            found.append(cache.range_search("text", query(seed, DT), threshold))
        for k in (1, 10, 1000):
            found.append(cache.top("visual", query(seed), k))
    return [(rows.tolist(), scores.tobytes()) for rows, scores in found]


def flat(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], bytes]]:
    """The answers without a first pass."""
    with monkeypatch.context() as patch:
        patch.setattr("vidmem.store.first_passes.FIRST_PASS_FROM", 1 << 40)
        return answers(VectorCache(store))


def test_answers_are_those_of_a_scan_of_all(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert path(full).exists()
    cache = VectorCache(full)
    assert used(cache)
    assert answers(cache) == flat(full, monkeypatch)
    assert answers(cache) == flat(full, monkeypatch)  # and of what is in RAM by now


def test_a_search_does_not_scan_all(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any) -> Any:
        raise AssertionError("all vectors were scanned")

    cache = VectorCache(full)
    monkeypatch.setattr(scan, "at_least", never)
    monkeypatch.setattr(scan, "best", never)
    assert len(cache.range_search("visual", query(), 0.5)[0]) < 300
    assert len(cache.top("text", query(dim=DT), 3)[0]) == 3


def test_many_queries_find_the_same_rows(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = np.array([query(i) for i in range(5)])
    for threshold in (-1.0, 0.1, 0.4, 0.8):
        found = VectorCache(full).range_search_many("visual", queries, threshold)
        with monkeypatch.context() as patch:
            patch.setattr("vidmem.store.first_passes.FIRST_PASS_FROM", 1 << 40)
            expected = VectorCache(full).range_search_many("visual", queries, threshold)
        for (rows, scores), (other_rows, other_scores) in zip(found, expected, strict=True):
            np.testing.assert_array_equal(rows, other_rows)
            np.testing.assert_allclose(scores, other_scores, atol=1e-6)


def test_small_memories_have_no_file(store: Store) -> None:
    add(store, store.begin_source(info()).id, [track(i) for i in range(FROM - 1)])
    assert not used(VectorCache(store))
    assert not path(store).exists()


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_rebuilt(full: Store, monkeypatch: pytest.MonkeyPatch, data: st.DataObject) -> None:
    right = path(full).read_bytes()
    kind = data.draw(st.sampled_from(["flip", "cut", "grow", "empty"]))
    wrong = bytearray(right)
    if kind == "flip":
        written = [*range(0, 300), *range(4096, len(right))]  # the rest of the first page is not used
        wrong[data.draw(st.sampled_from(written))] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        wrong = wrong[: data.draw(st.integers(0, len(right) - 1))]
    else:
        wrong = bytearray() if kind == "empty" else wrong + b"\0"
    path(full).write_bytes(wrong)
    cache = VectorCache(full)
    assert answers(cache) == flat(full, monkeypatch)
    assert used(cache)
    assert path(full).read_bytes() == right


def test_a_file_of_other_vectors_is_rebuilt(full: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it claims to be of these vectors, with right checksums."""
    right = path(full).read_bytes()
    other = build(np.random.default_rng(9).standard_normal((300, DV)).astype(np.float16) / np.float16(DV**0.5))
    text = build(np.random.default_rng(8).standard_normal((300, DT)).astype(np.float16) / np.float16(DT**0.5))
    crc = VectorCache(full)._data.crc
    assert crc is not None
    assert other is not None
    assert text is not None
    first_file.save(full.folder, (other, text), crc)
    cache = VectorCache(full)
    assert answers(cache) == flat(full, monkeypatch)
    assert path(full).read_bytes() == right
    first_file.save(full.folder, (text, other), crc)  # lengths exchanged
    assert answers(VectorCache(full)) == flat(full, monkeypatch)
    assert path(full).read_bytes() == right


def header(file: Path) -> dict[str, Any]:
    data = file.read_bytes()
    (length,) = struct.unpack_from("<I", data, 8)
    return dict(json.loads(data[16 : 16 + length]))


def forge(file: Path, head: Any) -> None:
    """Replace the header, with a right checksum."""
    text = json.dumps(head).encode()
    page = (struct.pack("<8sII", b"VMFIRST\0", len(text), zlib.crc32(text)) + text).ljust(4096, b"\0")
    file.write_bytes(page[:4096] + file.read_bytes()[4096:])


@pytest.mark.parametrize(
    "change",
    [
        lambda head: [],
        lambda head: {},
        lambda head: head | {"format": 2},
        lambda head: head | {"vectors": 1},
        lambda head: head | {"kinds": []},
        lambda head: head | {"kinds": head["kinds"][:1]},
        lambda head: head | {"kinds": head["kinds"][::-1]},
        lambda head: head | {"kinds": [{}, {}]},
        lambda head: head | {"kinds": [head["kinds"][0] | {"rows": 299}, head["kinds"][1]]},
        lambda head: head | {"kinds": [head["kinds"][0] | {"split": -1}, head["kinds"][1]]},
        lambda head: head | {"kinds": [head["kinds"][0] | {"split": 10**9}, head["kinds"][1]]},
        lambda head: head | {"kinds": [head["kinds"][0] | {"trained": "x"}, head["kinds"][1]]},
        lambda head: head | {"kinds": [head["kinds"][0] | {"arrays": [["|O", 1]] * 8}, head["kinds"][1]]},
        lambda head: head | {"kinds": [head["kinds"][0] | {"arrays": [["<f4", 1 << 60]] * 8}, head["kinds"][1]]},
        lambda head: head | {"kinds": [head["kinds"][0] | {"arrays": 3}, head["kinds"][1]]},
    ],
)
def test_a_header_that_lies_is_not_believed(full: Store, change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    forge(path(full), change(header(path(full))))
    with pytest.raises(ValueError, match=r"\w"):
        loaded(full)
    assert answers(VectorCache(full)) == flat(full, monkeypatch)


def loaded(store: Store) -> tuple[Stored, Stored]:
    model, (generation, rows) = store.model(), store.extent()
    assert model is not None
    data = cache_file.load(store.folder, store.memory_id(), (model.visual_dim, model.text_dim), generation, rows)
    assert data.crc is not None
    return first_file.load(store.folder, data.crc, (data.visual, data.text))


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_a_link_is_not_followed(full: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = tmp_path / "outside"
    shutil.move(path(full), outside)
    path(full).symlink_to(outside)
    with pytest.raises(StoreError):
        loaded(full)
    before = outside.read_bytes()
    assert answers(VectorCache(full)) == flat(full, monkeypatch)
    assert not path(full).is_symlink()
    assert outside.read_bytes() == before


def test_a_memory_that_grows_through_the_threshold_while_it_is_asked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = store.begin_source(info()).id
    cache = VectorCache(store)
    uses = []
    for first in range(0, 400, 40):
        add(store, source, [track(i) for i in range(first, first + 40)])
        cache = cache.refreshed()
        uses.append(used(cache))
        assert answers(cache) == flat(store, monkeypatch)
    assert uses == [False, False] + [True] * 8
    assert len(path(store).read_bytes())


def test_live_tracks_that_change_are_found_by_their_new_vectors(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = VectorCache(full)
    assert used(cache)
    made = path(full).read_bytes()
    for step in range(3):
        add(full, 1, [track(5, seed=1000 + step), track(299, seed=2000 + step), track(300 + step)])
        cache = cache.refreshed()
        assert answers(cache) == flat(full, monkeypatch)
        wanted = track(5, seed=1000 + step).visual
        rows, _ = cache.range_search("visual", wanted, 0.99)
        assert rows.tolist() == [5]
    assert path(full).read_bytes() == made  # not for every few tracks
    assert answers(VectorCache(full)) == flat(full, monkeypatch)


def test_what_was_removed_is_not_in_the_file(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    second = full.begin_source(info("other.mp4", "f2"))
    add(full, second.id, [track(i, seed=5000 + i) for i in range(50)])
    cache = VectorCache(full)
    full.remove_source(second.id)
    assert not path(full).exists()
    cache = cache.refreshed()
    assert answers(cache) == flat(full, monkeypatch)
    assert loaded_rows(full) == 300


def loaded_rows(store: Store) -> int:
    VectorCache(store)
    return loaded(store)[0].rows


def test_a_reader_that_may_not_write_scans_all(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path(full).unlink()
    monkeypatch.setattr("vidmem.store.cache_build.take_lock", lambda *args, **more: None)
    cache = VectorCache(full)
    assert not used(cache)
    assert answers(cache) == flat(full, monkeypatch)
    assert not path(full).exists()


def test_a_full_disk_leaves_the_search_as_it_was(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path(full).unlink()

    def full_disk(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vidmem.store.array_file.replace_cached", full_disk)
    assert answers(VectorCache(full)) == flat(full, monkeypatch)


def test_with_another_faiss_nothing_is_written_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.store.first_passes.works", lambda width: False)
    source = store.begin_source(info()).id
    add(store, source, [track(i) for i in range(150)])
    cache = VectorCache(store)
    written: list[int] = []
    monkeypatch.setattr(cache_file, "save", lambda *args: written.append(1))
    for number in range(150, 153):
        add(store, source, [track(number)])
        cache = cache.refreshed()
        assert len(cache.range_search("visual", query(), -1.0)[0]) == number + 1
    assert not written
    assert not path(store).exists()


_BUILD = """
import sys
from pathlib import Path
from vidmem.store import Store, VectorCache, first_passes
first_passes.FIRST_PASS_FROM = 100
with Store.open(Path(sys.argv[1]), write=True) as store:
    print("ready", flush=True)
    while True:
        (store.cache_folder / "first_pass.bin").unlink(missing_ok=True)
        VectorCache(store)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_killed_while_it_is_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(folder, create=True) as store:
        store.set_model(MODEL)
        add(store, store.begin_source(info()).id, [track(i) for i in range(300)])
        VectorCache(store)
    for number in range(6):
        child = subprocess.Popen([sys.executable, "-c", _BUILD, str(folder)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(0.05 + 0.07 * number)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        with Store.open(folder, write=True) as store:
            if path(store).exists():
                loaded(store)  # whole, if it is there
            assert answers(VectorCache(store)) == flat(store, monkeypatch)
            assert used(VectorCache(store))
            assert sorted(p.name for p in store.cache_folder.iterdir()) == ["first_pass.bin", "vectors.bin"]
