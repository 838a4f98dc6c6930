"""The whole server against what was published for servers of its kind."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import fakes
import pytest
from attack.killing import difference, rows
from PIL import Image

from needs import needs
from serve.raw import connect, speak
from serve.real import Reply, Server
from vidmem import Memory
from vidmem.config import IndexConfig
from vidmem.encoders import registry
from vidmem.serve.jobs import ENDED

for library in ("starlette", "uvicorn", "mcp", "pydantic"):
    needs(library)

EVIL = "<img src=x onerror=alert(1)>.mp4"
HEADERS = "\r\nset-cookie: a=b\r\n\r\n<script>alert(1)</script>.mp4"
PICTURE = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos with names that are made to get out of where they are put."""
    folder = tmp_path_factory.mktemp("films")
    fakes.squares(folder / EVIL, [("red", 0, 4, 16)], 4)
    shutil.copy(folder / EVIL, folder / "walk.mp4")
    fakes.squares(folder / HEADERS.replace("/", "_"), [("blue", 0, 2, 16)], 2)
    fakes.squares(folder / "long.mp4", [("red", 0, 12, 16), ("blue", 3, 9, 80)], 16)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, films: Path) -> Path:
    folder = tmp_path_factory.mktemp("memories") / "m"
    with registry.registered(fakes.SPEC), Memory.open(folder, encoder="colours") as m:
        config = IndexConfig(fps=10, batch=8, checkpoint_frames=16, still=0)
        m.index(films / EVIL, films / HEADERS.replace("/", "_"), config=config)
    return folder


@pytest.fixture(scope="module")
def server(made: Path) -> Iterator[Server]:
    """A server for this machine, only for questions."""
    with Server(made) as started:
        yield started


def test_every_route_checks_the_name_it_is_asked_under(server: Server) -> None:
    document = server.ask("/api/v1/openapi.json").document
    paths = [re.sub(r"\{\w+\}", "1", path) for path in document["paths"]]
    for path in (*paths, "/", "/static/js/app.js", "/api/v1/events", "/mcp", "/nothing"):
        for headers in (
            {"host": f"evil.example:{server.port}"},
            {"origin": "https://evil.example"},
            {"sec-fetch-site": "cross-site"},
        ):
            for method in ("GET", "POST"):
                reply = server.ask(path, method, None, headers)
                assert (reply.status, reply.document["error"]["kind"]) == (403, "forbidden"), (path, headers)
                assert "access-control-allow-origin" not in reply.headers


def test_nothing_is_written_unless_it_is_allowed(server: Server, films: Path) -> None:
    assert server.ask("/api/v1/server").document["allow_write"] is False
    for job in ({"action": "index", "paths": ["walk.mp4"]}, {"action": "forget", "sources": [1]}):
        reply = server.post(job)
        assert (reply.status, reply.document["error"]["kind"]) == (403, "forbidden")
    assert server.ask("/api/v1/jobs/x", "DELETE").status == 403


# XSS by names of files, and header splitting by them


def test_names_of_files_are_data(server: Server) -> None:
    reply = server.ask("/api/v1/sources")
    assert reply.headers["content-type"].partition(";")[0] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "script-src" not in reply.headers["content-security-policy"]
    assert EVIL in reply.body.decode()


def test_no_answer_has_a_header_from_a_name(server: Server) -> None:
    for source in (1, 2):
        for path in (f"/api/v1/videos/{source}", f"/api/v1/clips/{source}/0-1000000000.mp4"):
            reply = server.ask(path)
            assert reply.status == 200
            assert "set-cookie" not in reply.headers
            assert reply.headers["content-type"].startswith("video/")
            assert "sandbox" in reply.headers["content-security-policy"]
            assert all(value.isprintable() for value in reply.headers.values())


def test_words_of_the_question_are_data(server: Server) -> None:
    reply = server.ask("/api/v1/where?text=%3Cscript%3Ealert(1)%3C/script%3E")
    assert reply.headers["content-type"].partition(";")[0] == "application/json"
    for path in ("/nothing%3Cscript%3E", "/api/v1/sources/%3Cscript%3E"):
        refused = server.ask(path)
        assert refused.headers["content-type"].partition(";")[0] == "application/json"
        assert b"<script>" not in refused.body


