"""What agents name: sources, times and boxes, as they write them.

A source is found by its id or name among those in the memory, and never in the file system: what an agent writes must
not tell it which files exist.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from pathlib import PurePath

from ...errors import UsageError
from ...query import arguments
from ...records import Box
from ...store import SourceRow, Store
from ...timecode import LONGEST_NS, NS, clock

SourceName = int | str
"""A source as an agent names it: its id, its path, or the end of its path."""
TimeName = float | str
"""A time as an agent names it: seconds in the video, or a text that `timecode.parse_moment` reads."""
MAX_PIXELS = 1_000_000
"""No picture is so wide."""
_LISTED = 5


def find_source(store: Store, given: SourceName) -> SourceRow:
    """The source with this id, path or file name.

    Raises:
        UsageError: There is none, or there are several. The message lists ids and names.
    """
    return _found(store.sources(), given)


def _found(rows: Sequence[SourceRow], given: SourceName) -> SourceRow:
    text = str(given).strip()
    if text.isascii() and text.isdecimal() and (found := [row for row in rows if str(row.id) == text.lstrip("0")]):
        return found[0]
    wanted = PurePath(text).parts
    found = [row for row in rows if text == row.uri] or [row for row in rows if wanted and _ends_with(row, wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{len(found)} sources are called {arguments.got(text)}; give an id: {listed(found)}")
    names = {PurePath(row.uri).name.lower(): row for row in rows}
    close = [names[name] for name in difflib.get_close_matches(PurePath(text).name.lower(), names, 3, 0.5)]
    if not rows:
        raise UsageError("the memory holds no source yet; index a video first")
    near = f"near: {listed(close)}" if close else f"there are: {listed(rows)}"
    raise UsageError(f"no source has the id or name {arguments.got(text)}; {near}")


def find_sources(store: Store, given: Sequence[SourceName]) -> list[SourceRow]:
    """The sources with these ids or names, each once. Raises UsageError as `find_source`."""
    rows = store.sources() if given else []
    found = [_found(rows, one) for one in dict.fromkeys(given)]
    return list({row.id: row for row in found}.values())


def listed_names(given: SourceName | list[SourceName] | None) -> list[SourceName]:
    """Sources as a list, given as one, several or none."""
    return [] if given is None else given if isinstance(given, list) else [given]


def listed(rows: Sequence[SourceRow]) -> str:
    """The first few sources as `3 (walk.mp4)`."""
    more = len(rows) - _LISTED
    first = ", ".join(f"{row.id} ({PurePath(row.uri).name or row.uri})" for row in rows[:_LISTED])
    return f"{first} and {more} more" if more > 0 else first


def time_in(row: SourceRow, given: TimeName) -> int:
    """A time as ns on the clock of the source.

    Raises:
        UsageError: It is not a time, is before the start or after the end, or is a date and the source has none.
    """
    if isinstance(given, str):
        moment = arguments.moment(given, "time")
        ns = None if moment is None else moment.media_ns(row.start_ns)
        if ns is None:
            raise UsageError(
                f"it is not known when source {row.id} was recorded, so {arguments.got(given)} is no time in it; give "
                "one in the video, such as 12.5s"
            )
    else:
        ns = round(arguments.number("time", given, "a time in seconds, such as 12.5, or a text such as '1:02'") * NS)
    end = row.duration_ns
    if ns < 0 or (end and ns > end + NS) or ns > LONGEST_NS:
        length = f"0 to {clock(end)}" if end else "0 or later"
        raise UsageError(f"{arguments.got(given)} is not in source {row.id}; its times are {length}")
    return ns


def box_in(row: SourceRow, given: Sequence[float]) -> Box:
    """A box x0, y0, x1, y1 in pixels of the source's pictures, cut to the picture if the size of that is known.

    Raises:
        UsageError: It has not four numbers, is empty, or lies outside.
    """
    whole = row.width > 0 and not row.kind.single_pictures  # photos differ in size
    width, height = (float(row.width), float(row.height)) if whole else (math.inf, math.inf)
    form = "four numbers [x0, y0, x1, y1] in pixels" + (f", within [0, 0, {row.width}, {row.height}]" if whole else "")
    if len(given) != 4:
        raise UsageError(f"`box` is {form}; got {arguments.got(list(given))}")
    x0, y0, x1, y1 = (arguments.number("box", v, form, -MAX_PIXELS, MAX_PIXELS) for v in given)
    box = max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height)
    if not (box[0] < box[2] and box[1] < box[3]):
        raise UsageError(f"`box` is {form}, with x0 < x1 and y0 < y1; got {arguments.got(list(given))}")
    return box


def _ends_with(row: SourceRow, wanted: tuple[str, ...]) -> bool:
    return any(PurePath(path).parts[-len(wanted) :] == wanted for path in (row.uri, row.address.path))
