"""Clients that are slow on purpose, against a real server: none of them keeps an honest one from its answer."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from needs import needs
from serve.raw import connect, speak

needs("uvicorn")

HONEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n"
FAST: dict[str, Any] = {"head_s": 1.5, "idle_s": 3.0, "write_s": 2.0, "stalled_s": 0.5}


@contextmanager
def server(**limits: Any) -> Iterator[int]:
    """A tiny server; gives its port."""
    command = [sys.executable, str(Path(__file__).with_name("tiny.py")), json.dumps(limits)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(10)


def honest(port: int) -> float:
    """Ask for the page; return the seconds it took."""
    began = time.monotonic()
    reply = speak(port, HONEST % port)
    assert reply.startswith(b"HTTP/1.1 200"), reply[:200]
    return time.monotonic() - began


def closed_within(sock: socket.socket, seconds: float) -> bool:
    """Return True if the server ends the connection in that time."""
    sock.settimeout(seconds)
    try:
        while sock.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def dripped(sock: socket.socket, data: bytes) -> float:
    """Send data ten times a second until the server ends the connection, for 8 s at most; return the seconds."""
    began = time.monotonic()
    try:
        while time.monotonic() - began < 8:
            sock.sendall(data)
            time.sleep(0.1)
    except OSError:
        pass
    return time.monotonic() - began


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: "], ids=["silent", "half a head"])
def test_slowloris(begin: bytes) -> None:
    """200 connections that never send a whole request (Slowloris), and more than there are places."""
    for limits in ({}, {"connections": 100}):
        with server(**limits) as port, ExitStack() as stack:
            slow = [stack.enter_context(connect(port)) for _ in range(200)]
            for sock in slow:
                sock.sendall(begin)
            assert max(honest(port) for _ in range(5)) < 1.0


def test_a_head_that_drips_has_an_end() -> None:
    with server(**{**FAST, "idle_s": 60}) as port, connect(port) as dripping:
        dripping.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert dripped(dripping, b"X-A: b\r\n") < 4


def test_a_connection_without_a_request_has_an_end() -> None:
    with server(**{**FAST, "idle_s": 0.5}) as port, connect(port) as silent:
        assert closed_within(silent, 4)


def test_a_body_that_drips_has_an_end() -> None:
    head = b"POST /api/v1/pictures HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 999\r\n\r\n"
    with server(**FAST, body_s=1.0) as port, connect(port) as sock:
        sock.sendall(head % port)
        time.sleep(0.3)
        sock.sendall(b"x")
        time.sleep(1.2)
        assert b" 408 " in sock.recv(1000)
        assert closed_within(sock, 2)


def test_a_body_that_was_refused_is_not_waited_for() -> None:
    """Uvicorn reads on after its answer, with no limit."""
    head = b"POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 99999999\r\n\r\n"
    with server(**FAST) as port, connect(port) as sock:
        sock.sendall(head % port)
        assert b" 405 " in sock.recv(1000)
        assert dripped(sock, b"x") < 4


def test_an_answer_that_is_not_taken_has_an_end() -> None:
    ask = b"GET /big HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"
    with server(**FAST) as port, connect(port) as sock:
        sock.sendall(ask % port)
        time.sleep(4.5)
        received = 0
        sock.settimeout(3)
        try:
            while chunk := sock.recv(1 << 20):
                received += len(chunk)
        except ConnectionError:
            pass
        assert received < 64 << 20


def test_an_answer_that_is_taken_steadily_is_whole() -> None:
    ask = b"GET /big HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n"
    with server(**{**FAST, "write_s": 0.7}) as port, connect(port) as sock:
        sock.sendall(ask % port)
        received, began = 0, time.monotonic()
        while chunk := sock.recv(2 << 20):
            received += len(chunk)
            time.sleep(0.04)
        assert received > 64 << 20
        assert time.monotonic() - began > 1.0, "it took longer than the limit, but it moved"


def test_readers_that_stall_make_place() -> None:
    ask = b"GET /big HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"
    with server(connections=40, stalled_s=0.5) as port, ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(connect(port)).sendall(ask % port)
        time.sleep(3.5)  # until the buffers of the system are full, and the watchdog has looked twice
        assert max(honest(port) for _ in range(3)) < 1.0


def test_bodies_that_never_end_make_place() -> None:
    """The login of a server takes a body from anyone."""
    begun = b"POST /api/v1/pictures HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 100\r\n\r\na"
    with server(connections=40) as port, ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(connect(port)).sendall(begun % port)
        time.sleep(0.5)
        assert max(honest(port) for _ in range(3)) < 1.0


def test_connections_that_work_are_not_ended_for_others() -> None:
    ask = b"GET /waits HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"
    with server(connections=10, **FAST) as port, ExitStack() as stack:
        working = [stack.enter_context(connect(port)) for _ in range(10)]
        for sock in working:
            sock.sendall(ask % port)
        time.sleep(0.3)
        with connect(port) as one_more:
            assert closed_within(one_more, 1)
        assert not closed_within(working[0], 0.2)
        working[0].close()
        time.sleep(0.3)
        assert honest(port) < 1.0


def test_a_client_that_reuses_its_connection() -> None:
    with server(**FAST) as port, connect(port) as sock:
        for _ in range(4):
            sock.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port)
            time.sleep(0.7)
            assert b" 200 " in sock.recv(4000)


def test_smuggled_and_malformed_requests() -> None:
    with server() as port:
        own = b"Host: 127.0.0.1:%d\r\n" % port
        for data in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: evil.example\r\n" + own + b"\r\n",
            b"GET / HTTP/1.1\r\n" + own + b"X-A: b\x00c\r\n\r\n",
            b"GET http://evil.example/ HTTP/1.1\r\n" + own + b"Connection: close\r\n\r\n",
            b"GET /..%2f HTTP/1.1\r\n" + own + b"Connection: close\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
            b"POST /api/v1/pictures HTTP/1.1\r\n" + own + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"POST /api/v1/pictures HTTP/1.1\r\n" + own + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
            b"POST /api/v1/pictures HTTP/1.1\r\n"
            + own
            + b"Content-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n"
            + own
            + b"\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
        ):
            reply = speak(port, data)
            assert reply[9:10] == b"4", (data[:80], reply[:100])
            assert reply.count(b"HTTP/1.1 ") == 1, data[:80]
        with connect(port) as sock:  # a head without an end
            sock.sendall(b"GET / HTTP/1.1\r\n" + own + b"X-A: " + b"a" * (200 << 10))
            assert closed_within(sock, 2)
        assert honest(port) < 1.0
