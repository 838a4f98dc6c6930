"""Requests as an attacker writes them: straight into an ASGI application, or into a socket, with any header."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

OWN = "127.0.0.1:8077"
Headers = Sequence[tuple[str, str]]


@dataclass
class Reply:
    """An answer. headers: in lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def kind(self) -> str:
        """The kind of the error."""
        return str(json.loads(self.body)["error"]["kind"])


def scope(
    method: str,
    target: str,
    headers: Headers = (),
    *,
    host: str | None = OWN,
    client: str = "127.0.0.1",
    server: tuple[str, int] = ("127.0.0.1", 8077),
) -> dict[str, Any]:
    """What uvicorn makes of a request."""
    path, _, query = target.partition("?")
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": ([] if host is None else [(b"host", host.encode("latin-1"))]) + pairs,
        "client": (client, 50000),
        "server": server,
        "state": {},
    }


async def asked(app: Any, method: str, target: str, headers: Headers = (), body: bytes = b"", **more: Any) -> Reply:
    """The answer of an ASGI application."""
    reply, sent = Reply(), False
    if body and not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in headers):
        headers = [*headers, ("content-length", str(len(body)))]

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            reply.status = message["status"]
            reply.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            reply.body += message.get("body", b"")

    await app(scope(method, target, headers, **more), receive, send)
    return reply


def ask(app: Any, method: str, target: str, headers: Headers = (), body: bytes = b"", **more: Any) -> Reply:
    """As `asked`, in an event loop of its own."""
    return asyncio.run(asked(app, method, target, headers, body, **more))


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A connection to a server."""
    return socket.create_connection((host, port), timeout=10)


def speak(port: int, data: bytes, host: str = "127.0.0.1") -> bytes:
    """Send bytes; return all that comes until the server closes."""
    with connect(port, host) as sock:
        sock.sendall(data)
        out = b""
        while chunk := sock.recv(65536):
            out += chunk
    return out
