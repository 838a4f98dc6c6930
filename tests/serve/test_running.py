"""A real server: `vidmem serve` in a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakes
import pytest

from vidmem.memory import Memory
from vidmem.store.verify import verify

TESTS = Path(fakes.__file__).parent
START_S = 60


class Server:
    """`vidmem serve` in a process."""

    def __init__(self, memory: Path, *args: str) -> None:
        code = (
            f"import sys; sys.path.insert(0, {str(TESTS)!r}); import fakes; fakes.register(); "
            "from vidmem.cli import main; main()"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "serve", str(memory), "--port", "0", *args],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert self.process.stderr is not None
        self.line = self.process.stderr.readline()
        match = re.search(r"http://127\.0\.0\.1:(\d+)/", self.line)
        assert match, self.line
        self.port = int(match[1])

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Exit code and what was printed on stderr."""
        self.process.send_signal(number)
        rest = self.process.communicate(timeout=60)[1]
        return self.process.returncode, rest


@pytest.fixture
def server(indexed: Path) -> Iterator[Server]:
    started = Server(indexed)
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.communicate()


def test_it_serves_until_ctrl_c(server: Server) -> None:
    status, headers, body = server.get("/api/v1/where?text=red&source=1")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body)["found"]
    assert "server" not in headers
    status, _, again = server.get("/api/v1/where?text=red&source=1", **{"If-None-Match": headers["etag"]})
    assert (status, again) == (304, b"")
    status, headers, part = server.get("/api/v1/videos/1", Range="bytes=0-99")
    assert (status, len(part), headers["content-range"].startswith("bytes 0-99/")) == (206, 100, True)
    code, rest = server.stop()
    assert code == 0
    assert "stopped" in rest
    assert "Traceback" not in rest


def test_a_page_that_is_kept_keeps_its_policy(server: Server) -> None:
    """A browser puts the headers of a 304 in the place of those that it has."""
    for path in ("/", "/static/js/app.js"):
        _, first, body = server.get(path)
        status, again, nothing = server.get(path, **{"If-None-Match": first["etag"]})
        assert (status, nothing, len(body) > 100) == (304, b"", True)
        assert again["content-security-policy"] == first["content-security-policy"]


def test_a_terminated_server_stops_cleanly(server: Server) -> None:
    assert server.get("/api/v1/server")[0] == 200
    assert server.stop(signal.SIGTERM)[0] == 0


def test_a_client_that_goes_away_leaves_nothing_open(server: Server, walk: Path) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.sendall(f"GET /api/v1/videos/1 HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
            assert sock.recv(16)
    assert server.get("/api/v1/server")[0] == 200
    held = Path(f"/proc/{server.process.pid}/fd")
    if held.is_dir():
        assert str(walk) not in [os.readlink(one) for one in held.iterdir() if one.is_symlink()]


def test_a_memory_is_made_where_clients_may_fill_it(tmp_path: Path) -> None:
    started = Server(tmp_path / "new.memory", "--allow-write", "--folder", str(tmp_path))
    try:
        assert json.loads(started.get("/api/v1/sources")[2])["sources"] == []
    finally:
        started.stop()


def test_a_memory_that_is_being_written_is_served(indexed: Path) -> None:
    with Memory.open(indexed):  # the lock of the writer
        started = Server(indexed, "--allow-write")
        try:
            assert started.get("/api/v1/server")[0] == 200
        finally:
            started.stop()


def run(*args: str, env: dict[str, str] | None = None) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "vidmem.cli", *args], capture_output=True, text=True, env={**os.environ, **(env or {})}
    )


def test_what_cannot_be_served(tmp_path: Path, indexed: Path) -> None:
    done = run("serve", str(tmp_path / "none"))
    assert (done.returncode, "there is no memory here" in done.stderr) == (4, True)
    done = run("serve", str(indexed), "--folder", str(tmp_path))
    assert (done.returncode, "give --allow-write, too" in done.stderr) == (2, True)


def test_two_servers_a_writer_and_a_kill(indexed: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(indexed, tmp_path / "copy"))
    more = fakes.squares(tmp_path / "more.mp4", [("yellow", 0, 2, 8)], 3)
    first, second = Server(folder), Server(folder)
    try:
        before = [json.loads(one.get("/api/v1/where?text=yellow")[2])["found"] for one in (first, second)]
        with Memory.open(folder) as writer:  # a third process writes while both are open
            writer.index(more)
            seen = [json.loads(one.get("/api/v1/where?text=yellow")[2])["found"] for one in (first, second)]
            first.process.kill()
            first.process.wait()
            writer.remove(str(more))
        after = json.loads(second.get("/api/v1/where?text=yellow")[2])["found"]
        assert (before, seen, after) == ([False, False], [True, True], False)
        assert json.loads(second.get("/api/v1/stats")[2])["sources"] == 2
    finally:
        first.process.kill()
        code, _ = second.stop()
    assert code == 0
    assert [finding for finding in verify(folder) if not finding.sound] == []
