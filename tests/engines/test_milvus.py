"""Vectors in Milvus: candidates from an index, answers from the memory; what is stale, foreign or down is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from needs import needs
from vidmem.cli import app
from vidmem.engines.milvus import MilvusVectors, uri_of
from vidmem.engines.milvus_collection import State, held
from vidmem.engines.milvus_server import TOKEN, check_uri, connect
from vidmem.errors import ModelMismatchError, StoreError, UsageError
from vidmem.export.to_milvus import to_milvus
from vidmem.memory import Memory
from vidmem.records import SourceKind
from vidmem.store import ModelRecord
from vidmem.store.within import Within
from vidmem.timecode import NS

needs("pymilvus")
needs("milvus_lite")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of milvus-lite on loopback; by itself it would answer every network."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("milvus")
    command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(folder)]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def opened(memory: Memory, uri: str) -> MilvusVectors:
    model = memory.store.model()
    assert model is not None
    return MilvusVectors.open(f"milvus:{uri}", memory.cache(), model)


@pytest.mark.parametrize("index", ["FLAT", "HNSW", "AUTOINDEX"])
def test_answers_are_those_of_the_memory(memory: Memory, server: str, index: str) -> None:
    """Every index sees all of a few tracks, so the answers are equal."""
    report = to_milvus(memory.query, server, index=index, replace=True)
    assert (report.tracks, report.written, report.index) == (len(memory.cache()), len(memory.cache()), index)
    exact, engine = memory.cache(), opened(memory, server)
    assert engine.approximate == "Milvus"
    assert (len(engine), engine.state) == (len(exact), exact.state)
    queries = memory.text_encoder.encode_text(list(fakes.NAMES))
    for kind in ("text", "visual"):
        many = engine.range_search_many(kind, queries, 0.3)
        for query, both in zip(queries, many, strict=True):
            for threshold in (-1.0, 0.3, np.float64(0.6), np.float32(0.99)):
                rows, scores = engine.range_search(kind, query, threshold)
                expected, expected_scores = exact.range_search(kind, query, threshold)
                np.testing.assert_array_equal(rows, expected)
                np.testing.assert_allclose(scores, expected_scores, atol=2e-6)
            np.testing.assert_array_equal(both[0], exact.range_search(kind, query, 0.3)[0])
            for k in (0, 1, 3, 100):
                for got, wanted in zip(engine.top(kind, query, k), exact.top(kind, query, k), strict=True):
                    np.testing.assert_array_equal(got, wanted)
    rows = np.arange(len(exact))
    np.testing.assert_array_equal(engine.rows_of(exact.columns_of(rows).ids), rows)
    np.testing.assert_array_equal(engine.reconstruct("text", rows), exact.reconstruct("text", rows))


def test_filters_leave_the_same_tracks(memory: Memory, server: str) -> None:
    to_milvus(memory.query, server)
    exact, engine = memory.cache(), opened(memory, server)
    query = memory.text_encoder.encode_text(["red"])[0]
    for source in memory.sources():
        for span in ((0, 4 * NS), (5 * NS, 9 * NS), np.array([0], np.int64)):
            within = Within({source.id: span})
            for one in (within, within.excluding(exact.rows_within(within)[:1])):
                for k in (1, 5):
                    for got, wanted in zip(
                        engine.top("text", query, k, one), exact.top("text", query, k, one), strict=True
                    ):
                        np.testing.assert_array_equal(got, wanted)
                rows, _ = engine.range_search("text", query, 0.0, one)
                np.testing.assert_array_equal(rows, exact.range_search("text", query, 0.0, one)[0])
                for got, wanted in zip(
                    engine.top_product(query, query, 3, one), exact.top_product(query, query, 3, one), strict=True
                ):
                    np.testing.assert_array_equal(got, wanted)


def test_more_results_than_milvus_gives_are_searched_in_the_memory(
    memory: Memory, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_milvus(memory.query, server)
    engine = opened(memory, server)
    query = memory.text_encoder.encode_text(["red"])[0]
    for usual, most in ((1, 16_384), (2, 3), (2, 2)):
        monkeypatch.setattr("vidmem.engines.milvus.USUAL", usual)
        monkeypatch.setattr("vidmem.engines.milvus.MOST", most)
        rows, _ = engine.range_search("text", query, -1.0)
        np.testing.assert_array_equal(rows, np.arange(len(memory.cache())))
    assert len(rows) > 3
    assert len(engine.top("text", query, 3)[0]) == 3


def test_bad_queries_are_refused_as_by_the_memory(memory: Memory, server: str) -> None:
    to_milvus(memory.query, server)
    engine = opened(memory, server)
    with pytest.raises(ValueError, match="shape"):
        engine.range_search("text", np.ones(3, np.float32), 0.5)
    with pytest.raises(UsageError, match="no vector"):
        engine.top("visual", np.zeros(8, np.float32), 1)


def test_what_has_changed_is_stale_until_it_is_exported(copy: Path, tmp_path: Path) -> None:
    uri = str(tmp_path / "v.db")
    with Memory.open(copy) as m:
        with pytest.raises(StoreError, match="not in Milvus"):
            opened(m, uri)
        first = to_milvus(m.query, uri)
        engine = opened(m, uri)
        assert engine.refreshed() is engine
        again = to_milvus(m.query, uri)
        assert (again.written, again.collection) == (0, first.collection)
        m.remove(next(row.uri for row in m.sources() if row.kind is SourceKind.VIDEO))
        with pytest.raises(StoreError, match="generation"):
            engine.refreshed()
        with pytest.raises(StoreError, match="run `vidmem export milvus"):
            opened(m, uri)
        second = to_milvus(m.query, uri)
        assert second.tracks < first.tracks
        assert len(opened(m, uri)) == second.tracks
        client = connect(uri)
        assert client.list_collections() == [second.collection]


def test_vectors_of_another_encoder_are_refused(copy: Path, server: str) -> None:
    with Memory.open(copy, read_only=True) as m:
        to_milvus(m.query, server)
        model = m.store.model()
        assert model is not None
        other = ModelRecord(model.encoder, "d1" * 32, model.visual_dim, model.text_dim, {})
        with pytest.raises(ModelMismatchError, match="another encoder"):
            MilvusVectors.open(f"milvus:{server}", m.cache(), other)


def test_an_index_that_the_server_does_not_have(memory: Memory, server: str) -> None:
    before = to_milvus(memory.query, server, index="FLAT", replace=True)
    with pytest.raises(UsageError, match="IVF_RABITQ"):
        to_milvus(memory.query, server, index="IVF_RABITQ", replace=True)
    assert len(opened(memory, server)) == before.tracks
    with pytest.raises(UsageError, match="one of FLAT"):
        to_milvus(memory.query, server, index="flat")


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import fakes; fakes.register()
from vidmem.engines import milvus_collection
from vidmem.export.to_milvus import to_milvus
from vidmem.memory import Memory
def kill(*args, **more): os.kill(os.getpid(), signal.SIGKILL)
milvus_collection._index = kill
with Memory.open({memory!r}, read_only=True) as m: to_milvus(m.query, {uri!r}, replace=True)
"""


