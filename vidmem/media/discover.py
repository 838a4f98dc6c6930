"""From what a user typed to sources: files, folders, patterns."""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..address import Address, without_secrets
from ..errors import MediaError, UsageError
from .lerobot import is_dataset
from .logs import LOG_SUFFIXES, is_bag_folder, is_log
from .suffixes import IMAGE_SUFFIXES, PHOTO_SUFFIXES, VIDEO_SUFFIXES, natural_key, suffix

_URL = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Photos:
    """Single pictures. path: absolute; a picture, or a folder for all pictures in it and below it."""

    path: str


Found = Address | Photos
"""A source, or single pictures."""


def discover(paths: Sequence[str | Found], film: bool = False, refused: list[OSError] | None = None) -> list[Found]:
    """Find the sources that `paths` name, with absolute paths, without duplicates, in the order given.

    A file with the suffix of a picture is a photo; any other file is a source, whatever its suffix. A folder gives the
    videos and logs in it and below it, by suffix and in natural order, and then itself as Photos if it holds any. A
    rosbag2 and a LeRobot dataset are one source each; `parts` lists the topics or episodes of a log or dataset.
    Patterns that no shell expanded are expanded. What was found before is passed on.

    Args:
        paths: What to look for.
        film: Folders of pictures are films, each of the pictures directly in it, and nothing is a photo.
        refused: Collects the errors of folders that cannot be read, but for those that an album of photos reports.

    Raises:
        UsageError: a path is a URL, or a single picture with `film`.
        MediaError: a file does not exist, a pattern matches nothing, or a folder holds nothing to read.
    """
    found: dict[tuple[bool, str], Found] = {}
    refused = [] if refused is None else refused
    for path in paths:
        for item in _expand(path, film, refused) if isinstance(path, str) else [path]:
            if isinstance(item, Photos):
                found.setdefault((True, item.path), item)
            else:
                found.setdefault((False, os.path.realpath(str(item))), item.absolute())
    return list(found.values())


def missing(path: str) -> MediaError:
    """The error for a path that does not exist, with similar names from its folder."""
    folder, name = os.path.split(os.path.abspath(path))
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return MediaError(f"no such file or folder; check the path: {path}")
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    hint = f"; did you mean {' or '.join(near)}" if near else "; check the path"
    return MediaError(f"no such file{hint}: {path}")


def walk(top: str, refused: list[OSError] | None = None) -> Iterator[tuple[str, list[str] | None]]:
    """Walk over `top` and all folders below it; yield each with the names of its files, in natural order.

    A rosbag2 or a dataset has None in place of names and is not entered. Hidden files and folders are left out.
    refused: collects the errors of folders that cannot be read.
    """
    for folder, folders, files in os.walk(top, onerror=None if refused is None else refused.append):
        if is_bag_folder(folder) or is_dataset(folder):
            folders.clear()
            yield folder, None
            continue
        folders[:] = sorted((f for f in folders if not f.startswith(".")), key=natural_key)
        yield folder, sorted((f for f in files if not f.startswith(".")), key=natural_key)


def _expand(text: str, film: bool, refused: list[OSError]) -> Iterator[Found]:
    if _URL.match(text):
        raise UsageError(
            f"only local files are read; download it first and give the file: {without_secrets(text, whole=True)}"
        )
    if not os.path.exists(text) and text.startswith("~"):
        text = os.path.expanduser(text)
    if os.path.isdir(text):
        yield from _folder(text, film, refused)
    elif os.path.exists(text):  # before patterns: a file may be called [1].mp4
        yield _file(text, film)
    elif (address := Address.parse(text)).part and (is_log(address.path) or is_dataset(address.path)):
        yield address
    elif glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True), key=natural_key)
        if not matches:
            raise MediaError(f"the pattern matches no file; check it: {text}")
        for match in matches:
            if os.path.isdir(match):
                yield from _sources_below(match, film, refused)
            else:
                yield _file(match, film)
    else:
        raise missing(text)


def _file(path: str, film: bool) -> Found:
    if suffix(path) not in PHOTO_SUFFIXES:
        return Address(path)
    if film:
        raise UsageError(f"a film is a folder of pictures, and this is one picture; give its folder: {path}")
    return Photos(os.path.abspath(path))


def unreadable(error: OSError) -> MediaError:
    """The error for a folder that cannot be read."""
    return MediaError(f"the folder cannot be read ({error.strerror}); change its rights: {error.filename}")


def _folder(path: str, film: bool, refused: list[OSError]) -> list[Found]:
    here: list[OSError] = []
    sources = list(_sources_below(path, film, here))
    if not sources and here:
        raise unreadable(here[0])
    refused += here
    if not sources:
        raise MediaError(
            f"the folder holds no video, log or picture with a known suffix (such as mp4, mov, mkv, mcap, jpg, png); "
            f"name the files themselves: {path}"
        )
    return sources


def _sources_below(top: str, film: bool, refused: list[OSError]) -> Iterator[Found]:
    photos, here = False, list[OSError]()
    for folder, names in walk(top, here):
        if names is None:
            yield Address(folder)
            continue
        if film and any(suffix(name) in IMAGE_SUFFIXES for name in names):
            yield Address(folder)
        photos = photos or any(suffix(name) in PHOTO_SUFFIXES for name in names)
        for name in names:
            if suffix(name) in VIDEO_SUFFIXES | LOG_SUFFIXES:
                yield Address(os.path.join(folder, name))
    if photos and not film:
        yield Photos(os.path.abspath(top))
    else:
        refused += here
