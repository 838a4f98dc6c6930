"""Verify a shard: is every file as it was sealed, and is the memory what its manifest says?"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import StoreError
from ..store import Store
from ..store.files import CACHE_LOCK_NAME, CACHE_NAME, LOCK_NAME, SEAL_NAME
from . import manifest
from .manifest import RESTORE, Manifest
from .sealing import described, digest

_LOCKS = (LOCK_NAME, CACHE_LOCK_NAME)
"""Files without contents that count, which a process that was killed right after sealing leaves."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a shard that is not as it was sealed.

    Attributes:
        name: The file, or "seal.json" for the manifest, or "" for the shard as a whole.
        what: What is wrong with it, in words.
    """

    name: str
    what: str

    def __str__(self) -> str:
        return f"{self.name}: {self.what}" if self.name else self.what


def verify(folder: Path, *, quick: bool = False, expected: str | None = None) -> list[Problem]:
    """Compare the shard in `folder` with its manifest; return all that differs, nothing for a sound shard.

    Args:
        folder: The sealed memory. Nothing in it is written.
        quick: Only look at names and sizes, not at contents.
        expected: The id that the shard must have, as a catalogue knows it.
    """
    try:
        sealed = manifest.load(folder)
    except StoreError as error:
        return [Problem(SEAL_NAME, str(error).removesuffix(f": {folder}"))]
    problems = _outside(folder, sealed, quick, expected)
    return problems if quick or problems else _contents(folder, sealed)


def check_shard(folder: Path, expected: str | None = None) -> Manifest:
    """Return the manifest of a shard whose names and sizes are as they were sealed.

    Raises:
        StoreError: Something differs; it says what.
    """
    found = manifest.load(folder)
    if problems := _outside(folder, found, True, expected):
        raise StoreError(f"the shard was changed after sealing ({problems[0]}); {RESTORE}: {folder}")
    return found


def _outside(folder: Path, sealed: Manifest, quick: bool, expected: str | None) -> list[Problem]:
    """What differs in the names of files, in their sizes and, unless `quick`, in their contents."""
    problems = [] if expected in (None, sealed.id) else [Problem(SEAL_NAME, f"it is another shard, {sealed.id}")]
    try:
        problems += _names(folder, sealed)
        whole = CACHE_NAME not in {problem.name for problem in problems}  # a link in its place is not followed
        for name in sorted(sealed.files):
            if whole or not name.startswith(f"{CACHE_NAME}/"):
                problems += _file(folder, name, sealed, quick)
    except OSError as error:
        problems.append(Problem("", f"it cannot be read ({error.strerror})"))
    return problems


def _names(folder: Path, sealed: Manifest) -> list[Problem]:
    """What lies in the folder and is not in the manifest."""
    problems = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name == CACHE_NAME:
                if not entry.is_dir(follow_symlinks=False):
                    problems.append(Problem(entry.name, "it is no folder"))
                    continue
                with os.scandir(entry.path) as cached:
                    names = sorted(f"{CACHE_NAME}/{inner.name}" for inner in cached)
                problems += [Problem(name, "it was not there at sealing") for name in names if name not in sealed.files]
            elif entry.name not in sealed.files and entry.name not in (SEAL_NAME, *_LOCKS):
                problems.append(Problem(entry.name, "it was not there at sealing"))
    return problems


def _file(folder: Path, name: str, sealed: Manifest, quick: bool) -> list[Problem]:
    wanted, path = sealed.files[name], folder / name
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return [Problem(name, "it is missing")]
    if not stat.S_ISREG(found.st_mode):
        return [Problem(name, "it is a link, a pipe, a folder or a device, and no file")]
    if found.st_size != wanted.bytes:
        return [Problem(name, f"it has {found.st_size:,} bytes, and had {wanted.bytes:,}")]
    if quick:
        return []
    try:
        same = digest(path) == wanted
    except OSError as error:
        return [Problem(name, f"it cannot be read ({error.strerror})")]
    except StoreError as error:
        return [Problem(name, str(error))]
    return [] if same else [Problem(name, "its checksum is another one")]


def _contents(folder: Path, sealed: Manifest) -> list[Problem]:
    """Compare what the manifest says of the memory with the memory: its maker may have written anything."""
    try:
        with Store.open(folder) as store:
            found = replace(described(store), id=sealed.id, vidmem=sealed.vidmem, files=sealed.files)
    except StoreError as error:
        return [Problem("", str(error).removesuffix(f": {folder}"))]
    ours, theirs = found.document(), sealed.document()
    return [Problem(SEAL_NAME, f"its {name} is not that of the memory") for name in ours if ours[name] != theirs[name]]
