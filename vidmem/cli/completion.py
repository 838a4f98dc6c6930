"""What the shell offers on Tab: sources of the memory, encoders, presets, names.

Completion prints no errors and gives up after a short time, because a prompt must not hang.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

import typer

from ..config import PRESETS, default_address
from ..encoders import DEFAULT, check_stranger, find, load_text, registry
from ..fleet.address import is_fleet
from ..fleet.opening import open_store
from ..store.source_names import SourceNames, source_names

TIMEOUT_S = 0.35
"""Seconds after which a completion offers nothing; a longer wait feels like a hang."""
MAX_OFFERS = 2000

_SAFE = re.compile(r"[\w@%+=:,./# -]+")
"""Shells evaluate what they are offered, and a memory may come from a stranger: other names are left out."""


def sources(ctx: typer.Context, incomplete: str) -> list[str]:
    """File names in the memory, with folders where several share a name; whole paths after an absolute beginning."""
    return offer(lambda: _sources(_memory(ctx), incomplete))


def words(ctx: typer.Context, incomplete: str) -> list[str]:
    """The next word of the names that the memory's encoder knows."""
    given = ctx.params.get("text")
    typed = [str(word) for word in given] if isinstance(given, list | tuple) else []
    return offer(lambda: next_words(_names(ctx), typed, incomplete))


def names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names that the memory's encoder knows."""
    return offer(lambda: [name for name in _names(ctx) if name.startswith(incomplete)])


def encoders(incomplete: str) -> list[str]:
    """Names of encoders."""

    return [name for name in registry.names() if name.startswith(incomplete)]


def presets(incomplete: str) -> list[str]:
    """Names of presets."""

    return [name for name in PRESETS if name.startswith(incomplete)]


def choices(*values: str) -> Callable[[str], list[str]]:
    """Return a completion that offers these values."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


def next_words(names: Sequence[str], typed: Sequence[str], incomplete: str) -> list[str]:
    """The words that can follow `typed` in any of the names, without repeats."""
    before = "".join(f"{word} " for word in typed)
    beginning = (before + incomplete).lower()
    found = (name[len(before) :].partition(" ")[0] for name in names if name.lower().startswith(beginning))
    return list(dict.fromkeys(found))


def short_names(paths: Sequence[str]) -> list[str]:
    """The file name of each path, with as many folders as it takes to tell it from the others."""
    parts = [PurePath(path).parts for path in paths]
    counts = Counter(part[-n:] for part in parts for n in range(1, len(part) + 1))
    return [
        os.sep.join(next((part[-n:] for n in range(1, len(part)) if counts[part[-n:]] == 1), (path,)))
        for path, part in zip(paths, parts, strict=True)
    ]


def offer(find: Callable[[], list[str]]) -> list[str]:
    """Return what `find` returns within TIMEOUT_S, otherwise nothing."""
    out: list[str] = []

    def work() -> None:
        try:
            out.extend([_escaped(text) for text in find() if _SAFE.fullmatch(text)][:MAX_OFFERS])
        except Exception:  # a broken memory; the command itself will report it
            out.clear()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    return [] if thread.is_alive() else out


def _escaped(text: str) -> str:
    """The text as bash needs it on the command line; zsh and fish escape it themselves."""
    return text.replace(" ", "\\ ") if os.environ.get("_VIDMEM_COMPLETE") == "complete_bash" else text


def _memory(ctx: typer.Context) -> str:
    """The memory that the command line names so far, or the default one."""
    named = ctx.params.get("memory")
    return str(named) if named else default_address()


def _known(memory: str) -> SourceNames:
    """The sources and the encoder of a memory or a fleet."""
    if not is_fleet(memory):
        return source_names(Path(memory))
    with open_store(memory) as fleet:  # its catalogue alone is read
        model = fleet.model()
        return SourceNames([row.uri for row in fleet.sources()], None if model is None else model.encoder)


def _sources(memory: str, incomplete: str) -> list[str]:
    paths = list(dict.fromkeys(_known(memory).sources))
    known = paths if os.sep in incomplete and os.path.isabs(incomplete) else short_names(paths)
    return [name for name in known if name.startswith(incomplete)]


def _names(ctx: typer.Context) -> list[str]:

    spec = ctx.params.get("encoder") or _encoder_of(_memory(ctx)) or DEFAULT
    names = load_text(spec).names() if find(spec).wanted is None else {}  # others may take seconds to load
    if names:
        return list(names)
    from ..query.labels import load_labels  # long, and rarely needed

    return list(load_labels("coco").names)


def _encoder_of(memory: str) -> str | None:
    try:
        encoder = _known(memory).encoder
        check_stranger(encoder or DEFAULT)
        return encoder
    except Exception:  # there is no memory yet
        return None
