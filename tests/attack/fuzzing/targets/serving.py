"""Requests to `vidmem serve`, behind its guard: whatever is asked, the answer is no fault of the server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from ..mutate import binary, either, text
from ..target import Broken, Ready, Target
from .stores import small_memory

EXPECTED = frozenset({200, 206, 304, 400, 403, 404, 405, 409, 413, 414, 415, 416, 429, 431})
HOST = b"127.0.0.1:8077"
REQUESTS = (
    "GET /api/v1/where?text=red&near=blue&within=2s&apart=1&top=all&after=1s&before=2026-01-31&source=1",
    "GET /api/v1/where?crop=1@1.5s:8,32,32,32&min_probability=0.5",
    "GET /api/v1/timeline?text=blue&alike=1&threshold=0.5",
    "GET /api/v1/things?newest=1&top=3&offset=1&named=1&name=r",
    "GET /api/v1/sightings?tracks=1,2,3",
    "GET /api/v1/haystack?question=the+image+with+the+dog:+is+there+a+frisbee?",
    "GET /api/v1/names?prefix=re&limit=5",
    "HEAD /api/v1/sources",
    "GET /api/v1/sources/1/things?top=2",
    "GET /api/v1/sources/1/boxes?tracks=1,2&start_ns=0&end_ns=99999999999",
    "GET /api/v1/frames/1/1000000000.jpg?box=8,32,40,64&width=320",
    "GET /api/v1/crops/1/1000000000.jpg?box=8,32,40,64",
    "GET /api/v1/videos/1\nRange: bytes=0-99",
    "GET /api/v1/videos/1\nRange: bytes=-5,1-2\nIf-None-Match: W/\"a\", *",
    "GET /static/js/app.js",
    "GET /..%2f..%2fetc/passwd",
    "POST /api/v1/pictures\nContent-Type: image/png\n\nnot a picture",
    "DELETE /api/v1/jobs/1",
)  # fmt: skip
WORDS = ["&", "=", "%00", "%ff", "+", ",", ";", "..", "%2e%2e/", "source", "1@", "bytes=", "-", "٣", "nan", "9" * 20]


def asked(folder: Path) -> Ready:
    """A request in text: method and address, headers, and after an empty line the body."""
    from vidmem.memory import Memory
    from vidmem.serve.app import build
    from vidmem.serve.guard import Guard, GuardSettings
    from vidmem.serve.names import ServerNames

    memory = Memory.open(small_memory(folder / "memory"), read_only=True)
    app = Guard(build(memory), GuardSettings(ServerNames("127.0.0.1", 8077, frozenset())))

    def run(data: bytes) -> None:
        head, _, body = data.partition(b"\n\n")
        first, *lines = head.split(b"\n")
        method, _, target = first.partition(b" ")
        status, answer = asyncio.run(ask(app, method.decode("latin-1"), target, lines, body))
        if status not in EXPECTED:
            raise Broken(f"status {status}: {answer[:300]!r}")
        if status >= 400 and status != 416 and answer and set(json.loads(answer)) != {"error"}:
            raise Broken(f"an error of another form: {answer[:300]!r}")

    return Ready(run, [one.encode() for one in REQUESTS])


async def ask(app: Any, method: str, target: bytes, lines: list[bytes], body: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to one request, without a socket."""
    from urllib.parse import unquote_to_bytes

    path, _, query = target.partition(b"?")
    headers = [(b"host", HOST), (b"content-length", str(len(body)).encode())]
    headers += [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": unquote_to_bytes(path).decode("utf-8", "replace"), "raw_path": path,
        "query_string": query, "root_path": "", "headers": headers, "client": ("127.0.0.1", 9), "state": {},
        "server": ("127.0.0.1", 8077),
    }  # fmt: skip
    given, sent = [{"type": "http.request", "body": body, "more_body": False}], list[dict[str, Any]]()
    forever = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not given:
            await forever.wait()
        return given.pop()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    status = next(message["status"] for message in sent if message["type"] == "http.response.start")
    return int(status), b"".join(message.get("body", b"") for message in sent)


TARGETS = [
    Target(
        "http-requests",
        asked,
        either(text(WORDS), binary([b"\r\n", b"%00", b"/../"])),
        0.6,
        megabytes=1024,
        needs=("starlette", "uvicorn", "mcp"),
    ),
]
