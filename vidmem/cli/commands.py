"""The commands by name, imported when they are used, and the hint for a mistyped one."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import typer
import typer.main

from .help import Command
from .messages import audible

GROUPS = {
    "Index": {
        "index": "Index videos and photos into the memory.",
        "watch": "Index a camera live, until it ends or Ctrl-C.",
        "standing": "Keep names in the memory that every `vidmem watch` tells of.",
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
    "Look": {
        "serve": "Show the memory as a page, and answer programs over HTTP.",
        "mcp": "Let agents ask the memory, over MCP.",
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
        "seal": "Make a memory immutable, with checksums, or undo that.",
        "verify": "Check that shards are as they were sealed.",
        "fleet": "Keep a catalogue of many sealed memories.",
    },
    "Benchmarks": {
        "eval": "Score an encoder on a benchmark of the field.",
    },
    "Setup": {
        "models": "List the encoders, or fetch the weights of one.",
        "doctor": "Check the installation and the memory.",
        "demo": "Try vidmem on two short videos that come with it.",
    },
}
"""Headings of `vidmem --help`, with the commands and the first line of their help, so that --help imports none of them.
The command `watch-list` is the function `watch_list` in the module `watch_list` of this package."""

EVALUATIONS = {
    "dense": "Name the true boxes and masks of a panoptic set.",
    "haystack": "Answer Visual Haystacks over the number of pictures.",
    "ovss": "Name every pixel of the pictures of a data set.",
    "points": "Tell points on a thing from points off it.",
    "reasonseg": "Find the masks of what questions ask for.",
    "refer": "Find the masks of what expressions refer to.",
    "vspw": "Name every pixel of the frames of videos.",
    "supermemory": "Find the evidence for SuperMemory-VQA's questions.",
    "vq2d": "Find when and where things were last seen in Ego4D's clips.",
}
"""The commands of `vidmem eval`, with the first line of their help. Each is a function in the module of its name in
the package `eval`."""

EXPORTS = {
    "lance": "Write all tracks to a Lance table.",
    "milvus": "Write all vectors to Milvus, to be searched there.",
}
"""The commands of `vidmem export` beside its own, as EVALUATIONS, in the package `exports`."""

FLEET = {
    "index": "Index many sources with many workers into shards.",
    "add": "Enter sealed memories into a catalogue.",
    "ls": "List the shards in a catalogue.",
    "rm": "Take shards out of a catalogue.",
    "clock": "Say how the clock of a shard differs from the fleet's.",
}
"""The commands of `vidmem fleet`, as EVALUATIONS; in the package `fleet`."""

GROUPED = {"eval": EVALUATIONS, "export": EXPORTS, "fleet": FLEET}
"""Commands that have commands of their own."""

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
    "standing": "alert alerts notify notification alarm when",
    "models": "model encoders weights pull download",
    "doctor": "check",
    "serve": "server http web page ui gui api browse",
    "mcp": "agent agents claude tools",
    "eval": "evaluate evaluation benchmark bench score",
    "annotate": "mark write",
    "timeline": "history",
    "calibrate": "calibration",
    "segment": "mask masks",
    "compact": "vacuum",
    "seal": "freeze immutable lock unseal",
    "verify": "checksum checksums",
    "fleet": "catalogue catalog shards shard cluster",
    "--help": "help",
    "--version": "version",
}
"""Words that people type for a command."""


_GROUPS = {"eval": "evaluating", "fleet": "fleets"}


class LazyCommands(Mapping[str, Any]):
    """Commands by name. Each is imported and built on first access, so that one command does not load the rest."""

    def __init__(self, names: Sequence[str], build: Callable[[str], Any]) -> None:
        self._names = names
        self._build = build
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            if name not in self._names:
                raise KeyError(name)
            self._built[name] = self._build(name)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def build(name: str) -> Any:
    """Import a command and build it."""
    if name == "export":
        return build_from("", name, importlib.import_module(".exporting", __package__).Export)
    if name in _GROUPS:
        return importlib.import_module(f".{_GROUPS[name]}", __package__).group
    return build_from("", name)


def build_from(package: str, name: str, kind: Any = Command) -> Any:
    """Import the command `name` from a package below this one, such as ".eval", and build it. kind: its class."""
    python_name = name.replace("-", "_")
    module = importlib.import_module(f"{package}.{python_name}", __package__)
    function, settings = getattr(module, python_name), getattr(module, "SETTINGS", None)
    single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    single.command(name, cls=kind, context_settings=settings)(audible(function))
    return typer.main.get_command(single)


def unknown_command(name: str) -> str:
    """Return the message for a command that does not exist, with the most similar one."""
    if name == "train":
        return "training is not part of the package; in a clone of the repository run `python -m lab.train`"
    candidates = {word: command for command, words in SYNONYMS.items() for word in words.split()}
    candidates |= {command: command for command in NAMES}
    return f"there is no command {name[:40]!r}; {_hint('vidmem', name, candidates)}"


def unknown_evaluation(name: str) -> str:
    """Return the message for a benchmark that does not exist, with the most similar one."""
    candidates = {evaluation: evaluation for evaluation in EVALUATIONS}
    return f"there is no benchmark {name[:40]!r}; {_hint('vidmem eval', name, candidates)}"


def unknown_export(name: str) -> str:
    """Return the message for an export that does not exist, with the most similar one."""
    return f"there is no export {name[:40]!r}; {_hint('vidmem export', name, dict(zip(EXPORTS, EXPORTS, strict=True)))}"


def unknown_fleet_command(name: str) -> str:
    """Return the message for a command of `vidmem fleet` that does not exist, with the most similar one."""
    candidates = {command: command for command in FLEET} | {"list": "ls", "remove": "rm", "delete": "rm"}
    return f"there is no command {name[:40]!r}; {_hint('vidmem fleet', name, candidates)}"


def _hint(program: str, name: str, candidates: Mapping[str, str]) -> str:
    import difflib  # only a mistyped command needs it

    similar = difflib.get_close_matches(name.lower(), candidates, 1, 0.7)
    return f"did you mean `{program} {candidates[similar[0]]}`?" if similar else f"`{program} --help` lists them"
