"""Paths that a client may name: below folders that the owner of the server named, and nothing else.

Links are followed as long as they stay below one of these folders. What a path leads to can change between a check and
its use, but not by anyone who has only this interface.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from ..address import Address, shown
from ..errors import MediaError, UsageError
from ..media import Found, Photos
from ..media.photos import list_pictures

MAX_PATH = 4096


def checked_folder(path: str) -> str:
    """The real path of a folder that the owner names. Raises UsageError if it is none."""
    real = os.path.realpath(os.path.expanduser(path))
    if not os.path.isdir(real):
        raise UsageError(f"`folder` is a folder that exists; check the path: {shown(path)}")
    return real


def allowed(path: str, folders: Sequence[str]) -> Address:
    """The source or folder of files that a client names.

    Args:
        path: Absolute, or relative to one of the folders. A part of a log or data set may follow after a #.
        folders: From `checked_folder`. Of several, the first that has the path.

    Returns:
        Its address, with the real path.

    Raises:
        UsageError: no folder is given, or the path is an address on a network, a pattern, malformed, does not exist, or
            leads out of the folders. The message does not tell what exists elsewhere.
    """
    if not folders:
        raise UsageError("the server was started without a folder to index from; restart it with one")
    if not path or len(path) > MAX_PATH or not path.isprintable():
        raise UsageError("a path has 1 to 4,096 printable characters")
    if "://" in path or path.startswith(("\\\\", "//", "~")):
        raise UsageError(f"only files below the server's folders are read, by their path: {shown(path)}")
    if ".." in path.replace("\\", "/").split("/"):
        raise UsageError(f"a path may not go up with `..`; give it from the folder down: {shown(path)}")
    for folder in folders:
        address = Address.parse(os.path.join(folder, path))
        real = os.path.realpath(address.path)
        if is_below(real, folders) and os.path.exists(real):
            check_kind(real)
            return Address(real, address.part, address.clock)
    raise UsageError(f"there is no such file below the server's folders: {shown(path)}")


def is_below(path: str, folders: Sequence[str]) -> bool:
    """Return True if a real path is one of the folders or below one. folders: real paths."""
    return any(path == folder or path.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def check_kind(path: str) -> None:
    """Raise UsageError if there is something else than a file or a folder."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UsageError(f"only files and folders are indexed, no pipes and no devices: {shown(path)}")


def check_links(found: Found, folders: Sequence[str]) -> None:
    """Check every file of what is to be indexed, before it is read.

    Raises:
        MediaError: a link leads out of the folders, or there is a pipe or a device.
    """
    for name in _files(found):
        real = os.path.realpath(name)
        if not is_below(real, folders):
            raise MediaError(f"it is a link that leads out of the server's folders; remove the link: {shown(name)}")
        try:
            check_kind(real)
        except OSError:  # a broken link, which the index reports or leaves out
            continue
        except UsageError as error:
            raise MediaError(str(error)) from None


def _files(found: Found) -> Iterator[str]:
    """The files that reading a source may open. A data set or a bag is a folder, and its files name others in it."""
    yield found.path
    if not os.path.isdir(found.path):
        return
    if isinstance(found, Photos):
        yield from (file.path for file in list_pictures(found.path)[0])
        return
    for folder, folders, files in os.walk(found.path):
        yield from (os.path.join(folder, name) for name in (*folders, *files))
