"""Errors that a model can mend: what was wrong, what is allowed, and an example."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...address import shown
from ...errors import VidmemError
from ...query.arguments import got

NAMES = {"sources": "source", "crop": "like", "image": "like"}
"""Arguments of the tools by the names of those of `Memory`, where these differ."""
_LONGEST = 2000
"""Characters of a message; an argument may hold anything."""
_BACKQUOTED = re.compile(r"`(\w+)`")
_LAST_PATH = re.compile(r"(?<=: )(?:/|[A-Za-z]:[\\/]).*$", re.DOTALL)


def unknown_tool(name: str, known: Mapping[str, Any]) -> str:
    """The message for a tool that does not exist."""
    return f"there is no tool {got(name)}; {_nearest(name, list(known), 'tools')}"


def unknown_arguments(tool: str, given: Mapping[str, Any], schema: Mapping[str, Any]) -> str | None:
    """The message for arguments that the tool does not take; None if it takes all of them."""
    known = list(schema.get("properties", {}))
    wrong = [name for name in given if name not in known]
    if not wrong:
        return None
    return f"`{tool}` takes no argument {got(wrong[0])}; {_nearest(wrong[0], known, 'arguments')}"


def wrong_arguments(tool: str, error: ValidationError, schema: Mapping[str, Any], example: str) -> str:
    """The message for arguments of the wrong type or size: each with what it got and what it takes."""
    known = schema.get("properties", {})
    lines: dict[str, str] = {}
    problems = error.errors(include_url=False, include_context=False)
    # A list that is too long is no text and no number either, which nobody wants to know.
    for problem in sorted(problems, key=lambda one: one["type"] != "too_long"):
        name = str(problem["loc"][0]) if problem["loc"] else tool
        if name in lines:
            continue
        wanted = known.get(name, {}).get("description", "")
        if problem["type"] == "missing":
            lines[name] = f"`{name}` is missing. {wanted}"
        else:
            lines[name] = f"`{name}` is wrong ({_plain(problem['msg'])}; got {got(problem['input'])}). {wanted}"
    return _bounded(f"{' '.join(lines.values())} Example: {example}")


def told(error: VidmemError | OSError, folder: Path | None = None) -> str:
    """The message of an error. folder: as `without_paths`."""
    if isinstance(error, VidmemError):
        text = _BACKQUOTED.sub(lambda name: f"`{NAMES.get(name[1], name[1])}`", str(error))
        return without_paths(text, folder)
    return _bounded(f"the machine refused ({error.strerror or type(error).__name__}); try again later")


def without_paths(text: str, folder: Path | None = None) -> str:
    """A message without paths of the machine: of a path at its end only the last name is left.

    folder: the memory, which messages may name elsewhere, too.
    """
    if folder is not None:
        text = text.replace(str(folder), folder.name)
    return _bounded(_LAST_PATH.sub(lambda path: re.split(r"[\\/]", path[0].rstrip("\\/"))[-1], text))


def _nearest(name: str, known: list[str], what: str) -> str:
    close = difflib.get_close_matches(name[:40].lower(), known, 1, 0.6)
    meant = f"did you mean `{close[0]}`? " if close else ""
    return f"{meant}the {what} are: {', '.join(known) or 'none'}"


def _plain(message: str) -> str:
    return message[:1].lower() + message[1:]


def _bounded(text: str) -> str:
    text = shown(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