# Path traversal


@pytest.mark.parametrize(
    "name", ["../guard.py", "..%2fguard.py", "%252e%252e/guard.py", "..%5cguard.py", "%2fetc%2fpasswd"]
)
def test_files_of_the_package_are_not_served(server: Server, name: str) -> None:
    for route in ("/static/", "/static/js/", "/"):
        reply = speak(server.port, f"GET {route}{name} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
                      "Connection: close\r\n\r\n".encode())  # fmt: skip
        assert reply.startswith(b"HTTP/1.1 404 ")
        assert b"root:" not in reply
        assert b"class Guard" not in reply


def test_no_folder_is_listed(server: Server) -> None:
    for path in (
        "/static",
        "/static/",
        "/static/js",
        "/static/js/",
        "/static/css",
        "/api",
        "/api/v1",
        "/api/v1/videos",
    ):
        assert server.ask(path).status == 404


# The quadratic header Range: CVE-2025-62727


def test_a_long_range_takes_no_time(server: Server) -> None:
    ranges = "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 4000, 2))
    began = time.monotonic()
    reply = server.ask("/api/v1/videos/1", headers={"range": ranges[:20_000]})
    assert time.monotonic() - began < 1
    assert (reply.status, "multipart" in reply.headers["content-type"]) == (200, False)
    digits = "bytes=" + "1" * 15_000 + "-"
    assert server.ask("/api/v1/videos/1", headers={"range": digits}).status == 200
    assert server.ask("/api/v1/videos/1", headers={"range": "bytes=0-9"}).status == 206


# Bombs


