"""MCP over streamable HTTP, from the same application that serves the page and the API, on a real socket."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from typer.testing import CliRunner

from needs import needs
from vidmem.cli import app as command_line
from vidmem.memory import Memory
from vidmem.query.documents import public, where_document

from .talking import document, picture, problem, talk

uvicorn = needs("uvicorn")
JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


class Served:
    """The application behind its guard on a free port, in a thread."""

    def __init__(self, memory: Memory, settings: Any = None, token: str | None = None) -> None:
        from vidmem.serve.app import build
        from vidmem.serve.guard import Guard, GuardSettings
        from vidmem.serve.names import ServerNames
        from vidmem.serve.running import listening

        self.socket = listening("127.0.0.1", 0)
        self.port = int(self.socket.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        app = Guard(build(memory, settings), GuardSettings(ServerNames("127.0.0.1", self.port), token))
        config = uvicorn.Config(app, log_config=None, lifespan="on", http="h11", timeout_graceful_shutdown=2)
        self.server = uvicorn.Server(config)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()

    def _run(self) -> None:
        async def serve() -> None:
            self.loop = asyncio.get_running_loop()
            await self.server.serve([self.socket])

        asyncio.run(serve())

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(120)
        self.socket.close()
        assert not self.thread.is_alive()

    def tasks(self) -> int:
        """Tasks in the loop of the server."""
        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(_tasks(), self.loop).result(120)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, {**JSON, **named} if method == "POST" else named)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found


async def _tasks() -> int:
    return len(asyncio.all_tasks())


@pytest.fixture
def served(memory: Memory) -> Iterator[Served]:
    running = Served(memory)
    try:
        yield running
    finally:
        running.stop()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_mcp_the_api_the_command_line_and_memory_give_one_answer(
    served: Served, memory: Memory, made: Path, mode: str
) -> None:
    answer = talk(served.url, lambda client: client.call_tool("where", {"text": "red", "top": 5}), mode=mode)
    found = document(answer)
    assert picture(answer) is not None
    assert found.pop("unknown") is None
    assert found == public(where_document(memory.where("red", top=5)))
    status, body = served.ask("GET", "/api/v1/where?text=red&top=5")
    assert (status, json.loads(body)) == (200, found)
    printed = CliRunner().invoke(command_line, ["where", "red", "--json", "--top", "5", "-m", str(made)])
    shown = json.loads(printed.stdout)
    assert {name: found[name] for name in shown} == shown


def test_resources_and_errors(served: Served) -> None:
    async def ask(client: Client) -> tuple[str, str]:
        wrong = problem(await client.call_tool("where", {"text": "red", "top": 0}))
        (frame,) = (await client.read_resource("vidmem://frames/1/1000000000")).contents
        return wrong, str(frame.mime_type)

    wrong, kind = talk(served.url, ask)
    assert "`top`" in wrong
    assert kind == "image/jpeg"


def test_many_clients_leave_nothing_behind(served: Served) -> None:
    talk(served.url, lambda client: client.call_tool("where", {"text": "red"}))
    before = served.tasks()
    for _ in range(150):
        status, _ = served.ask("POST", "/mcp", json.dumps(HELLO).encode())
        assert status == 200
    assert served.tasks() <= before + 20  # of 150; a few may still be ending


def test_clients_at_once(served: Served) -> None:
    async def all_of_them() -> list[bool]:
        found: list[bool] = []

        async def ask(words: str) -> None:
            async with Client(served.url) as client:
                for _ in range(3):
                    found.append(document(await client.call_tool("where", {"text": words}))["found"])

        with anyio.fail_after(240):
            async with anyio.create_task_group() as tasks:
                for words in ("red", "magenta", "green", "blue"):
                    tasks.start_soon(ask, words)
        return found

    assert sorted(anyio.run(all_of_them)) == [False] * 3 + [True] * 9


def test_a_client_that_goes_away_does_not_hurt(served: Served) -> None:
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "things", "arguments": {}}}
    body = json.dumps(call).encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in {**JSON, "content-length": str(len(body))}.items())
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            connection.sendall(f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{served.port}\r\n{head}\r\n".encode() + body)
    assert document(talk(served.url, lambda client: client.call_tool("where", {"text": "red"})))["found"]


def test_the_guard_is_before_it(memory: Memory) -> None:
    served = Served(memory, token="t" * 40)
    hello = json.dumps(HELLO).encode()
    try:
        assert served.ask("POST", "/mcp", hello)[0] == 401
        assert served.ask("POST", "/mcp", hello, authorization="Bearer " + "x" * 40)[0] == 401
        known = {"authorization": "Bearer " + "t" * 40}
        assert served.ask("POST", "/mcp", hello, **known)[0] == 200
        assert served.ask("POST", "/mcp", hello, host="evil.example", **known)[0] == 403
        assert served.ask("POST", "/mcp", hello, origin="http://evil.example", **known)[0] == 403
    finally:
        served.stop()


def test_writing_over_http(copy: Path, tmp_path: Path) -> None:
    from vidmem.serve.settings import Settings

    (tmp_path / "videos").mkdir()
    with Memory.open(copy, read_only=True) as m:
        served = Served(m, Settings(allow_write=True, folders=(str(tmp_path / "videos"),)))
        try:

            async def work(client: Client) -> tuple[list[str], dict[str, Any], str]:
                tools = [tool.name for tool in (await client.list_tools()).tools]
                done = document(await client.call_tool("forget", {"source": 1, "confirm": True}))
                return tools, done, problem(await client.call_tool("index", {"paths": ["/etc/passwd"]}))

            tools, done, refused = talk(served.url, work)
        finally:
            served.stop()
        assert tools[6:] == ["index", "annotate", "forget"]
        assert done["forgotten"]
        assert "no such file below the server's folders" in refused
        assert [row.id for row in m.sources()] == [2]


@pytest.mark.parametrize(
    ("method", "body", "headers", "status"),
    [
        ("GET", b"", {"accept": "text/event-stream"}, 405),
        ("DELETE", b"", {"mcp_session_id": "x"}, 405),
        ("POST", b"x" * (2 << 20), {}, 413),
        ("POST", b"{", {}, 400),
        ("POST", b"[]", {}, 400),
        ("POST", b"[" * 100_000, {}, 400),
        ("POST", b"{}", {"content_type": "text/plain"}, None),
        ("POST", b"{}", {"accept": "text/html"}, 406),
    ],
)
def test_what_is_no_request(
    served: Served, method: str, body: bytes, headers: dict[str, str], status: int | None
) -> None:
    found, _ = served.ask(method, "/mcp", body, **headers)
    assert found == status if status else found in (400, 415)
    assert served.ask("POST", "/mcp", json.dumps(HELLO).encode())[0] == 200


def test_no_session_is_needed_and_none_is_given(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=120)
    connection.request("POST", "/mcp", json.dumps(HELLO), JSON)
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.getheader("mcp-session-id") is None
    connection.close()
