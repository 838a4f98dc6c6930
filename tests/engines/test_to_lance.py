"""Tracks in a Lance table: what is read back, tables that are shared, refused, indexed, or cut short by a kill."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from needs import needs
from vidmem.cli import app
from vidmem.engines.tracks import Exported, Part
from vidmem.errors import MediaError, ModelMismatchError, UsageError, VidmemError
from vidmem.export.lance_rows import record_batch, schema
from vidmem.export.lance_table import LanceTable
from vidmem.export.to_lance import to_lance
from vidmem.memory import Memory
from vidmem.records import SourceKind
from vidmem.store import ModelRecord, SourceRow, TrackRow
from vidmem.timecode import NS

lance = needs("lance")
lancedb = needs("lancedb")
pa = needs("pyarrow")

RECORD = ModelRecord("colours", "c0" * 32, 8, 8, {})


def rows_of(table: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lance.dataset(str(table)).to_table().to_pylist()
    return sorted(found, key=lambda row: (row["shard"], row["track"]))


def nanoseconds(table: Path, column: str) -> list[int | None]:
    values = lance.dataset(str(table)).to_table(columns=["track", column]).sort_by("track")[column]
    numbers: list[int | None] = values.cast("int64").to_pylist()
    return numbers


def test_what_is_read_back_is_what_the_memory_holds(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "tracks.lance"
    report = to_lance(memory.query, str(path))
    tracks = {t.id: t for row in memory.sources() for t in memory.store.source_tracks(row.id)}
    sources = {row.id: row for row in memory.sources()}
    assert report.tracks == report.rows == len(tracks) > 4
    assert not report.indexed
    rows = rows_of(path)
    assert {row["track"] for row in rows} == set(tracks)
    for row in rows:
        track = tracks[row["track"]]
        source = sources[track.source_id]
        assert (row["source"], row["kind"]) == (source.uri, source.kind)
        assert [row[name] for name in ("start_ns", "end_ns", "best_ns")] == [
            track.start_ns,
            track.end_ns,
            track.best_ns,
        ]
        assert [row[name] for name in ("x0", "y0", "x1", "y1")] == np.array(track.best_box, np.float32).tolist()
        assert np.array(row["visual"], np.float16).tobytes() == track.visual.astype("<f2").tobytes()
        assert np.array(row["text"], np.float16).tobytes() == track.text.astype("<f2").tobytes()
        assert (row["frames"], row["name"], row["thumbnail"]) == (track.frames, None, None)
        assert row["shard"] == memory.store.memory_id()
        assert (row["picture"] is not None) == (source.kind is SourceKind.PICTURES)
        assert row["picture"] is None or Path(row["picture"]).exists()


def test_times_are_those_of_both_clocks(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "tracks.lance"
    to_lance(memory.query, str(path))
    (video,) = (row for row in memory.sources() if row.kind is SourceKind.VIDEO)
    assert video.start_ns is not None
    starts, walls = nanoseconds(path, "start_ns"), nanoseconds(path, "start_time")
    ends = nanoseconds(path, "end_time")
    kinds = [row["kind"] for row in rows_of(path)]
    for start, wall, end, kind in zip(starts, walls, ends, kinds, strict=True):
        assert start is not None
        if kind == "video":
            assert wall == video.start_ns + start
            assert end is not None
            assert end >= wall
    red = memory.where("red").sightings[0]
    held = lance.dataset(str(path)).to_table(filter=f"track = {red.tracks[0]}")
    assert held["start_ns"].to_pylist() == [red.start_ns]


def test_thumbnails_show_the_thing(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "tracks.lance"
    report = to_lance(memory.query, str(path), thumbnails=True, names=True)
    assert report.without == 0
    seen = set()
    for row in rows_of(path):
        image = np.asarray(Image.open(io.BytesIO(row["thumbnail"])).convert("RGB"), np.float64)
        assert max(image.shape[:2]) <= 160
        middle = image[image.shape[0] // 2, image.shape[1] // 2]
        colour = min(fakes.COLOURS, key=lambda name: float(np.linalg.norm(middle - fakes.COLOURS[name])))
        assert row["name"] == colour
        seen.add(colour)
    assert seen == {"red", "blue", "green", "cyan"}


def test_a_missing_video_leaves_thumbnails_out(copy: Path, walk: Path, tmp_path: Path) -> None:
    moved = tmp_path / "away.mp4"
    walk.rename(moved)
    try:
        with Memory.open(copy, read_only=True) as m:
            report = to_lance(m.query, str(tmp_path / "t.lance"), thumbnails=True)
    finally:
        moved.rename(walk)
    rows = rows_of(tmp_path / "t.lance")
    assert report.without == sum(row["thumbnail"] is None for row in rows) == sum(r["kind"] == "video" for r in rows)


def test_twice_does_not_double_and_a_change_replaces(copy: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.lance"
    with Memory.open(copy) as m:
        first = to_lance(m.query, str(path))
        before = rows_of(path)
        again = to_lance(m.query, str(path))
        assert (again.tracks, again.shards, again.unchanged) == (0, 0, 1)
        assert rows_of(path) == before
        (video,) = (row for row in m.sources() if row.kind is SourceKind.VIDEO)
        m.remove(video.uri)
        third = to_lance(m.query, str(path))
        assert third.rows == third.tracks < first.rows
        assert {row["source"] for row in rows_of(path)} == {row.uri for row in m.sources()}
    held = b"".join(file.read_bytes() for file in path.rglob("*.lance") if file.is_file())
    assert video.uri.encode() not in held  # nothing of a former version is kept


def test_memories_share_a_table_until_it_is_replaced(copy: Path, indexed: Path, walk: Path, tmp_path: Path) -> None:
    path, other = tmp_path / "t.lance", tmp_path / "other"
    with Memory.open(other, encoder="colours") as m:
        m.index(walk)
        alone = to_lance(m.query, str(path)).rows
    with Memory.open(indexed, read_only=True) as m:
        both = to_lance(m.query, str(path))
        assert both.rows == alone + both.tracks
        assert len({row["shard"] for row in rows_of(path)}) == 2
        replaced = to_lance(m.query, str(path), replace=True)
        assert replaced.rows == both.tracks
        assert {row["shard"] for row in rows_of(path)} == {m.store.memory_id()}


def test_an_empty_memory(tmp_path: Path) -> None:
    Memory.open(tmp_path / "m", encoder="colours").close()
    with Memory.open(tmp_path / "m", encoder="colours") as m, pytest.raises(UsageError, match="nothing to export"):
        to_lance(m.query, str(tmp_path / "t.lance"))


def a_file(path: Path) -> None:
    path.write_text("mine")


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "letters.txt").write_text("mine")


def a_table_of_another(path: Path) -> None:
    lance.write_dataset(pa.table({"a": [1, 2]}), str(path))


def a_damaged_table(path: Path) -> None:
    lance.write_dataset(pa.table({"a": [1]}), str(path))
    for manifest in (path / "_versions").glob("*.manifest"):
        manifest.write_bytes(b"damaged")


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (a_file, UsageError),
        (a_folder, UsageError),
        (a_table_of_another, UsageError),
        (a_damaged_table, MediaError),
    ],
)
@pytest.mark.parametrize("replace", [False, True])
def test_what_vidmem_did_not_write_is_left_alone(
    memory: Memory, tmp_path: Path, make: Callable[[Path], None], error: type[VidmemError], replace: bool
) -> None:
    path = tmp_path / "t.lance"
    make(path)
    before = {file: file.read_bytes() for file in sorted(tmp_path.rglob("*")) if file.is_file()}
    with pytest.raises(error):
        to_lance(memory.query, str(path), replace=replace)
    assert {file: file.read_bytes() for file in sorted(tmp_path.rglob("*")) if file.is_file()} == before


def test_vectors_of_another_encoder_are_refused(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "t.lance"
    other = ModelRecord("colours", "d1" * 32, 8, 8, {})
    LanceTable.open(str(path), schema(other)).overwrite([])
    with pytest.raises(ModelMismatchError, match="another encoder"):
        to_lance(memory.query, str(path))
    assert to_lance(memory.query, str(path), replace=True).rows > 0


@pytest.mark.parametrize("uri", ["tracks", "tracks.lancet", "s3://bucket/tracks"])
def test_names_that_lancedb_does_not_see_are_refused(memory: Memory, uri: str) -> None:
    with pytest.raises(UsageError, match=r"\.lance"):
        to_lance(memory.query, uri)


def test_no_secret_is_shown(memory: Memory) -> None:
    with pytest.raises(MediaError) as caught:
        to_lance(memory.query, "nowhere://user:hunter2@host/bucket/tracks.lance")
    assert "hunter2" not in str(caught.value)


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import fakes; fakes.register()
from vidmem.export import lance_table
from vidmem.export.to_lance import to_lance
from vidmem.memory import Memory
def kill(*args, **more): os.kill(os.getpid(), signal.SIGKILL)
lance_table.LanceTable.{method} = kill
with Memory.open({memory!r}, read_only=True) as m: to_lance(m.query, {table!r}, replace={replace})
"""


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("method", ["_commit", "write"])
def test_a_killed_export_leaves_the_old_table(copy: Path, tmp_path: Path, method: str, replace: bool) -> None:
    path = tmp_path / "t.lance"
    code = KILLED.format(
        tests=str(Path(fakes.__file__).parent), method=method, memory=str(copy), table=str(path), replace=replace
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False)  # of the first export
    assert killed.returncode == -signal.SIGKILL
    with Memory.open(copy) as m:
        to_lance(m.query, str(path))
        before = rows_of(path)
        m.remove(next(row.uri for row in m.sources() if row.kind is SourceKind.VIDEO))
        killed = subprocess.run([sys.executable, "-c", code], check=False)  # of one that replaces rows
        assert killed.returncode == -signal.SIGKILL
        assert rows_of(path) == before
        assert to_lance(m.query, str(path)).rows == len(rows_of(path)) < len(before)


