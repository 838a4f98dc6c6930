"""The option --open: what a command saved, shown in the platform's viewer."""

from __future__ import annotations

import functools
import inspect
import os
import shutil
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from .output import warn

OpenOption = Annotated[
    bool,
    typer.Option(
        "--open",
        help="Open what was saved in the viewer of this machine; without a name to save it under, in a temporary file.",
    ),
]

Stamp = tuple[int, int, int]


def opens(first: str, *more: str, suffix: str = ".png") -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command the option --open. Goes below `listing`.

    first, more: parameters that name files to be written; what was written is opened. Where none is given, `first` is
    a temporary file with the suffix.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def run(*args: Any, open_saved: bool, **options: Any) -> int:
            if not open_saved:
                return command(*args, **options)
            made = None
            if all(options.get(name) is None for name in (first, *more)):
                made = options[first] = _temporary(command.__name__, suffix)
            paths = [options[name] for name in (first, *more) if options.get(name) is not None]
            before = [_stamp(path) for path in paths]
            try:
                code = command(*args, **options)
                written = [path for path, stamp in zip(paths, before, strict=True) if _stamp(path) not in (None, stamp)]
            finally:
                if made is not None and not os.path.exists(made):
                    os.rmdir(os.path.dirname(made))
            for path in written:
                open_file(path)
            return code

        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.name != "show"]
        ours = inspect.Parameter("open_saved", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=OpenOption)
        show = signature.parameters["show"]
        run.__signature__ = signature.replace(parameters=[*own, ours, show])  # type: ignore[attr-defined]
        return run

    return decorate


def open_file(path: str) -> None:
    """Open it in the platform's viewer, which goes on by itself; says so where there is none."""
    if sys.platform == "win32":
        os.startfile(path)
        return
    name = "open" if sys.platform == "darwin" else "xdg-open"
    viewer = shutil.which(name)
    if viewer is None:
        warn(f"there is no viewer here ({name} is missing); open it yourself: {path}")
        return
    import subprocess  # only what is opened waits for it

    quiet = subprocess.DEVNULL
    try:
        subprocess.Popen(
            [viewer, os.path.abspath(path)], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
        )
    except OSError as error:
        warn(f"the viewer cannot be started ({error.strerror}); open it yourself: {path}")


def _temporary(command: str, suffix: str) -> str:
    """A file that is not there yet, in a folder of its own."""
    import tempfile

    return os.path.join(tempfile.mkdtemp(prefix="vidmem-"), f"{command}{suffix}")


def _stamp(path: str) -> Stamp | None:
    """What changes when a file is written; None when it is not there."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
