"""Files that commands save, and the option --open, which shows them."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import MediaError, UsageError
from .messages import say, warn
from .signatures import parameter, parameters, set_parameters

if TYPE_CHECKING:
    from PIL import Image

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
"""Suffixes of pictures that can be saved."""

OpenOption = Annotated[
    bool,
    typer.Option("--open", help="Open what was saved. Without a file name, save to a temporary file."),
]

Stamp = tuple[int, int, int]


def opens(first: str, *more: str, suffix: str = ".png") -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Add the option --open to a command. Use it below `listing`.

    Args:
        first: Parameter with the name of a file to save; it gets a temporary file when no name is given at all.
        more: Other parameters of this kind. All files that were written are opened.
        suffix: Of the temporary file.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def run(*args: Any, open_saved: bool, **options: Any) -> int:
            if not open_saved:
                return command(*args, **options)
            temporary = None
            if all(options.get(name) is None for name in (first, *more)):
                temporary = options[first] = _temporary(command.__name__, suffix)
            paths = [options[name] for name in (first, *more) if options.get(name) is not None]
            before = [_stamp(path) for path in paths]
            try:
                code = command(*args, **options)
                written = [path for path, stamp in zip(paths, before, strict=True) if _stamp(path) not in (None, stamp)]
            finally:
                if temporary is not None and not os.path.exists(temporary):
                    os.rmdir(os.path.dirname(temporary))
            for path in written:
                open_file(path)
            return code

        own = parameters(command, without=("show",))
        show = parameters(command)[-1]  # for `listing`
        set_parameters(run, [*own, parameter("open_saved", OpenOption), show])
        return run

    return decorate


def open_file(path: str) -> None:
    """Open a file in the platform's viewer without waiting for it. Warns if there is no viewer."""
    if sys.platform == "win32":
        os.startfile(path)
        return
    name = "open" if sys.platform == "darwin" else "xdg-open"
    viewer = shutil.which(name)
    if viewer is None:
        warn(f"there is no viewer here ({name} is missing); open it yourself: {path}")
        return
    import subprocess  # only --open needs it

    quiet = subprocess.DEVNULL
    try:
        subprocess.Popen(
            [viewer, os.path.abspath(path)], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
        )
    except OSError as error:
        warn(f"the viewer cannot be started ({error.strerror}); open it yourself: {path}")


def check_suffix(option: str, path: str | None, suffixes: tuple[str, ...] = PICTURES) -> None:
    """Raise UsageError if the file has none of the suffixes."""
    if path is not None and Path(path).suffix.lower() not in suffixes:
        raise UsageError(f"{option} writes {', '.join(s[1:] for s in suffixes)}; give such a name: {path}")


def write_picture(picture: Image.Image, path: str) -> None:
    """Save a picture and say so; the file is the old one or the whole new one. MediaError if it cannot be written."""
    from ..export.files import replacing

    with replacing(path, "the picture") as part:
        picture.save(part)
    say(f"saved {path}")


def cannot_write(what: str, error: OSError, path: str) -> MediaError:
    """Return the error for a file that cannot be written."""
    return MediaError(f"{what} cannot be written ({error.strerror or error}); check the folder: {path}")


def say_not_saved(*paths: str | None) -> None:
    """Report files that were not written. A file that is already there is from an earlier answer."""
    for path in paths:
        if path is not None:
            say(
                f"nothing was written; this file is older: {path}"
                if Path(path).exists()
                else f"nothing was written: {path}"
            )


def _temporary(command: str, suffix: str) -> str:
    """A path in a new folder; the file does not exist yet."""
    import tempfile  # only --open needs it

    return os.path.join(tempfile.mkdtemp(prefix="vidmem-"), f"{command}{suffix}")


def _stamp(path: str) -> Stamp | None:
    """What changes when a file is written; None when it does not exist."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