def test_indexes_are_built_and_used(tmp_path: Path) -> None:
    """2,000 tracks in clumps: LanceDB finds with the index what a flat search finds."""
    rng = np.random.default_rng(0)
    dim, n = 64, 2000
    clumps = _unit(rng.standard_normal((40, dim)))
    vectors = _unit(clumps[np.arange(n) % 40] + 0.08 * rng.standard_normal((n, dim)))
    record = ModelRecord("colours", "c0" * 32, dim, dim, {})
    table = LanceTable.open(str(tmp_path / "t.lance"), schema(record))
    rows = [_row(i + 1, vectors[i], vectors[i]) for i in range(n)]
    part = Part("a", 1, None, np.arange(1, n + 1))  # type: ignore[arg-type]
    table.put("a", table.write([record_batch(schema(record), part, rows, None, [None] * n)]))
    table.index()
    opened = lancedb.connect(tmp_path).open_table("t")
    assert {index.columns[0]: str(index.index_type).upper() for index in opened.list_indices()} == {
        "visual": "IVFRQ",
        "text": "IVFRQ",
        "track": "BTREE",
        "start_time": "BTREE",
        "source": "BITMAP",
        "shard": "BITMAP",
    }
    query = clumps[3].astype(np.float32)
    half = vectors.astype(np.float16).astype(np.float32)
    for kind in ("visual", "text"):
        found = (
            opened.search(query, vector_column_name=kind)
            .distance_type("dot")
            .distance_range(None, 1 - 0.6 + 0.1)
            .nprobes(64)
            .refine_factor(2)
            .limit(n)
            .to_arrow()
        )
        close = [
            track
            for track, distance in zip(found["track"].to_pylist(), found["_distance"].to_pylist(), strict=True)
            if distance <= 0.4
        ]
        assert set(close) == set((np.flatnonzero(half @ query >= 0.6) + 1).tolist())
        assert len(close) >= 40
    more = [_row(n + 1, vectors[0], vectors[0])]
    table.put("b", table.write([record_batch(schema(record), part, more, None, [None])]))
    table.index()  # brings what is there up to date
    assert opened.index_stats("visual_rq").num_unindexed_rows in (0, None)


