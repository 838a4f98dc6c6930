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
    "Index": {
        "index": "Index videos and photos into the memory.",
        "watch": "Index a camera live, until it ends or Ctrl-C.",
        "recorded": "Set when a video or photo was recorded.",
        "reembed": "Switch a memory to another encoder without indexing again.",
    },
    "Ask": {
        "where": "Find when and where a thing was last seen.",
        "things": "List the things in the memory, with a guess at their names.",
        "timeline": "List all sightings of a thing, one group per instance.",
        "watch-list": "Find when each thing on a list was last seen.",
        "haystack": "Find one of many photos and say what else is in it.",
        "names": "List the names that the encoder knows.",
        "calibrate": "Fit probabilities to questions with known answers.",
    },
    "Single photos": {
        "ground": "Find a thing in a photo: its box and its mask.",
        "segment": "Label the pixels of a photo.",
        "read-answer": "Read the mask that a model wrote in an answer.",
    },
    "Export": {
        "parse": "Label every region of every frame of a video.",
        "annotate": "Write boxes, track numbers and names beside a recording.",
        "export": "Write instruction data for models that segment.",
    },
    "Memory": {
        "ls": "List the sources in the memory.",
        "info": "Show what the memory, or one source, holds.",
        "rm": "Remove videos or photos from the memory.",
        "forget": "Remove what is old, whole videos, or a thing.",
        "compact": "Shrink the files of the memory.",
    },
    "Setup": {
        "models": "List the encoders, or fetch the weights of one.",
        "doctor": "Check the installation and the memory.",
        "demo": "Try vidmem on two short videos that come with it.",
    },
}
"""Headings of `vidmem --help`, with the commands and the first line of their help, so that --help imports none of them.
The command `watch-list` is the function `watch_list` in the module `watch_list` of this package."""

NAMES = tuple(name for commands in GROUPS.values() for name in commands)

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
