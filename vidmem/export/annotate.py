"""Writing what was seen back beside the recording: MCAP with annotations, Rerun, a sidecar for LeRobot."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import MediaError, UsageError

if TYPE_CHECKING:
    from ..query.query import Query

FORMATS = (".mcap", ".rrd", ".parquet")


@dataclass(frozen=True, slots=True)
class Written:
    """What came of it. frames: pictures that were annotated. boxes: in them. damaged: parts of the input left out."""

    path: str
    frames: int
    boxes: int
    damaged: int = 0
    notes: tuple[str, ...] = ()


def annotate(query: Query, source: str, out: str, *, labels: Sequence[str] = (), everything: bool = False) -> Written:
    """Write the tracks of `source` to `out`, whose suffix says how (see FORMATS).

    source: a log, a dataset, or for .rrd any indexed video, maybe with its part: all parts of it that are in the memory
    are annotated. labels: phrases; a track bears the likeliest of those that `where` finds it for in that source, and
    tracks without one are not written unless there are no labels, or `everything` is true. Nothing is left at `out` on
    failure.

    Raises:
        UsageError: another suffix, nothing of the source is indexed, its name is not clear, a label that cannot be
            read, or out is the source itself.
        MediaError: a library is not installed, the source cannot be read, or out cannot be written.
    """
    from .notes import Notes

    suffix = os.path.splitext(out)[1].lower()
    if suffix not in FORMATS:
        raise UsageError(f"annotations are written as {', '.join(s[1:] for s in FORMATS)}; give such a name: {out}")
    notes = Notes(query, source, labels, everything=everything)
    if os.path.realpath(notes.path) == os.path.realpath(out):
        raise UsageError(f"the result would overwrite its source; give another name: {out}")
    with _replacing(out) as part:
        return _WRITERS[suffix](notes, part, out)


@contextmanager
def _replacing(path: str) -> Iterator[str]:
    """A name beside `path`, with its suffix, that becomes `path` if all goes well."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):  # asked first: not every library says so in an error of the system
        raise MediaError(f"the result cannot be written (no such folder); check folder and disk: {path}")
    stem, suffix = os.path.splitext(path)
    part = f"{stem}.part{suffix}"
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        cause = error.strerror or str(error)
        raise MediaError(f"the result cannot be written ({cause}); check folder and disk: {path}") from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(part)


def _mcap(notes: Notes, part: str, out: str) -> Written:
    from .to_mcap import write

    return write(notes, part, out)


def _rerun(notes: Notes, part: str, out: str) -> Written:
    from .to_rerun import write

    return write(notes, part, out)


def _parquet(notes: Notes, part: str, out: str) -> Written:
    from .to_parquet import write

    return write(notes, part, out)


if TYPE_CHECKING:
    from .notes import Notes

_WRITERS: dict[str, Callable[[Notes, str, str], Written]] = {".mcap": _mcap, ".rrd": _rerun, ".parquet": _parquet}
