"""From what was typed to the list of sources: files, folders, patterns."""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections.abc import Iterator, Sequence

from ..address import absolute, split
from ..errors import MediaError, UsageError
from .lerobot import is_dataset
from .logs import LOG_SUFFIXES, is_bag_folder, is_log

VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".3gp", ".3g2", ".flv",
    ".wmv", ".asf", ".ogv", ".mxf", ".vob", ".gif", ".h264", ".264", ".h265", ".hevc", ".ivf", ".y4m", ".insv", ".lrv",
})  # fmt: skip
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})

_URL = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def discover(paths: Sequence[str]) -> list[str]:
    """Absolute paths of the sources that `paths` mean, without duplicates, in the order given.

    A file is taken whatever its suffix. A folder gives the videos in it and below it, by suffix, in natural order;
    a folder that holds pictures and no video is itself one source, and so are a rosbag2 and a LeRobot dataset. Logs
    come whole: `parts` names what is in them. Patterns that no shell expanded are expanded.

    Raises:
        UsageError: a path is an address on a network.
        MediaError: a file does not exist, a pattern matches nothing, or a folder holds nothing to read.
    """
    found: dict[str, str] = {}
    for path in paths:
        for source in _expand(path):
            found.setdefault(os.path.realpath(source), absolute(source))
    return list(found.values())


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key by which frame2 comes before frame10."""
    parts = re.findall(r"(\d+)|(\D+)", name)
    return tuple((0, int(digits), "") if digits else (1, 0, text.casefold()) for digits, text in parts)


def suffix(path: str) -> str:
    """The lower-case suffix of a path, with its dot."""
    return os.path.splitext(path)[1].lower()


def missing(path: str) -> MediaError:
    """The error for a path that does not exist, with names like it in the same folder."""
    folder, name = os.path.split(os.path.abspath(path))
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return MediaError(f"no such file, nor its folder; check the path: {path}")
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    hint = f"; did you mean {' or '.join(near)}" if near else "; check the path"
    return MediaError(f"no such file{hint}: {path}")


def _expand(path: str) -> Iterator[str]:
    if _URL.match(path):
        raise UsageError(f"only local files are read; download it first and give the file: {path}")
    if not os.path.exists(path) and path.startswith("~"):
        path = os.path.expanduser(path)
    if os.path.isdir(path):
        yield from _folder(path)
    elif os.path.exists(path) or _is_part(path):  # before patterns: a file may be called [1].mp4
        yield path
    elif glob.has_magic(path):
        matches = sorted(glob.glob(path, recursive=True), key=natural_key)
        if not matches:
            raise MediaError(f"the pattern matches no file; check it: {path}")
        for match in matches:
            if os.path.isdir(match):
                yield from _sources_below(match)
            else:
                yield match
    else:
        raise missing(path)


def _is_part(path: str) -> bool:
    address = split(path)
    return bool(address.part) and (is_log(address.path) or is_dataset(address.path))


def _folder(path: str) -> list[str]:
    sources = list(_sources_below(path))
    if not sources:
        kinds = " ".join(sorted(s[1:] for s in VIDEO_SUFFIXES | IMAGE_SUFFIXES | LOG_SUFFIXES))
        raise MediaError(f"the folder holds no video, log or picture ({kinds}); name the files themselves: {path}")
    return sources


def _sources_below(top: str) -> Iterator[str]:
    for folder, folders, files in os.walk(top):
        if is_bag_folder(folder) or is_dataset(folder):
            folders.clear()
            yield folder
            continue
        folders[:] = sorted((f for f in folders if not f.startswith(".")), key=natural_key)
        names = sorted((f for f in files if not f.startswith(".")), key=natural_key)
        videos = [name for name in names if suffix(name) in VIDEO_SUFFIXES | LOG_SUFFIXES]
        if not videos and any(suffix(name) in IMAGE_SUFFIXES for name in names):
            yield folder
        for name in videos:
            yield os.path.join(folder, name)
