"""The tracks of a fleet in other engines: every shard, with the ids and clocks of the fleet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from needs import needs
from vidmem.errors import StoreError
from vidmem.export.to_lance import to_lance
from vidmem.export.to_milvus import to_milvus
from vidmem.memory import Memory
from vidmem.records import SourceKind
from vidmem.timecode import NS

needs("sqlalchemy")
HOUR = 3600 * NS


@pytest.fixture
def shards(indexed: Path, tmp_path: Path) -> list[Path]:
    """Two sealed memories: one of the video and the photos, one of the photos alone."""
    from vidmem.fleet.sealing import seal

    folders = [Path(shutil.copytree(indexed, tmp_path / name)) for name in ("a", "b")]
    with Memory.open(folders[1]) as m:
        m.remove(next(row.uri for row in m.sources() if row.kind is SourceKind.VIDEO))
    for folder in folders:
        seal(folder)
    return folders


@pytest.fixture
def url(shards: list[Path], tmp_path: Path) -> str:
    """Their catalogue; the clock of the first is an hour slow."""
    from vidmem.fleet import manifest
    from vidmem.fleet.catalogue import Catalogue

    path = str(tmp_path / "house.catalogue")
    with Catalogue.open(path, create=True) as catalogue:
        for folder in shards:
            catalogue.add(manifest.load(folder), str(folder))
        catalogue.set_clock(1, HOUR, 0)
    return path


@pytest.fixture
def fleet(url: str) -> Iterator[Memory]:
    with Memory.open(f"fleet:{url}") as m:
        yield m


def rows_of(table: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = needs("lance").dataset(str(table)).to_table().to_pylist()
    return found


def test_a_lance_table_of_a_fleet(fleet: Memory, shards: list[Path], url: str, tmp_path: Path) -> None:
    path = tmp_path / "t.lance"
    report = to_lance(fleet.query, str(path), thumbnails=True)
    assert (report.shards, report.tracks, report.without) == (2, len(fleet.cache()), 0)
    rows = rows_of(path)
    expected: dict[int, Any] = {}
    for number, folder in enumerate(shards, 1):
        with Memory.open(folder, read_only=True) as m:
            for row in m.sources():
                for track in m.store.source_tracks(row.id):
                    expected[number << 32 | track.id] = (row, track)
    assert {row["track"] for row in rows} == set(expected)
    assert len({row["shard"] for row in rows}) == 2
    for row in rows:
        source, track = expected[row["track"]]
        assert np.array(row["visual"], np.float16).tobytes() == track.visual.astype("<f2").tobytes()
        assert row["clock_ns"] == (HOUR if row["track"] >> 32 == 1 else 0)
        if source.kind is SourceKind.VIDEO:
            started = np.datetime64(row["start_time"].replace(tzinfo=None), "ns").astype(np.int64)
            assert abs(int(started) - (source.start_ns + HOUR + track.start_ns)) < 1000
    red = fleet.where("red").sightings[0]
    assert red.tracks[0] in {row["track"] for row in rows}

    again = to_lance(fleet.query, str(path))
    assert (again.shards, again.unchanged) == (0, 2)
    from vidmem.fleet.catalogue import Catalogue

    with Catalogue.open(url) as catalogue:
        catalogue.set_clock(1, 2 * HOUR, 0)
    moved = to_lance(fleet.query, str(path))
    assert (moved.shards, moved.unchanged, moved.rows) == (1, 1, len(rows))


def test_a_shard_that_is_down_is_named_and_the_rest_stays(fleet: Memory, shards: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "t.lance"
    shards[1].rename(tmp_path / "away")
    with pytest.raises(StoreError, match="b"):
        to_lance(fleet.query, str(path))
    assert {row["track"] >> 32 for row in rows_of(path)} == {1}  # each shard is a commit of its own
    (tmp_path / "away").rename(shards[1])
    assert (report := to_lance(fleet.query, str(path))).unchanged == 1
    assert report.rows == len(fleet.cache())


def test_milvus_searches_a_fleet(fleet: Memory, url: str, tmp_path: Path) -> None:
    needs("pymilvus")
    needs("milvus_lite")
    uri = str(tmp_path / "v.db")
    report = to_milvus(fleet.query, uri)
    assert report.tracks == len(fleet.cache())
    with Memory.open(f"fleet:{url}", engine=f"milvus:{uri}") as m:
        for name in ("red", "blue", "cyan", "white"):
            got, wanted = m.where(name, top=None), fleet.where(name, top=None)
            assert [(s.tracks, s.start_ns) for s in got.sightings] == [(s.tracks, s.start_ns) for s in wanted.sightings]
            assert got.proof is not None
            assert wanted.proof is not None
            assert (got.proof.exact, wanted.proof.exact) == (False, True)
            np.testing.assert_allclose(
                [s.score for s in got.near_misses], [s.score for s in wanted.near_misses], atol=2e-6
            )
