"""What a client may ask a job for, checked before anything is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..address import shown
from ..errors import UsageError
from ..timecode import parse_moment
from .folders import allowed

MAX_ITEMS = 256
"""Paths or sources in one request."""
_FIELDS = {"index": {"action", "paths", "sources"}, "forget": {"action", "sources", "before", "thing", "dry_run"}}


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job that was asked for.

    Attributes:
        action: "index" or "forget".
        paths: Addresses of files and folders below the server's folders.
        sources: Ids of sources in the memory.
        before: Forget only what was seen before this time, as people write times.
        thing: Forget only this thing, in words.
        dry_run: Only report what would be forgotten.
    """

    action: str
    paths: tuple[str, ...] = ()
    sources: tuple[int, ...] = ()
    before: str | None = None
    thing: str | None = None
    dry_run: bool = False


def parse_request(document: object, folders: Sequence[str]) -> JobRequest:
    """Check a request for a job. folders: below which paths may lie.

    Raises:
        UsageError: it is malformed, or a path is not below the folders.
    """
    if not isinstance(document, Mapping):
        raise UsageError('a job is an object such as {"action": "index", "paths": ["walk.mp4"]}')
    action = document.get("action")
    if not isinstance(action, str) or action not in _FIELDS:
        raise UsageError(f"`action` is one of {', '.join(_FIELDS)}")
    if odd := [str(name) for name in document if name not in _FIELDS[action]]:
        there = ", ".join(sorted(_FIELDS[action]))
        raise UsageError(f"{action} has no field {shown(odd[0])[:40]!r}; there are: {there}")
    paths = tuple(str(allowed(path, folders)) for path in _texts(document.get("paths")))
    sources = _ids(document.get("sources"))
    before, dry_run = document.get("before"), document.get("dry_run", False)
    if before is not None and not isinstance(before, str):
        raise UsageError("`before` is a time as text, such as 30d or 2026-01-31")
    thing = document.get("thing")
    if thing is not None and (not isinstance(thing, str) or not thing.strip()):
        raise UsageError("`thing` is a thing in words, such as passport")
    if not isinstance(dry_run, bool):
        raise UsageError("`dry_run` is true or false")
    if action == "index" and not paths and not sources:
        raise UsageError("say what to index: `paths` or `sources`")
    if action == "forget":
        if before is None and thing is None and not sources:
            raise UsageError("say what to forget: `sources`, `before`, both, or a `thing`")
        if before is not None and thing is not None:
            raise UsageError("`thing` is forgotten at all times; give it without `before`")
        if before is not None:
            parse_moment(before)
    return JobRequest(action, paths, sources, before, thing, dry_run)


def _texts(value: object) -> list[str]:
    items = _items(value, "paths")
    if not all(isinstance(item, str) for item in items):
        raise UsageError("`paths` is a list of texts")
    return [str(item) for item in items]


def _ids(value: object) -> tuple[int, ...]:
    out = []
    for item in _items(value, "sources"):
        if isinstance(item, bool) or not isinstance(item, int) or not 0 < item < 1 << 62:
            raise UsageError("`sources` is a list of ids of sources, which are numbers")
        out.append(item)
    return tuple(dict.fromkeys(out))


def _items(value: object, name: str) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise UsageError(f"`{name}` is a list of at most {MAX_ITEMS}")
    return value
