"""The folders below which a client may name files. What is elsewhere is refused with one message, whether it exists."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Self

from ..address import without_secrets
from ..errors import MediaError, UsageError

_URL = re.compile(r"^[a-z][a-z0-9+.-]*:(//|\\\\)", re.IGNORECASE)
_MAX_LETTERS = 4096


@dataclass(frozen=True, slots=True)
class Folders:
    """Folders, with their real paths. Without any, every path is refused."""

    paths: tuple[Path, ...] = ()

    @classmethod
    def of(cls, given: Sequence[str | os.PathLike[str]]) -> Self:
        """The folders that a user named. Raises UsageError for what is not a folder."""
        found = []
        for one in given:
            real = Path(os.path.realpath(os.fspath(one)))
            if not real.is_dir():
                raise UsageError(f"`folder` is a folder that exists; got {os.fspath(one)}")
            found.append(real)
        return cls(tuple(dict.fromkeys(found)))

    @property
    def names(self) -> list[str]:
        """The last name of each folder."""
        return [path.name or str(path) for path in self.paths]

    def existing(self, given: str) -> Path:
        """The real path of a file or folder that a client named, absolute or below one of the folders.

        A topic of a log or an episode of a dataset may follow after a `#`, which stays. Links are followed first, so
        none leads out.

        Raises:
            UsageError: It is a URL or a pattern, or does not lie below the folders.
            MediaError: There is no such file below the folders.
        """
        for candidate in self._candidates(given):
            if os.path.exists(candidate):
                return candidate
            file, mark, part = str(candidate).partition("#")
            if mark and os.path.exists(file) and self._holds(Path(os.path.realpath(file))):
                return Path(f"{os.path.realpath(file)}#{part}")
        raise MediaError(f"no such file or folder; check the path: {given}")

    def new(self, given: str) -> Path:
        """The path of a file to be written: below the folders, in a folder that exists, and not there yet.

        Raises:
            UsageError: As `existing`, or there is such a file, or its folder does not exist.
        """
        for candidate in self._candidates(given):
            if os.path.isdir(candidate.parent):
                if os.path.lexists(candidate):
                    raise UsageError(f"there is such a file, and it is not replaced; choose another name: {given}")
                return candidate
        raise UsageError(f"its folder does not exist; choose one that does: {given}")

    def _candidates(self, given: str) -> list[Path]:
        if not given.strip() or "\0" in given or len(given) > _MAX_LETTERS or not _encodable(given):
            raise UsageError("a path is the name of a file or folder, such as holiday/walk.mp4")
        if _URL.match(given):
            raise UsageError(f"only local files are read; got {without_secrets(given, whole=True)[:80]}")
        if not self.paths:
            raise UsageError("no folder was opened for this; start the server with the folder that files may be in")
        tried = [Path(os.path.realpath(folder / given)) for folder in self.paths]
        first = PurePath(given).parts[:1]  # a path may begin with the name of the folder
        tried += [Path(os.path.realpath(folder.parent / given)) for folder in self.paths if (folder.name,) == first]
        inside = list(dict.fromkeys(path for path in tried if self._holds(path)))
        if not inside:
            raise UsageError(
                f"files are taken only from below {', '.join(self.names)}; give a path in there, such as "
                f"{self.names[0]}/walk.mp4 or walk.mp4"
            )
        return inside

    def _holds(self, path: Path) -> bool:
        return any(path == folder or folder in path.parents for folder in self.paths)


def _encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True
