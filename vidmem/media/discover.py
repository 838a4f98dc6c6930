"""From what was typed to the list of sources: files, folders, patterns."""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..address import absolute, split
from ..errors import MediaError, UsageError
from .lerobot import is_dataset
from .logs import LOG_SUFFIXES, is_bag_folder, is_log

VIDEO_SUFFIXES = frozenset(
    {
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".mpg",
        ".mpeg",
        ".ts",
        ".mts",
        ".m2ts",
        ".3gp",
        ".3g2",
        ".flv",
        ".wmv",
        ".asf",
        ".ogv",
        ".mxf",
        ".vob",
        ".gif",
        ".h264",
        ".264",
        ".h265",
        ".hevc",
        ".ivf",
        ".y4m",
        ".insv",
        ".lrv",
    }
)
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif"})
PHOTO_SUFFIXES = IMAGE_SUFFIXES | {".heic", ".heif"}
"""Also what nothing here reads but people have among their photos: it is named, not passed over."""

_URL = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Photos:
    """Single pictures. path: absolute, of one, or of a folder for all in it and below it."""

    path: str


Found = str | Photos
"""A source by its address, or single pictures."""


def discover(paths: Sequence[str | Photos], film: bool = False) -> list[Found]:
    """What `paths` mean, with absolute paths, without duplicates, in the order given.

    A file with the suffix of a picture is a photo, any other is a source whatever its suffix. A folder gives the videos
    in it and below it, by suffix, in natural order, and then itself as Photos when there are any; a rosbag2 and a
    LeRobot dataset are one source each. film: folders of pictures are films, each with the pictures directly in it,
    and none are photos. Logs come whole: `parts` names what is in them. Patterns that no shell expanded are expanded.

    Raises:
        UsageError: a path is an address on a network, or a single picture with `film`.
        MediaError: a file does not exist, a pattern matches nothing, or a folder holds nothing to read.
    """
    found: dict[tuple[bool, str], Found] = {}
    for path in paths:
        for one in [path] if isinstance(path, Photos) else _expand(path, film):
            if isinstance(one, Photos):
                found.setdefault((True, one.path), one)
            else:
                found.setdefault((False, os.path.realpath(one)), absolute(one))
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


def walk(top: str, refused: list[OSError] | None = None) -> Iterator[tuple[str, list[str] | None]]:
    """Every folder in `top` and below, itself first, with the names of the files directly in it, in natural order; None
    in their place for a rosbag2 or a dataset, which is one thing. Hidden files and folders do not count. refused: takes
    the errors of folders that cannot be read."""
    for folder, folders, files in os.walk(top, onerror=None if refused is None else refused.append):
        if is_bag_folder(folder) or is_dataset(folder):
            folders.clear()
            yield folder, None
            continue
        folders[:] = sorted((f for f in folders if not f.startswith(".")), key=natural_key)
        yield folder, sorted((f for f in files if not f.startswith(".")), key=natural_key)


def _expand(path: str, film: bool) -> Iterator[Found]:
    if _URL.match(path):
        raise UsageError(f"only local files are read; download it first and give the file: {path}")
    if not os.path.exists(path) and path.startswith("~"):
        path = os.path.expanduser(path)
    if os.path.isdir(path):
        yield from _folder(path, film)
    elif os.path.exists(path) or _is_part(path):  # before patterns: a file may be called [1].mp4
        yield _file(path, film)
    elif glob.has_magic(path):
        matches = sorted(glob.glob(path, recursive=True), key=natural_key)
        if not matches:
            raise MediaError(f"the pattern matches no file; check it: {path}")
        for match in matches:
            if os.path.isdir(match):
                yield from _sources_below(match, film, [])
            else:
                yield _file(match, film)
    else:
        raise missing(path)


def _file(path: str, film: bool) -> Found:
    if suffix(path) not in PHOTO_SUFFIXES:
        return path
    if film:
        raise UsageError(f"a film is a folder of pictures, and this is one picture; give its folder: {path}")
    return Photos(os.path.abspath(path))


def _is_part(path: str) -> bool:
    address = split(path)
    return bool(address.part) and (is_log(address.path) or is_dataset(address.path))


def _folder(path: str, film: bool) -> list[Found]:
    refused: list[OSError] = []
    sources = list(_sources_below(path, film, refused))
    if not sources and refused:
        raise MediaError(f"the folder cannot be read ({refused[0].strerror}); change its rights: {refused[0].filename}")
    if not sources:
        raise MediaError(
            f"the folder holds no video, log or picture that is known by its suffix (such as mp4, mov, "
            f"mkv, mcap, jpg, png); name the files themselves: {path}"
        )
    return sources


def _sources_below(top: str, film: bool, refused: list[OSError]) -> Iterator[Found]:
    photos = False
    for folder, names in walk(top, refused):
        if names is None:
            yield folder
            continue
        if film and any(suffix(name) in IMAGE_SUFFIXES for name in names):
            yield folder
        photos = photos or any(suffix(name) in PHOTO_SUFFIXES for name in names)
        for name in names:
            if suffix(name) in VIDEO_SUFFIXES | LOG_SUFFIXES:
                yield os.path.join(folder, name)
    if photos and not film:
        yield Photos(os.path.abspath(top))
