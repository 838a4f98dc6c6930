"""Every command, argument and option has help, an example, and a page in docs/commands that is up to date."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
from typer.testing import CliRunner

from lab import command_pages
from vidmem.cli import app
from vidmem.cli.commands import EVALUATIONS, EXPORTS, GROUPS, NAMES, SYNONYMS

COMMANDS: dict[str, Any] = {name: command_pages.find_command(name)[0] for name in command_pages.COMMANDS}
PAGES = command_pages.pages()
GLOBAL = {"--help", "--version", "--install-completion", "--show-completion"}


def parameters() -> list[Any]:
    return [pytest.param(p, id=f"{name} {p.name}") for name, c in COMMANDS.items() for p in c.params]


def options(command: Any) -> set[str]:
    return {option for p in command.params for option in (*p.opts, *p.secondary_opts) if option.startswith("-")}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_page_is_up_to_date(path: Any) -> None:
    assert path.exists(), "run python -m lab.command_pages"
    assert path.read_text("utf-8") == PAGES[path], "run python -m lab.command_pages"


def test_no_page_is_left_over() -> None:
    folder = command_pages.DOCS / "commands"
    assert set(folder.iterdir()) == set(PAGES) - {command_pages.OVERVIEW}


@pytest.mark.parametrize("name", NAMES)
def test_the_summary_fits_the_list_of_commands(name: str) -> None:
    (summary,) = (commands[name] for commands in GROUPS.values() if name in commands)
    assert summary == COMMANDS[name].help.strip().split("\n")[0]
    assert summary.endswith(".")
    assert COMMANDS[name].get_short_help_str(80 - 2 - 6 - max(map(len, NAMES))) == summary


@pytest.mark.parametrize("name", EVALUATIONS)
def test_the_summary_fits_the_list_of_benchmarks(name: str) -> None:
    assert EVALUATIONS[name] == COMMANDS[f"eval {name}"].help.strip().split("\n")[0]


@pytest.mark.parametrize("name", EXPORTS)
def test_the_summary_fits_the_list_of_exports(name: str) -> None:
    assert EXPORTS[name] == COMMANDS[f"export {name}"].help.strip().split("\n")[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_breaks_no_option_and_fits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("VIDMEM_MEMORY", "m")  # a path can be longer
    lines = CliRunner().invoke(app, [*name.split(), "--help"]).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if re.search(r"\w-$", line)]
    assert "\ue000" not in "".join(lines)


@pytest.mark.parametrize("parameter", parameters())
def test_every_parameter_has_help(parameter: Any) -> None:
    assert parameter.help
    assert parameter.help[-1] in ".)"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_is_on_the_page(name: str) -> None:
    text = PAGES[command_pages.page_path(name)].partition(command_pages.MARK)[0]
    for parameter in COMMANDS[name].params:
        for spelling in [o for o in parameter.opts if o.startswith("-")] or [parameter.metavar]:
            assert re.search(rf"(`|<code>|, ){re.escape(spelling)}[ `,&<]", text), f"{spelling} is missing"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_that_parse(name: str) -> None:
    _, examples = command_pages.help_parts(COMMANDS[name])
    assert examples
    for example in examples:
        program, *arguments = shlex.split(example.rpartition("|")[2])
        words = name.split()
        assert [program, *arguments[: len(words)]] == ["vidmem", *words]
        assert COMMANDS[name].make_context(name, arguments[len(words) :])


def test_the_docs_name_no_option_that_does_not_exist() -> None:
    known = GLOBAL.union(*map(options, COMMANDS.values()))
    for name in COMMANDS:
        notes = PAGES[command_pages.page_path(name)].partition(command_pages.MARK)[2]
        assert flags(notes) <= known, name
    assert flags(PAGES[command_pages.OVERVIEW]) <= known


def flags(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w<!-])--[a-z][a-z-]*", text))


def test_every_command_is_in_one_group() -> None:
    assert len(NAMES) == len(set(NAMES)) == sum(map(len, GROUPS.values()))
    assert {name for name in SYNONYMS if not name.startswith("-")} <= set(NAMES)
