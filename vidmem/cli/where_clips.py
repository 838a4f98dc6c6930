"""What `vidmem where` writes for players: clips of sightings, and chapters of videos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MediaError
from .messages import say
from .output import count

if TYPE_CHECKING:
    from ..memory import Memory
    from ..records import Sighting

PARTLY_DONE = 3
"""Exit code when some clips could not be cut."""


def write_clips(
    memory: Memory,
    newest: Sighting,
    sightings: Sequence[Sighting],
    title: str,
    *,
    clip: str | None,
    clips: str | None,
    vtt: str | None,
) -> int:
    """Write the clips and chapters that were asked for.

    Args:
        memory: The memory of the sightings.
        newest: The sighting for `clip`.
        sightings: Those for `clips` and `vtt`, newest first.
        title: Title of the chapters.
        clip: File for one clip.
        clips: Folder for a clip of each sighting.
        vtt: File for the chapters.

    Returns:
        The exit code.

    Raises:
        MediaError: Nothing could be written.
    """
    if clip is not None:
        memory.clip(newest, clip)
        say(f"saved {clip}")
    if vtt is not None:
        _write_chapters(sightings, title, vtt)
    return 0 if clips is None else _write_all(memory, sightings, clips)


def _write_all(memory: Memory, sightings: Sequence[Sighting], folder: str) -> int:
    """Write a clip of each sighting, such as 001-walk-0m12s.mp4."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise MediaError(f"the folder cannot be made ({error.strerror or error}); give another one: {folder}") from None
    failed: list[MediaError] = []
    for number, sighting in enumerate(sightings, 1):
        minutes, seconds = divmod(sighting.start_ns // 1_000_000_000, 60)
        path = os.path.join(folder, f"{number:03d}-{_file_name(sighting.source)}-{minutes}m{seconds:02d}s.mp4")
        try:
            memory.clip(sighting, path)
        except MediaError as error:
            failed.append(error)
    written = len(sightings) - len(failed)
    if failed and not written:
        raise failed[0]
    say(f"saved {count(written, 'clip')} in {folder}")
    for text in dict.fromkeys(map(str, failed)):
        say(text)
    return PARTLY_DONE if failed else 0


def _write_chapters(sightings: Sequence[Sighting], title: str, path: str) -> None:
    """Write the chapters of one video to `path`; of several, each to a file with the video's name in it."""
    from ..export.files import replacing
    from ..export.webvtt import chapters  # imports PyAV

    by_source: dict[str, list[Sighting]] = {}
    for sighting in sightings:
        if sighting.picture is None:
            by_source.setdefault(sighting.source, []).append(sighting)
    if not by_source:
        raise MediaError(f"single pictures have no time, so there are no chapters; save them with --save: {path}")
    used: set[str] = set()
    for source, seen in by_source.items():
        out = path if len(by_source) == 1 else _path_for(path, source, used)
        with replacing(out, "the chapters file") as part:
            Path(part).write_text(chapters(seen, title), "utf-8")
        say(f"saved {out}")


def _path_for(path: str, source: str, used: set[str]) -> str:
    """Return cups.walk.vtt for cups.vtt, or cups.walk-2.vtt for a second video of that name."""
    stem, suffix = os.path.splitext(path)
    name, number = _file_name(source), 1
    while (out := f"{stem}.{name}{'' if number == 1 else f'-{number}'}{suffix}") in used:
        number += 1
    used.add(out)
    return out


def _file_name(source: str) -> str:
    """The name of a video as a safe part of a file name."""
    stem = "".join(c if c.isalnum() or c in "-_. " else "_" for c in Path(source).stem[:40])
    return stem.strip(". ") or "video"
