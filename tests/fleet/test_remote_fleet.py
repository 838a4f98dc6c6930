"""Fleets whose catalogue is in PostgreSQL and whose shards are in an object store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from store.making import DV

from needs import needs
from vidmem.fleet import storage
from vidmem.fleet.bounds_table import KnownBounds
from vidmem.fleet.catalogue import Catalogue
from vidmem.fleet.sealing import seal
from vidmem.fleet.shards import Shards
from vidmem.fleet.store import FleetStore
from vidmem.fleet.vectors import FleetVectors

from .fleets import directions, film, write

needs("sqlalchemy")
needs("s3fs")
SEED = 40


@pytest.fixture
def remote(tmp_path: Path, url: str, bucket: str) -> Iterator[FleetStore]:
    """Three shards in a bucket, each of another thing; the memories are gone from this machine."""
    catalogue = Catalogue.open(url, create=True)
    for number in range(3):
        folder = tmp_path / f"{number}.memory"
        write(folder, [film(SEED, number, [number])])
        catalogue.add(seal(folder), storage.upload(folder, bucket))
        shutil.rmtree(folder)
    with FleetStore(catalogue, Shards(catalogue, tmp_path / "copies")) as store:
        yield store


def copied(store: FleetStore) -> list[str]:
    folder = store.desk.shards.shards.folder
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.exists() else []


def test_only_shards_that_may_matter_are_fetched(remote: FleetStore) -> None:
    look = directions(SEED, DV)[1]
    with remote.snapshot():
        rows, _ = FleetVectors(remote).range_search("visual", look, 0.8)
        proof = remote.proof()
    assert len(rows)
    assert proof is not None
    assert (proof.asked, proof.pruned, proof.exact) == (1, 2, True)
    assert copied(remote) == [remote.state().parts[1].row.sha256]


def test_bounds_are_kept_and_a_damaged_copy_is_fetched_again(
    remote: FleetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [part.row for part in remote.state().parts]
    shards = remote.desk.shards.shards
    first = KnownBounds(shards).of(rows)
    assert all(one is not None for one in first)
    kept = sorted(shards.folder.glob("*.bounds"))
    assert len(kept) == 3
    kept[0].write_bytes(kept[0].read_bytes()[:-1] + b"x")
    fetched: list[str] = []
    read = storage.read_file

    def counting(uri: str, name: str, wanted: object) -> bytes:
        fetched.append(uri)
        return read(uri, name, wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(storage, "read_file", counting)
    again = KnownBounds(shards).of(rows)
    assert len(fetched) == 1
    query = directions(SEED, DV)[0]
    for one, other in zip(first, again, strict=True):
        assert one is not None
        assert other is not None
        assert one.upper("visual", query) == other.upper("visual", query)


def test_without_the_store_what_is_not_here_is_down(remote: FleetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = directions(SEED, DV)
    with remote.snapshot():
        many = FleetVectors(remote)
        assert len(many.range_search("visual", looks[0], 0.8)[0])  # the first is here from now on

    def refused(*_: object, **__: object) -> object:
        raise OSError("the network is down")

    monkeypatch.setattr(storage, "_open", refused)
    with remote.snapshot():
        assert len(many.range_search("visual", looks[0], 0.8)[0])
        assert remote.proof().exact  # type: ignore[union-attr]
        assert len(many.range_search("visual", looks[1], 0.8)[0]) == 0
        proof = remote.proof()
    assert proof is not None
    assert [down.shard for down in proof.down] == [2]
    assert "the network is down" in proof.down[0].reason
    assert np.isfinite(many.reconstruct("visual", np.array([0]))).all()
