"""A real cluster of Ray on this machine, with workers that are killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakes
import pytest
from typer.testing import CliRunner

from benchmarks.fleet_index import our_workers, rows_of
from needs import needs
from scale.equal import single
from vidmem.cli.app import app
from vidmem.errors import VidmemError
from vidmem.fleet.catalogue import Catalogue
from vidmem.scale import cluster, index_fleet

needs("ray")
needs("psutil")
TESTS = Path(fakes.__file__).parent
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("colours")]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables by which new processes know the encoder `colours`."""
    info = tmp_path_factory.mktemp("plugin") / "colours-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: colours\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[vidmem.encoders]\ncolours = fakes:SPEC\n")
    paths = os.pathsep.join((str(info.parent), str(TESTS), str(TESTS.parent)))
    gate = str(info.parent / "gate")
    return {"PYTHONPATH": paths, "VIDMEM_WORK": str(info.parent / "work"), fakes.GATE: gate}


@pytest.fixture(scope="module", autouse=True)
def ray(environment: dict[str, str]) -> Iterator[Any]:
    """A cluster that all tests of this file share."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with cluster.connected(cluster.Where(3)) as connected:
            yield connected


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet") / "videos"
    folder.mkdir()
    for number, colour in enumerate(("red", "blue", "green", "cyan")):
        fakes.squares(folder / f"{number}.mp4", [(colour, 0, 2, 8 + 20 * number), ("white", 1, 3, 60)], 3)
    return folder


def _rows(catalogue: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with Catalogue.open(catalogue) as opened:
        for row in opened.shards():
            more = rows_of(Path(row.uri) / "memory.sqlite")
            assert not found.keys() & more.keys()
            found |= more
    return found


def test_the_command_indexes_all_but_what_is_bad(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    long = fakes.squares(tmp_path / "long.mp4", [("red", 0, 30, 8), ("blue", 9, 60, 70)], 70)
    listed = tmp_path / "walks.txt"
    listed.write_text(f"{videos}\nbad.mp4\n{long}\nnone.mp4\n")
    options = ["--catalogue", str(tmp_path / "c"), "--to", str(tmp_path / "shards"), "--workers", "local:2"]
    command = ["fleet", "index", str(listed), *options, "--span", "20s", "--group", "6s", "--nl"]
    ran = CliRunner().invoke(app, [*command, "--encoder", "colours"])
    assert ran.exit_code == 3, ran.stderr
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    states = {Path(row["source"]).name: (row["state"], row["line"]) for row in rows}
    assert states == {
        **{f"{n}.mp4": ("done", 1) for n in range(4)},
        "bad.mp4": ("failed", 2),
        "long.mp4": ("done", 3),
        "none.mp4": ("failed", 4),
    }
    assert all(row["worker"] and row["tries"] == 1 for row in rows if row["state"] == "done")
    assert "indexed 5 sources: 410 frames" in ran.stderr
    assert '{"source": {"source": ' in ran.stderr
    assert _rows(tmp_path / "c") == single(tmp_path / "single", videos, long)
    other = CliRunner().invoke(app, [*command, "--encoder", "tiny"])
    assert other.exit_code == 4
    assert "reembed" in other.stderr


def test_a_client_of_ray_indexes_too(ray: Any, videos: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = ray.get_runtime_context().gcs_address
    serve = ["-m", "ray.util.client.server", "--host", "127.0.0.1", "--port", port, "--mode", "specific-server"]
    options = ["--catalogue", tmp_path / "c", "--to", tmp_path / "shards", "--workers", f"ray://127.0.0.1:{port}"]
    options += ["--most-workers", "1", "--encoder", "colours"]
    code = "from vidmem.cli import main; main()"
    with subprocess.Popen([sys.executable, *serve, "--address", address]) as server:
        try:
            command = [sys.executable, "-c", code, "fleet", "index", str(videos), *map(str, options)]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
        finally:
            server.terminate()
    assert ran.returncode == 0, ran.stderr
    assert "indexed 4 sources: 60 frames" in ran.stderr
    assert _rows(tmp_path / "c") == single(tmp_path / "single", videos)


def test_killed_workers_cost_nothing(videos: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    gate, killed, over = Path(environment[fakes.GATE]), list[int](), threading.Event()

    def kill() -> None:  # `colours:gated` stops within a video until the gate is there
        while len(killed) < 3 and not over.wait(0.5):
            there = [pid for pid in our_workers() if pid not in killed]
            if _leased(tmp_path / "c") and there:
                os.kill(there[0], signal.SIGKILL)
                killed.append(there[0])
        gate.touch()

    killer = threading.Thread(target=kill)
    killer.start()
    long = fakes.squares(tmp_path / "long.mp4", [("red", 0, 9, 8), ("blue", 5, 16, 90)], 20)
    notes: list[str] = []
    try:
        report = index_fleet(
            [videos, long],
            tmp_path / "c",
            tmp_path / "shards",
            workers="local:2",
            encoder="colours:gated",
            group_s=3,
            note=notes.append,
        )
    finally:
        over.set()
        killer.join()
    assert len(killed) == 3
    assert report.lost_workers >= 2  # one may have died as a worker of the test before
    assert {source.state for source in report.sources} == {"done"}
    assert any("died" in note and "its task is begun again" in note for note in notes)
    assert _rows(tmp_path / "c") == single(tmp_path / "single", videos, long)


def test_a_killed_driver_is_continued(videos: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """A command of its own, with its own cluster, is killed while it has leases; another one takes over."""
    options = ["--catalogue", tmp_path / "c", "--to", tmp_path / "shards", "--lease", "3s", "--group", "3s"]
    options += ["--workers", "local:1"]
    code = "from vidmem.cli import main; main()"
    gate = tmp_path / "closed"
    first = subprocess.Popen(
        [sys.executable, "-c", code, "fleet", "index", str(videos), *map(str, options), "--encoder", "colours:gated"],
        env={**os.environ, **environment, fakes.GATE: str(gate), "VIDMEM_WORK": str(tmp_path / "work")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 90
        while True:
            assert time.monotonic() < deadline
            assert first.poll() is None
            if _leased(tmp_path / "c"):
                break
            time.sleep(0.1)
    finally:
        children = _children(first.pid)
        first.kill()
        first.wait()
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    gate.touch()
    report = index_fleet([videos], tmp_path / "c", tmp_path / "shards", workers="local:2", group_s=3, lease_s=3)
    assert {source.state for source in report.sources} <= {"done", "known"}
    assert report.shards
    assert _rows(tmp_path / "c") == single(tmp_path / "single", videos)


def _leased(catalogue: Path) -> bool:
    try:
        with Catalogue.open(catalogue) as opened:
            return any(row.state == "leased" for row in opened.shards(ready=False))
    except VidmemError:  # it is being made
        return False


def _children(pid: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(pid).children(recursive=True)]