def _png(width: int, height: int, *, text: int = 0) -> bytes:
    """A PNG of a few KB that claims a size, or holds a text that unpacks to `text` bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    packed = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(text), 9)) if text else b""
    return b"\x89PNG\r\n\x1a\n" + head + packed + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def _zip() -> bytes:
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.png", bytes(50 << 20))
    return out.getvalue()


BOMBS = {
    "pixels": _png(60_000, 60_000),
    "wide": _png(2_000_000_000, 1),
    "text": _png(100, 100, text=300 << 20),
    "zip": _zip(),
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://169.254.169.254/"/></svg>',
    "html": b"<script>alert(1)</script>",
    "url": b"http://169.254.169.254/latest/meta-data",
    "nothing": b"",
    "cut": b"\x89PNG\r\n\x1a\n",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_in_one_line(server: Server, bomb: str) -> None:
    before = _memory_kb(server)
    began = time.monotonic()
    reply = server.ask("/api/v1/pictures", "POST", BOMBS[bomb], {**PICTURE, "user-agent": bomb})
    assert 400 <= reply.status < 500, reply.body
    assert "\n" not in reply.document["error"]["message"]
    assert time.monotonic() - began < 5
    assert _memory_kb(server) - before < 400_000


def test_a_picture_is_taken(server: Server) -> None:
    out = io.BytesIO()
    Image.new("RGB", (80, 60), (255, 0, 0)).save(out, "PNG")
    reply = server.ask("/api/v1/pictures", "POST", out.getvalue(), PICTURE)
    assert (reply.status, reply.document["width"]) == (200, 80)
    large = server.ask("/api/v1/pictures", "POST", bytes((20 << 20) + 1), PICTURE)
    assert large.status == 413
    for kind in ("text/plain", "multipart/form-data; boundary=a"):
        assert server.ask("/api/v1/pictures", "POST", out.getvalue(), {"content-type": kind}).status == 415


def _memory_kb(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status")
    if not status.exists():
        return 0
    return int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1])  # type: ignore[index]


# Slow clients


def test_two_hundred_slow_clients_stall_no_one(server: Server) -> None:
    with ExitStack() as stack:
        for n in range(200):
            sock = stack.enter_context(connect(server.port))
            begins = (b"", b"GET / HTTP/1.1\r\n", b"POST /api/v1/pictures HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                      b"Content-Type: image/png\r\nContent-Length: 20000000\r\n\r\nx" % server.port)  # fmt: skip
            sock.sendall(begins[n % 3])
        for _ in range(5):
            began = time.monotonic()
            assert server.ask("/api/v1/where?text=red").status == 200
            assert time.monotonic() - began < 1.0


# The log and the token


def test_the_log_has_no_questions_and_no_control_characters(made: Path) -> None:
    with Server(made) as quiet, Server(made, "--log-queries") as open_server:
        for one in (quiet, open_server):
            one.ask("/api/v1/where?text=red&near=blue")
            speak(
                one.port, b"GET /a%%0a%%1b[2Jb HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % one.port
            )
            one.says("%0a")
            assert all(line.isprintable() for line in one.said)
        assert quiet.says("/api/v1/where").startswith("127.0.0.1 GET /api/v1/where 200 ")
        assert "text=red" not in "".join(quiet.said)
        assert "/api/v1/where?text=red&near=blue 200" in open_server.says("/api/v1/where")


def _log_in(server: Server, token: str, host: str) -> Reply:
    headers = {"content-type": "application/x-www-form-urlencoded", "host": host}
    return server.ask("/login", "POST", f"token={token}".encode(), headers)


def test_a_server_for_others_prints_its_token_once(made: Path) -> None:
    with Server(made, "--host", "0.0.0.0") as server:
        token = server.says("#token=").rpartition("#token=")[2]
        assert len(token) == 32
        for path in ("/api/v1/where?text=red", "/api/v1/events", "/static/js/app.js", "/mcp"):
            assert server.ask(path).status == 401
        assert server.ask("/").status == 303
        assert server.ask("/api/v1/stats", headers={"host": f"evil.example:{server.port}"}).status == 403
        assert server.ask("/api/v1/stats", headers={"authorization": f"Bearer {token}"}).status == 200
        assert _log_in(server, "wrong", f"127.0.0.1:{server.port}").status == 403
        cookie = _log_in(server, token, f"127.0.0.1:{server.port}").headers["set-cookie"].partition(";")[0]
        assert server.ask("/api/v1/stats", headers={"cookie": cookie}).status == 200
        page = server.ask("/login")
        assert token not in page.body.decode()
        server.says("POST /login 303")
        assert "".join(server.said).count(token) == 1
        assert cookie.partition("=")[2] not in "".join(server.said)


def test_a_token_of_the_environment_is_never_printed(made: Path) -> None:
    token = "chosen-by-the-owner-1"
    with Server(made, environment={"VIDMEM_SERVE_TOKEN": token}) as server:
        assert server.ask("/api/v1/stats").status == 401
        assert server.ask("/api/v1/stats", headers={"authorization": f"Bearer {token}"}).status == 200
        assert token not in "".join(server.said)


def test_behind_a_proxy(made: Path) -> None:
    with Server(made, "--allow-host", "localhost:9999") as server:
        token = server.says("#token=").rpartition("#token=")[2]
        reply = _log_in(server, token, "localhost:9999")
        assert reply.status == 303
        forwarded = {"host": "localhost:9999", "x-forwarded-for": "1.2.3.4"}
        assert server.ask("/api/v1/stats", headers=forwarded).status == 401
        assert server.ask("/api/v1/stats", headers={**forwarded, "authorization": f"Bearer {token}"}).status == 200


@pytest.mark.parametrize(
    "options", [("--host", "box.local"), ("--allow-host", "*"), ("--allow-write", "--folder", "/none")]
)
def test_what_cannot_be_started(made: Path, options: tuple[str, ...]) -> None:
    with pytest.raises(AssertionError) as caught:
        Server(made, *options)
    assert "Traceback" not in str(caught.value)
    assert options[-2] in str(caught.value)


# Jobs and events


def test_a_job_over_http_with_its_events(made: Path, films: Path, tmp_path: Path) -> None:
    memory = tmp_path / "m"
    shutil.copytree(made, memory)
    with Server(memory, "--allow-write", "--folder", str(films)) as server, connect(server.port) as listener:
        listener.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % server.port)
        events = _events(listener)
        assert next(events)[0] == "memory"
        for path in ("../m", "/etc/passwd", "http://169.254.169.254/", str(tmp_path), "\\\\host\\share"):
            reply = server.post({"action": "index", "paths": [path]})
            assert (reply.status, reply.document["error"]["kind"]) == (400, "usage")
        posted = server.post({"action": "index", "paths": ["long.mp4"]})
        assert posted.status == 200
        job = posted.document["id"]
        told, generations = list[object](), list[object]()
        deadline = time.monotonic() + 30
        while not (told and told[-1] in ENDED and generations):
            assert time.monotonic() < deadline, told
            kind, data = next(events)
            told += [data["state"]] if kind == "job" else []
            generations += [data["generation"]] if kind == "memory" else []
        assert (told[0], told[-1]) == ("waiting", "done")
        assert "running" in told
        assert server.ended(job)["reports"][0]["frames"] == 160
        assert len(server.ask("/api/v1/sources").document["sources"]) == 3
        assert server.ask("/api/v1/where?text=blue&source=3").document["found"]
        forgotten = server.ended(server.post({"action": "forget", "sources": [1]}).document["id"])
        assert forgotten["state"] == "done"
        assert server.ask("/api/v1/sources/1").status == 404
        assert server.post({"action": "forget", "sources": [1]}).status == 404


def _events(sock: socket.socket) -> Iterator[tuple[str, dict[str, object]]]:
    """The events of a stream, as EventSource reads them."""
    sock.settimeout(10)  # less than the time between two heartbeats
    held = b""
    while True:
        chunk = sock.recv(65536)
        assert chunk, "the stream ended"
        held += chunk
        for found in re.finditer(rb"event: (\w+)\ndata: ([^\n]+)\n\n", held):
            yield found[1].decode(), json.loads(found[2])
        held = held[held.rfind(b"\n\n") + 2 :]


def test_a_stopped_server_ends_streams_and_jobs_at_once(made: Path, films: Path, tmp_path: Path) -> None:
    memory = tmp_path / "m"
    shutil.copytree(made, memory)
    gate = {fakes.GATE: str(tmp_path / "gate")}
    options = ("--allow-write", "--folder", str(films), "--encoder", "colours")
    with Server(memory, *options, environment=gate) as server, connect(server.port) as listener:
        listener.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % server.port)
        assert listener.recv(1000)
        began = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        server.process.wait(20)
        assert time.monotonic() - began < 5
        assert server.process.returncode == 0
    assert "Traceback" not in "\n".join(server.said)


def test_a_killed_server_loses_nothing(made: Path, films: Path, tmp_path: Path) -> None:
    memory, whole = tmp_path / "m", tmp_path / "whole"
    shutil.copytree(made, memory)
    shutil.copytree(made, whole)
    with registry.registered(fakes.SPEC), Memory.open(whole) as m:
        m.index(films / "long.mp4")
    server = Server(memory, "--allow-write", "--folder", str(films))
    try:
        job = server.post({"action": "index", "paths": ["long.mp4"]}).document["id"]
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and server.ask(f"/api/v1/jobs/{job}").document["state"] == "waiting":
            time.sleep(0.01)
    finally:
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
    deadline = time.monotonic() + 20
    while True:
        try:
            with registry.registered(fakes.SPEC), Memory.open(memory) as m:  # when the job has ended, too
                m.index(films / "long.mp4")
            break
        except Exception:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert difference(rows(memory), rows(whole)) is None


def test_two_servers_on_one_memory(made: Path, films: Path, tmp_path: Path) -> None:
    memory = tmp_path / "m"
    shutil.copytree(made, memory)
    options = ("--allow-write", "--folder", str(films))
    with Server(memory, *options) as one, Server(memory, *options) as two:
        with Memory.open(memory):
            locked = one.ended(one.post({"action": "forget", "sources": [2]}).document["id"])
        assert (locked["state"], locked["error"]["kind"]) == ("failed", "locked")
        assert one.ended(one.post({"action": "forget", "sources": [2]}).document["id"])["state"] == "done"
        assert two.ask("/api/v1/sources/2").status == 404
        assert two.ask("/api/v1/where?text=red").document["found"]