def test_a_killed_export_leaves_the_former_collection(copy: Path, server: str) -> None:
    code = KILLED.format(tests=str(Path(fakes.__file__).parent), memory=str(copy), uri=server)
    with Memory.open(copy, read_only=True) as m:
        before = to_milvus(m.query, server, replace=True)
        killed = subprocess.run([sys.executable, "-c", code], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert to_milvus(m.query, server).collection == before.collection
        assert len(opened(m, server)) == before.tracks
        after = to_milvus(m.query, server, replace=True)  # and drops what the kill left
        names = [name for name in connect(server).list_collections() if State.parse(name) is not None]
        assert names == [after.collection]


def test_a_server_that_is_down(memory: Memory) -> None:
    with pytest.raises(StoreError, match="does not answer"):
        to_milvus(memory.query, "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="does not answer"):
        opened(memory, "http://127.0.0.1:9")


def test_a_server_that_goes_down_between_questions(memory: Memory, tmp_path: Path) -> None:
    uri = str(tmp_path / "v.db")
    to_milvus(memory.query, uri)
    engine = opened(memory, uri)
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(uri)
    with pytest.raises(StoreError, match="does not answer"):
        engine.top("text", memory.text_encoder.encode_text(["red"])[0], 1)


@pytest.mark.parametrize(
    "uri", ["", "x", "ftp://h", "http://", "http://h/path/x", "nowhere/at/all.db", "unix:/x", "http://u:hunter2@h:1"]
)
def test_bad_addresses(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        check_uri(uri)
    assert "hunter2" not in str(caught.value)


def test_a_file_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "v.db").write_text("mine")
    with pytest.raises(UsageError, match="something else"):
        connect(str(tmp_path / "v.db"))
    assert (tmp_path / "v.db").read_text() == "mine"


def test_the_token_is_not_shown(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "root:hunter2")
    with pytest.raises(StoreError) as caught:
        connect("http://127.0.0.1:9")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("spec", ["", "milvus", "milvus:", "lance:x", "http://h"])
def test_engines_that_do_not_exist(spec: str) -> None:
    with pytest.raises(UsageError, match="milvus:URI"):
        uri_of(spec)


@given(st.text(max_size=90), st.text(max_size=20), st.integers(0, 2**62), st.integers(0, 2**62))
def test_a_name_says_its_state(memory: str, weights: str, generation: int, tracks: int) -> None:
    state = State.of(memory, ModelRecord("e", weights, 8, 8, {}), generation, tracks)
    name = state.new_collection()
    assert State.parse(name) == state
    assert len(name) < 256
    assert re.fullmatch(r"\w+", name, re.ASCII)
    assert name.startswith(f"{state.alias}_")
    assert State.parse(name + "x") is None


def test_the_command(indexed: Path, tmp_path: Path) -> None:
    uri = str(tmp_path / "v.db")
    call = ["export", "milvus", "--to", uri, "-m", str(indexed), "--json"]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    assert '"index": "FLAT"' in result.stdout
    assert "nothing has changed" in CliRunner().invoke(app, call).stderr
    for bad in (["--to", "x"], ["--to", uri, "--index", "NONE"], []):
        assert CliRunner().invoke(app, ["export", "milvus", "-m", str(indexed), *bad]).exit_code == 2
    down = CliRunner().invoke(app, ["export", "milvus", "--to", "http://127.0.0.1:9", "-m", str(indexed)])
    assert down.exit_code == 4
    with Memory.open(indexed, read_only=True) as m:
        model: Any = m.store.model()
        there = held(connect(uri), uri, State.of(*_state(m), len(m.cache())))
        assert there is not None
        assert model.encoder == "colours"


def test_questions_on_the_command_line(indexed: Path, copy: Path, tmp_path: Path) -> None:
    uri = str(tmp_path / "v.db")
    assert CliRunner().invoke(app, ["export", "milvus", "--to", uri, "-m", str(copy)]).exit_code == 0
    engine = ["--engine", f"milvus:{uri}", "-m", str(copy)]
    for question in (
        ["where", "red", "--all"],
        ["where", "blue", "--after", "2s"],
        ["timeline", "green"],
        ["where", "white"],
    ):
        exact = CliRunner().invoke(app, [*question, "-m", str(copy), "--nl"])
        asked = CliRunner().invoke(app, [*question, *engine, "--nl"])
        assert asked.exit_code == exact.exit_code, asked.output
        assert asked.stdout == exact.stdout
    document = json.loads(CliRunner().invoke(app, ["where", "red", *engine, "--json"]).stdout)
    assert (document["exact"], document["shards"]) == (False, None)
    assert json.loads(CliRunner().invoke(app, ["where", "red", "-m", str(copy), "--json"]).stdout)["exact"] is True
    assert "Milvus may have missed it" in CliRunner().invoke(app, ["where", "white", *engine]).stderr
    (tmp_path / "list").write_text("red\ncyan\n")
    watched = CliRunner().invoke(app, ["watch-list", str(tmp_path / "list"), *engine])
    assert watched.stdout == CliRunner().invoke(app, ["watch-list", str(tmp_path / "list"), "-m", str(copy)]).stdout
    with Memory.open(copy) as m:
        m.remove(next(row.uri for row in m.sources() if row.kind is SourceKind.VIDEO))
    stale = CliRunner().invoke(app, ["where", "red", *engine])
    assert (stale.exit_code, "run `vidmem export milvus" in stale.stderr) == (4, True)
    for spec, code in (("milvus:http://127.0.0.1:9", 4), ("lance:x", 2), ("milvus:", 2), ("milvus:ftp://x", 2)):
        refused = CliRunner().invoke(app, ["where", "red", "--engine", spec, "-m", str(indexed)])
        assert (refused.exit_code, refused.stdout) == (code, "")


def _state(memory: Memory) -> tuple[str, ModelRecord, int]:
    model = memory.store.model()
    assert model is not None
    name, generation = memory.cache().state
    return name, model, generation


def test_the_process_ends_though_a_file_was_open(indexed: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(fakes.__file__).parent)!r}); import fakes; fakes.register(); "
        "from vidmem.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "export", "milvus", "--to", str(tmp_path / "v.db"), "-m", str(indexed)],
        check=False,
        timeout=120,
        env={**os.environ},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
