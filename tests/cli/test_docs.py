"""Every command and option has help, and stands in docs/cli.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from vidmem.cli import app

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


def flat(group: Any, before: str = "") -> dict[str, Any]:
    """All commands by what is typed, those of a group after the group itself."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        found[before + name] = command
        found |= flat(command, f"{before}{name} ") if hasattr(command, "commands") else {}
    return found


EVERYWHERE = ("quiet", "verbose")
"""Options of all commands, told once."""
COMMANDS = flat(typer.main.get_command(app))


def parameters() -> list[Any]:
    every = [(name, p) for name, command in COMMANDS.items() for p in command.params]
    found = [(name, p) for name, p in every if p.name not in ("help", *EVERYWHERE)]
    return [pytest.param(name, p, id=f"{name} {p.name}") for name, p in found]


def section(name: str) -> str:
    match = re.search(rf"^## vidmem {name}\n(.*?)(?=^## |\Z)", DOCS.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert match, f"docs/cli.md has no section for {name}"
    return match[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_told(name: str) -> None:
    help = COMMANDS[name].help
    assert help
    assert help.split("\n")[0].endswith(".")
    assert section(name).strip()


@pytest.mark.parametrize(("name", "parameter"), parameters())
def test_every_option_is_told(name: str, parameter: Any) -> None:
    assert parameter.help, f"{parameter.name} has no help"
    spellings = [o for o in parameter.opts if o.startswith("-")] or [parameter.metavar.strip(".")]
    for spelling in spellings:
        assert f"`{spelling}" in section(name) or f", {spelling}" in section(name), f"{spelling} is missing"


def test_what_every_command_takes_is_told_once() -> None:
    start = DOCS.read_text("utf-8").partition("\n## ")[0]
    for command in COMMANDS.values():
        for parameter in (p for p in command.params if p.name in EVERYWHERE):
            assert all(f"`{spelling}`" in start for spelling in parameter.opts)


def test_nothing_is_told_that_is_not_there() -> None:
    text = DOCS.read_text("utf-8")
    assert re.findall(r"^## vidmem ([\w -]+)$", text, re.MULTILINE) == list(COMMANDS)
    known = {o for command in COMMANDS.values() for p in command.params for o in (*p.opts, *p.secondary_opts)}
    known |= {"--help", "--version", "--install-completion", "--show-completion"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) <= known
