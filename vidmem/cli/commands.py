"""The commands by name, imported when they are used, and the hint for a mistyped one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import typer
import typer.main

from .help import Command
from .messages import audible

GROUPS = {
    "Index": ("index", "watch", "recorded", "reembed"),
    "Ask": ("where", "things", "timeline", "watch-list", "haystack", "names", "calibrate"),
    "Single photos": ("ground", "segment"),
    "Export": ("parse", "annotate", "export"),
    "Memory": ("ls", "info", "rm", "forget", "compact"),
    "Setup": ("models", "doctor", "demo"),
}
"""Headings of `vidmem --help` and their commands. The command `watch-list` is the function `watch_list` in the module
`watch_list` of this package."""

NAMES = tuple(name for names in GROUPS.values() for name in names)

SYNONYMS = {
    "where": "search find query ask locate look lookup last seen",
    "ls": "list dir sources videos",
    "index": "add import scan ingest load",
    "rm": "delete remove del drop",
    "info": "status stats show",
    "names": "name labels vocabulary vocab words classes",
    "things": "thing objects object tracks instances items",
    "watch": "camera live stream record",
    "models": "model encoders weights pull download",
    "doctor": "check",
    "annotate": "mark write",
    "timeline": "history",
    "calibrate": "calibration",
    "segment": "mask masks",
    "compact": "vacuum",
    "--help": "help",
    "--version": "version",
}
"""Words that people type for a command."""


class LazyCommands(Mapping[str, Any]):
    """The commands by name. Each is imported and built on first access, so that one command does not load the rest."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            if name not in NAMES:
                raise KeyError(name)
            self._built[name] = _build(name)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


def _build(name: str) -> Any:
    python_name = name.replace("-", "_")
    function = getattr(importlib.import_module(f".{python_name}", __package__), python_name)
    single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    single.command(name, cls=Command)(audible(function))
    return typer.main.get_command(single)


def unknown_command(name: str) -> str:
    """Return the message for a command that does not exist, with the most similar one."""
    import difflib  # only a mistyped command needs it

    if name == "train":
        return "training is not part of the package; in a clone of the repository run `python -m lab.train`"
    candidates = {word: command for command, words in SYNONYMS.items() for word in words.split()}
    candidates |= {command: command for command in NAMES}
    similar = difflib.get_close_matches(name.lower(), candidates, 1, 0.7)
    hint = f"did you mean `vidmem {candidates[similar[0]]}`?" if similar else "`vidmem --help` lists them"
    return f"there is no command {name[:40]!r}; {hint}"
