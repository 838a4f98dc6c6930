"""What the shell offers on Tab: sources of the memory that is named, encoders, presets, names. It says nothing of
errors and gives up after a while: a prompt is no place to wait."""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

import typer

MOST_S = 0.35
"""Longer nobody waits for an offer."""
MOST = 2000
"""Offers at the most."""

_PLAIN = re.compile(r"[\w@%+=:,./# -]+")
"""What is offered. Shells evaluate offers, and a memory may come from a stranger: other names are for you to type."""


def source(ctx: typer.Context, incomplete: str) -> list[str]:
    """File names of what is in the memory, with a folder where several have one name; whole paths if one is begun."""
    return _offered(lambda: _sources(_memory(ctx), incomplete))


def words(ctx: typer.Context, incomplete: str) -> list[str]:
    """The next word of what the memory's encoder has a name for."""
    given = ctx.params.get("text")
    said = [str(word) for word in given] if isinstance(given, list | tuple) else []
    return _offered(lambda: next_words(_names(ctx), said, incomplete))


def name(ctx: typer.Context, incomplete: str) -> list[str]:
    """What the memory's encoder has a name for."""
    return _offered(lambda: [name for name in _names(ctx) if name.startswith(incomplete)])


def encoder(incomplete: str) -> list[str]:
    from ..encoders.registry import names

    return [name for name in names() if name.startswith(incomplete)]


def weights_of(incomplete: str) -> list[str]:
    """What has weights that can be fetched."""
    from .models import PARTS

    return [name for name in (*encoder(""), *PARTS) if name.startswith(incomplete) and name != "tiny"]


def preset(incomplete: str) -> list[str]:
    from ..config import PRESETS

    return [name for name in PRESETS if name.startswith(incomplete)]


def one_of(*words: str) -> Callable[[str], list[str]]:
    """Offers these words."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def next_words(names: Sequence[str], said: Sequence[str], incomplete: str) -> list[str]:
    """The word that comes after those in `said` in the names that begin with them, each once."""
    before = "".join(f"{word} " for word in said)
    begun = (before + incomplete).lower()
    found = (name[len(before) :].partition(" ")[0] for name in names if name.lower().startswith(begun))
    return list(dict.fromkeys(found))


def short_names(paths: Sequence[str]) -> list[str]:
    """For each path its file name, with as many folders as it takes to tell it from the others."""
    parts = [PurePath(path).parts for path in paths]
    counts = Counter(part[-n:] for part in parts for n in range(1, len(part) + 1))
    return [
        os.sep.join(next((part[-n:] for n in range(1, len(part)) if counts[part[-n:]] == 1), (path,)))
        for path, part in zip(paths, parts, strict=True)
    ]


def _offered(find: Callable[[], list[str]]) -> list[str]:
    """What `find` comes to in time, else nothing."""
    out: list[str] = []

    def work() -> None:
        try:
            out.extend([_typed(text) for text in find() if _PLAIN.fullmatch(text)][:MOST])
        except Exception:  # whatever is wrong with the memory, a command will say it
            out.clear()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(MOST_S)
    return [] if thread.is_alive() else out


def _typed(text: str) -> str:
    """As it stands on a command line; zsh and fish see to that themselves."""
    return text.replace(" ", "\\ ") if os.environ.get("_VIDMEM_COMPLETE") == "complete_bash" else text


def _memory(ctx: typer.Context) -> Path:
    """The one that the command line names so far."""
    named = ctx.params.get("memory")
    if named:
        return Path(named)
    from ..memory import default_folder

    return default_folder()


def _sources(folder: Path, incomplete: str) -> list[str]:
    from ..store.peek import peek

    paths = peek(folder).sources
    known = paths if os.sep in incomplete and os.path.isabs(incomplete) else short_names(paths)
    return [name for name in known if name.startswith(incomplete)]


def _names(ctx: typer.Context) -> list[str]:
    from ..encoders import DEFAULT, find, load_text

    spec = ctx.params.get("encoder") or _made_by(_memory(ctx)) or DEFAULT
    names = load_text(spec).names() if find(spec).wanted is None else {}  # others may take seconds to load
    if names:
        return list(names)
    from ..query.label_lists import COCO

    return [line.partition("\t")[0] for line in COCO.split("\n") if line]


def _made_by(folder: Path) -> str | None:
    from ..store.peek import peek

    try:
        return peek(folder).encoder
    except Exception:  # no memory yet
        return None
