"""When a source was recorded, told anew: by hand, or by another of the things that know it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from ..address import Address
from ..errors import MediaError, UsageError
from ..media.lerobot import is_dataset
from ..media.recorded import WAYS, Recorded, from_mtime, from_name
from ..records import SourceKind
from ..store import SourceRow, Store
from ..timecode import day_alone, moment_of, parse_moment, quoted

if TYPE_CHECKING:
    from .plan import Album

NONE = "none"
_FORMS = f"write 2026-01-31T08:30, 2026-01-31, yesterday 18:02, {', '.join(WAYS)} or {NONE}"


_UNTOLD = Recorded(None, "given")


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to tell it: one of WAYS, NONE (it is to be unknown), or empty for `given`."""

    way: str
    given: Recorded = _UNTOLD

    def tells(self, by: str) -> bool:
        """Whether what is known by `by` may come from it."""
        return by in {"container": ("container", "exif"), "name": ("name", "day")}.get(self.way, (by,))


@dataclass(frozen=True, slots=True)
class Dated:
    """What came of it. uri: of the source. start_ns, by: as they are now. changed: whether what was chosen tells
    anything; else all is as it was. pictures: single pictures that were changed; left: those that were not."""

    uri: str
    start_ns: int | None
    by: str
    changed: bool
    pictures: int = 0
    left: int = 0


def choice(when: str | date) -> Choice:
    """What `index --recorded` and `vidmem recorded` take; a date alone, as a text too, tells the day. Raises UsageError
    for what is no date."""
    if isinstance(when, date):
        return Choice("", Recorded(moment_of(when).ns, "given" if isinstance(when, datetime) else "day"))
    text = when.strip()
    if text in (*WAYS, NONE):
        return Choice(text)
    try:
        moment = parse_moment(text)
    except UsageError:
        raise UsageError(f"{quoted(when)} is no date; {_FORMS}") from None
    if not moment.wall:
        raise UsageError(f"{quoted(when)} is a time in a video; say when the recording began: {_FORMS}")
    return Choice("", Recorded(moment.ns, "day" if day_alone(text) else "given"))


def check(chosen: Choice, sources: Sequence[Address | Album]) -> None:
    """Before anything is indexed: sources are addresses, or albums of photos.

    Raises UsageError when one time by hand is given to several sources or to photos, and for sources that have times of
    their own.
    """
    if not chosen.way and len(sources) > 1:
        raise UsageError(
            f"{len(sources)} sources did not begin at one time; index one with a date, or mend each with "
            "`vidmem recorded SOURCE WHEN`"
        )
    for source in sources:
        if not isinstance(source, Address):
            if not chosen.way:
                raise UsageError("each photo has a date of its own; `vidmem recorded PHOTO WHEN` mends one")
        elif source.part:
            check_kind(SourceKind.EPISODE if is_dataset(source.path) else SourceKind.LOG, str(source))


def check_kind(kind: SourceKind, uri: str) -> None:
    """Raises UsageError for sources that have times of their own."""
    if kind.own_times:
        cause = f"a {kind} source has a clock of its own" if kind.own_clock else "an episode counts from its start"
        raise UsageError(f"{cause}, which its time is told by; leave it as it is: {uri}")


def mend(store: Store, name: str, chosen: Choice) -> Dated:
    """Tell when the source, or a picture of a folder of single pictures, was recorded.

    Raises:
        UsageError: no such source, one that has a clock of its own, or what was chosen tells nothing of it.
    """
    row, times = _named(store, name)
    if row.kind.single_pictures and times is None and not chosen.way:
        raise UsageError(
            f"each picture has a date of its own; name one of them, or give {', '.join(WAYS)} or {NONE}: {row.uri}"
        )
    done = apply(store, row, chosen, times)
    if not done.changed:
        what = {"name": "its name tells no date", "container": "no date is written in the file"}.get(
            chosen.way, "the file is not there, or its time is not set"
        )
        raise UsageError(f"{what}; give one, such as 2026-01-31T08:30: {name}")
    return done


def apply(store: Store, row: SourceRow, chosen: Choice, times: list[int] | None = None) -> Dated:
    """The same for a source that is known, or for the single pictures at these times; what was chosen may tell nothing,
    and then nothing is changed. Raises UsageError for sources that have a clock of their own."""
    check_kind(row.kind, row.uri)
    if row.kind.single_pictures:
        return _pictures(store, row, chosen, times)
    known = _look(row.uri, row.kind, row.duration_ns, chosen)
    if known is None:
        return Dated(row.uri, row.start_ns, row.recorded_by, False)
    store.set_recorded(row.id, known.ns, known.by)
    return Dated(row.uri, known.ns, known.by, True)


def _pictures(store: Store, row: SourceRow, chosen: Choice, times: list[int] | None) -> Dated:
    wanted = list(store.pictures_recorded(row.id)) if times is None else times
    paths = store.picture_paths(row.id, wanted)
    looked = {t: _look(paths[t][0], SourceKind.IMAGE, 0, chosen) if t in paths else None for t in wanted}
    found = {t: (known.ns, known.by) for t, known in looked.items() if known is not None}
    store.set_pictures_recorded(row.id, found)
    ns, by = next(iter(found.values()), (None, ""))
    return Dated(row.uri, ns, by, bool(found), len(found), len(wanted) - len(found))


def _look(path: str, kind: SourceKind, duration_ns: int, chosen: Choice) -> Recorded | None:
    """What was chosen tells of a file; None when it tells nothing."""
    if chosen.way in ("", NONE):
        return chosen.given
    if kind is SourceKind.IMAGES:
        from ..media.images import pictures_in

        try:
            path, duration_ns = next(iter(pictures_in(path)), path), 0
        except MediaError:
            return None
    if chosen.way == "name":
        return from_name(path)
    if chosen.way == "mtime":
        return from_mtime(path, 0 if kind is SourceKind.IMAGE else duration_ns)
    if kind.is_film:
        from ..media.exif import taken

        return taken(path)
    from ..media.container import inside

    return inside(path)


def _named(store: Store, name: str) -> tuple[SourceRow, list[int] | None]:
    """The source; of a single picture its folder, and its time there."""
    try:
        return store.source(name), None
    except UsageError:
        whole = os.path.abspath(name)
        for row in store.sources():
            if not row.kind.single_pictures:
                continue
            files = {f.path: f.t_ns for f in store.picture_files(row.id) if f.t_ns is not None}
            hits = {t for path, t in files.items() if whole == os.path.join(row.uri, path)}
            hits = hits or {t for path, t in files.items() if f"/{path}".endswith(f"/{name}")}
            if len(hits) == 1:
                return row, [*hits]
        raise
