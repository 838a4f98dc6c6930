"""`vidmem mcp` as agents start it: a process, its stdin and its stdout."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp_types import CallToolResult
from typer.testing import CliRunner

from vidmem.cli import app
from vidmem.memory import Memory
from vidmem.serve.agents.desk import Desk
from vidmem.serve.agents.server import build

from .talking import call, document, picture, problem, stdio, talk

HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


@contextmanager
def started(memory: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The process, with pipes."""
    how = stdio(memory, *options)
    process = subprocess.Popen(
        [how.command, *how.args],
        env=how.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run that a shell started in the background ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def send(process: subprocess.Popen[str], *messages: Any) -> None:
    assert process.stdin is not None
    for message in messages:
        process.stdin.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
    process.stdin.flush()


def receive(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def request(number: int, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def greet(process: subprocess.Popen[str]) -> None:
    send(process, request(1, "initialize", **HELLO))
    assert receive(process)["result"]["serverInfo"]["name"] == "vidmem"
    send(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_same_answer_as_in_this_process(made: Path, server: Any, mode: str) -> None:
    async def ask(client: Client) -> tuple[CallToolResult, CallToolResult, int]:
        tools = await client.list_tools()
        return (
            await client.call_tool("where", {"text": "red", "top": 5}),
            await client.call_tool("look", {"source": 1, "time": 1}),
            len(tools.tools),
        )

    where, look, tools = talk(stdio(made), ask, mode=mode)
    assert tools == 6
    assert document(where) == document(call(server, "where", text="red", top=5))
    shown = picture(look)
    assert shown is not None
    assert shown.size == (1024, 642)
    printed = json.loads(CliRunner().invoke(app, ["where", "red", "--json", "--top", "5", "-m", str(made)]).stdout)
    assert {name: document(where)[name] for name in printed} == printed


def test_stdout_carries_the_protocol_alone_and_eof_ends_it(made: Path) -> None:
    with started(made) as process:
        greet(process)
        send(process, request(2, "tools/call", name="where", arguments={"text": "red"}))
        answer = receive(process)
        assert answer["id"] == 2
        assert answer["result"]["structuredContent"]["found"]
        out, err = process.communicate(timeout=120)  # closes stdin
        assert process.returncode == 0
        assert out == ""
        assert err == f"agents are served on stdin and stdout; Ctrl-C stops it: {made}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_without_a_word(made: Path, number: int) -> None:
    with started(made) as process:
        greet(process)
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(120) == 130
        assert time.monotonic() - began < 60
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read() == ""
        assert "Traceback" not in process.stderr.read()


@pytest.mark.skipif(sys.platform == "win32", reason="stdin is no socket there")
def test_ctrl_c_ends_it_though_the_client_reads_nothing(made: Path) -> None:
    with started(made) as process:
        greet(process)
        assert process.stdin is not None
        asked = (json.dumps(request(2, "tools/list")) + "\n").encode()
        for _ in range(40):  # each answer has more than 30 KB, and a pipe holds 64
            os.write(process.stdin.fileno(), asked)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (130, -signal.SIGINT)


def test_nothing_that_a_client_does_ends_it_but_a_kill_and_that_leaves_the_memory_as_it_was(
    made: Path, server: Any
) -> None:
    with started(made) as process:
        greet(process)
        send(process, "not json", "[]", "{}", '{"jsonrpc": "2.0"}', "\x00\x01", '"' + "x" * 100_000 + '"')
        send(process, request(2, "no/such/method"))
        for number in range(10, 20):  # a client that changes its mind
            send(process, request(number, "tools/call", name="things", arguments={}))
            cancelled = {"requestId": number, "reason": "changed my mind"}
            send(process, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
        send(process, request(99, "tools/call", name="where", arguments={"text": "red"}))
        while (answer := receive(process)).get("id") != 99:
            assert "error" in answer or answer["id"] in range(10, 20)
        assert answer["result"]["structuredContent"]["found"]
        send(process, request(100, "tools/call", name="where", arguments={"text": "red"}))
        process.kill()
        process.wait(120)
    assert document(call(server, "where", text="red"))["found"]


def test_two_clients_at_once(made: Path) -> None:
    async def both() -> list[bool]:
        found: list[bool] = []

        async def ask(words: str) -> None:
            async with Client(stdio(made)) as client:
                for _ in range(3):
                    answer = await client.call_tool("where", {"text": words, "picture": False})
                    found.append(document(answer)["found"])

        with anyio.fail_after(240):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, "red")
                tasks.start_soon(ask, "magenta")
        return found

    assert sorted(anyio.run(both)) == [False] * 3 + [True] * 3


def test_a_memory_that_another_process_writes_to(copy: Path) -> None:
    with Memory.open(copy), Memory.open(copy, read_only=True) as m:  # the first holds the writer's lock
        assert document(call(build(Desk(m)), "where", text="red"))["found"]


def fails(memory: str, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["mcp", memory, *options])
    assert result.stdout == ""
    return result.exit_code, result.stderr


def test_a_memory_that_does_not_exist(tmp_path: Path) -> None:
    code, message = fails(str(tmp_path / "none"))
    assert code == 4
    assert "there is no memory here; index a video first" in message
    assert not (tmp_path / "none").exists()


def test_an_empty_memory(tmp_path: Path) -> None:
    Memory.open(tmp_path / "empty", encoder="colours").close()
    with Memory.open(tmp_path / "empty", encoder="colours", read_only=True) as m:
        server = build(Desk(m))
        assert document(call(server, "where", text="red"))["near_misses"] == []
        assert document(call(server, "things"))["total"] == document(call(server, "sources"))["total"] == 0
        assert "holds no source yet" in problem(call(server, "look", source=1, time=1))


def test_the_memory_is_named_once(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, message = fails(str(made), "--memory", str(made))
    assert (code, "the same" in message) == (2, True)


def test_the_argument_comes_before_the_variable(made: Path, tmp_path: Path) -> None:
    assert os.environ["VIDMEM_MEMORY"] == str(tmp_path / "memory")  # which does not exist
    result = CliRunner().invoke(app, ["mcp", str(made)])  # stdin is empty
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.endswith(f"{made}\n")


def test_without_the_extra(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "mcp" or name.startswith("vidmem.serve.agents")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    code, message = fails(str(made))
    assert code == 4
    assert "pip install 'vidmem[serve]'" in message
