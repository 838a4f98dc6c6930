"""What a path below the server's folders leads to: no links out of them, no pipes and no devices.

Links are followed as long as they stay below one of the folders. What a path leads to can change between a check and
its use, but not by anyone who has only this interface.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from ..address import shown
from ..errors import MediaError, UsageError
from ..media import Found, Photos
from ..media.photos import list_pictures


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