SHARDS = st.sampled_from(["a", "it's", 'b"', "é"])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(SHARDS, st.integers(0, 5), st.booleans()), max_size=6))
def test_a_table_holds_the_last_state_of_each_shard(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, bool]]
) -> None:
    path = tmp_path_factory.mktemp("tables") / "t.lance"
    table = LanceTable.open(str(path), schema(RECORD))
    expected: dict[str, int] = {}
    for generation, (shard, count, joined) in enumerate(steps):
        part = Part(shard, generation, None, np.arange(count))  # type: ignore[arg-type]
        rows = [_row(i, np.eye(8)[i], np.zeros(8)) for i in range(count)]
        batch = record_batch(schema(RECORD), part, rows, None, [None] * count)
        table.put(shard, table.write([batch]) if count else [])
        expected[shard] = generation
        if joined and len(table):  # as a user may do it with LanceDB
            lance.dataset(str(path)).optimize.compact_files()
            table = LanceTable.open(str(path), schema(RECORD))
    counts = {shard: steps[generation][1] for shard, generation in expected.items()}
    assert table.held() == {shard: {(expected[shard], 0)} for shard, count in counts.items() if count}
    assert len(table) == sum(counts.values())


def test_the_command(indexed: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.lance"
    result = CliRunner().invoke(app, ["export", "lance", "--to", str(path), "-m", str(indexed), "--json"])
    assert result.exit_code == 0, result.output
    assert f'"rows": {len(rows_of(path))}' in result.stdout
    again = CliRunner().invoke(app, ["export", "lance", "--to", str(path), "-m", str(indexed)])
    assert "nothing has changed" in again.stderr
    for args, code in ((["--to", ""], 2), ([], 2), (["--to", "x.txt"], 2)):
        assert CliRunner().invoke(app, ["export", "lance", *args, "-m", str(indexed)]).exit_code == code
    wrong = CliRunner().invoke(app, ["export", "lanse"])
    assert wrong.exit_code == 2
    assert "did you mean `vidmem export lance`?" in wrong.stderr


def test_the_command_says_which_thumbnails_are_missing(copy: Path, walk: Path, tmp_path: Path) -> None:
    moved = tmp_path / "away.mp4"
    walk.rename(moved)
    try:
        args = ["export", "lance", "--to", str(tmp_path / "t.lance"), "-m", str(copy), "--thumbnails"]
        result = CliRunner().invoke(app, args)
    finally:
        moved.rename(walk)
    assert result.exit_code == 3
    assert "without a thumbnail" in result.stderr


def _unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _row(track: int, visual: Any, text: Any) -> Exported:
    source = SourceRow(
        1, "it's a wälk.mp4", SourceKind.VIDEO, 10, 10, 9 * NS, None, "f", "done", 1, 0, None, b"", 0, None
    )
    row = TrackRow(
        ordinal=track,
        start_ns=0,
        end_ns=NS,
        frames=1,
        visual=visual.astype(np.float32),
        text=text.astype(np.float32),
        best_ns=0,
        best_box=(0, 0, 1, 1),
        id=track,
        source_id=1,
    )
    return Exported(row, source, None, None, None)
