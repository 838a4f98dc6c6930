"""What `vidmem where` cuts and lists for players: clips of sightings, chapters of videos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MediaError
from .output import say

if TYPE_CHECKING:
    from ..memory import Memory
    from ..records import Sighting

PARTLY = 3
"""Exit code when a clip could not be cut, and the others were."""


def write_clips(
    memory: Memory,
    newest: Sighting,
    every: Sequence[Sighting],
    title: str,
    clip: str | None,
    clips: str | None,
    vtt: str | None,
) -> int:
    """Write what was asked for and say so; the exit code. Raises MediaError when nothing could be written."""
    if clip is not None:
        memory.clip(newest, clip)
        say(f"saved {clip}")
    if vtt is not None:
        _write_vtt(every, title, vtt)
    return 0 if clips is None else _write_all(memory, every, clips)


def _write_all(memory: Memory, told: Sequence[Sighting], folder: str) -> int:
    """A clip of each sighting, the newest first: 001-walk-0m12s.mp4."""
    _make(folder)
    failed: list[MediaError] = []
    for number, one in enumerate(told, 1):
        seconds = one.start_ns // 1_000_000_000
        path = os.path.join(folder, f"{number:03d}-{_plain(one.source)}-{seconds // 60}m{seconds % 60:02d}s.mp4")
        try:
            memory.clip(one, path)
        except MediaError as error:
            failed.append(error)
    written = len(told) - len(failed)
    if failed and not written:
        raise failed[0]
    say(f"saved {written} clip{'' if written == 1 else 's'} in {folder}")
    for text in dict.fromkeys(map(str, failed)):
        say(text)
    return PARTLY if failed else 0


def _write_vtt(told: Sequence[Sighting], title: str, path: str) -> None:
    """Of one video the file itself; of several one for each, with the name of the video before the suffix."""
    from ..export.webvtt import chapters

    videos = [one for one in told if one.picture is None]
    if not videos:
        raise MediaError(f"single pictures have no time, so there are no chapters; save them with --save: {path}")
    by_source: dict[str, list[Sighting]] = {}
    for one in videos:
        by_source.setdefault(one.source, []).append(one)
    names: set[str] = set()
    for source, held in by_source.items():
        out = path if len(by_source) == 1 else _own(path, source, names)
        try:
            Path(out).write_text(chapters(held, title), "utf-8")
        except OSError as error:
            cause = error.strerror or str(error)
            raise MediaError(f"the chapters cannot be written ({cause}); check the folder: {out}") from None
        say(f"saved {out}")


def _own(path: str, source: str, taken: set[str]) -> str:
    """cups.vtt -> cups.walk.vtt; cups.walk-2.vtt for another video of that name."""
    stem, suffix = os.path.splitext(path)
    name, number = _plain(source), 1
    while (out := f"{stem}.{name}{'' if number == 1 else f'-{number}'}{suffix}") in taken:
        number += 1
    taken.add(out)
    return out


def _plain(source: str) -> str:
    """The name of a video as a part of a file name, whatever it holds."""
    stem = "".join(c if c.isalnum() or c in "-_. " else "_" for c in Path(source).stem[:40])
    return stem.strip(". ") or "video"


def _make(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        cause = error.strerror or str(error)
        raise MediaError(f"the folder cannot be made ({cause}); give another one: {folder}") from None
