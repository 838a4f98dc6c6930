"""What agents are told runs as it stands, and names what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vidmem.cli import app
from vidmem.serve.agents.server import INSTRUCTIONS
from vidmem.serve.agents.skill import text

from .talking import talk

DOCS = Path(__file__).parents[3] / "docs"


def test_it_is_printed(made: Path) -> None:
    result = CliRunner().invoke(app, ["mcp", "--skill"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, text(), "")


def test_it_is_short_and_has_its_head() -> None:
    lines = text().splitlines()
    assert len(lines) < 120
    assert lines[0] == lines[3] == "---"
    assert lines[1] == "name: vidmem"
    assert lines[2].startswith("description: ")
    assert len(lines[2]) < 1024


def test_its_commands_run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIDMEM_MEMORY", str(made))
    blocks = re.findall(r"^```sh\n(.*?)^```$", text(), re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    commands += re.findall(r"`(vidmem where [^`]*)`", text())
    assert len(commands) >= 6
    for command in commands:
        # The encoder of the tests knows colours only, and photos have no clips.
        result = CliRunner().invoke(app, command.replace("cup ", "red --source walk.mp4 ").split()[1:])
        assert result.exit_code == 0, (command, result.stderr)
        if "--json" in command:
            json.loads(result.stdout)
    assert {path.name for path in tmp_path.iterdir()} >= {"cup.jpg", "cup.mp4"}


def test_it_names_the_tools_that_there_are(server: Any) -> None:
    tools = {tool.name for tool in talk(server, lambda client: client.list_tools()).tools}
    for written in (text(), (DOCS / "mcp.md").read_text("utf-8")):
        (table,) = re.findall(r"^\| tool \|.*?\n\n", written, re.MULTILINE | re.DOTALL)
        assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == tools
        for name in ("index", "annotate", "forget"):
            assert f"`{name}`" in written
    for name in tools:
        assert f"`{name}`" in INSTRUCTIONS


def test_the_settings_in_the_docs_are_json_and_start_this_command() -> None:
    blocks = re.findall(r"^```json\n(.*?)^```$", (DOCS / "mcp.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        ((_, servers),) = json.loads(block).items()
        server = servers["vidmem"]
        assert server.get("url") == "http://127.0.0.1:8077/mcp" or [server["command"], server["args"][0]] == [
            "vidmem",
            "mcp",
        ]
