"""When a source was recorded, set again: by hand, or from another piece of evidence."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from ..address import Address
from ..errors import MediaError, UsageError
from ..media.container import from_container
from ..media.exif import from_exif
from ..media.images import pictures_in
from ..media.lerobot import is_dataset
from ..media.recorded import METHODS, Recorded, from_mtime, from_name
from ..records import SourceKind
from ..store import SourceRow, Store
from ..timecode import is_day, moment_of, parse_moment, quoted

if TYPE_CHECKING:
    from .plan import Album

NONE = "none"
"""The method that makes a recording time unknown."""
_FORMS = f"write 2026-01-31T08:30, 2026-01-31, yesterday 18:02, {', '.join(METHODS)} or {NONE}"
_UNKNOWN_ON_PURPOSE = Recorded(None, "given")


@dataclass(frozen=True, slots=True)
class Choice:
    """How to date a source. method: one of METHODS, NONE, or empty to use `given`."""

    method: str
    given: Recorded = _UNKNOWN_ON_PURPOSE

    def matches(self, by: str) -> bool:
        """Return True if a time that is known by `by` may come from this choice."""
        return by in {"container": ("container", "exif"), "name": ("name", "day"), "mtime": ("mtime",)}.get(
            self.method, (by,)
        )


@dataclass(frozen=True, slots=True)
class Dated:
    """The result for one source.

    uri: of the source. start_ns, by: its recording time now. changed: False if the method gave no time, and all is as
    it was. pictures: number of single pictures that were changed; left: of those that were not.
    """

    uri: str
    start_ns: int | None
    by: str
    changed: bool
    pictures: int = 0
    left: int = 0


def parse_choice(when: str | date) -> Choice:
    """Parse what `index --recorded` and `vidmem recorded` take; a date without a time, also as text, sets the day.

    Raises:
        UsageError: the text is not a date and not a method.
    """
    if isinstance(when, date):
        return Choice("", Recorded(moment_of(when).ns, "given" if isinstance(when, datetime) else "day"))
    text = when.strip()
    if text in (*METHODS, NONE):
        return Choice(text)
    try:
        moment = parse_moment(text)
    except UsageError:
        raise UsageError(f"{quoted(when)} is not a date; {_FORMS}") from None
    if not moment.wall:
        raise UsageError(f"{quoted(when)} is a time in a video; say when the recording began: {_FORMS}")
    return Choice("", Recorded(moment.ns, "day" if is_day(text) else "given"))


def check(choice: Choice, sources: Sequence[Address | Album]) -> None:
    """Check the choice before anything is indexed.

    Raises:
        UsageError: one given time is for several sources or for photos, or a source has times of its own.
    """
    if not choice.method and len(sources) > 1:
        raise UsageError(
            f"{len(sources)} sources did not begin at one time; index one with a date, or date each with "
            "`vidmem recorded SOURCE WHEN`"
        )
    for source in sources:
        if not isinstance(source, Address):
            if not choice.method:
                raise UsageError("each photo has a date of its own; `vidmem recorded PHOTO WHEN` sets one")
        elif source.part:
            _check_kind(SourceKind.EPISODE if is_dataset(source.path) else SourceKind.LOG, str(source))


def _check_kind(kind: SourceKind, uri: str) -> None:
    """Raise UsageError for sources that have times of their own."""
    if kind.own_times:
        cause = f"a {kind} source has a clock of its own" if kind.own_clock else "an episode counts from its start"
        raise UsageError(f"{cause}, which its times are on; leave it as it is: {uri}")


def redate(store: Store, name: str, choice: Choice) -> Dated:
    """Set when a source, or one picture in a folder of single pictures, was recorded.

    Raises:
        UsageError: no such source, a source with times of its own, or the method gives no time for it.
    """
    row, times = _named(store, name)
    if row.kind.single_pictures and times is None and not choice.method:
        raise UsageError(
            f"each picture has a date of its own; name one of them, or give {', '.join(METHODS)} or {NONE}: {row.uri}"
        )
    result = apply(store, row, choice, times)
    if not result.changed:
        cause = {"name": "its name has no date", "container": "the file has no date written in it"}.get(
            choice.method, "the file does not exist, or its time is not set"
        )
        raise UsageError(f"{cause}; give one, such as 2026-01-31T08:30: {name}")
    return result


def apply(store: Store, row: SourceRow, choice: Choice, times: list[int] | None = None) -> Dated:
    """Date a known source; if the method gives no time for it, nothing is changed.

    Args:
        store: Open for writing.
        row: The source.
        choice: How to date it.
        times: Times of the single pictures to date; by default all.

    Raises:
        UsageError: the source has times of its own.
    """
    _check_kind(row.kind, row.uri)
    if row.kind.single_pictures:
        return _apply_to_pictures(store, row, choice, times)
    found = _find(row.uri, row.kind, row.duration_ns, choice)
    if found is None:
        return Dated(row.uri, row.start_ns, row.recorded_by, False)
    store.set_recorded(row.id, found.ns, found.by)
    return Dated(row.uri, found.ns, found.by, True)


def _apply_to_pictures(store: Store, row: SourceRow, choice: Choice, times: list[int] | None) -> Dated:
    wanted = list(store.pictures_recorded(row.id)) if times is None else times
    paths = store.picture_paths(row.id, wanted)
    results = {t: _find(paths[t][0], SourceKind.IMAGE, 0, choice) if t in paths else None for t in wanted}
    found = {t: (recorded.ns, recorded.by) for t, recorded in results.items() if recorded is not None}
    store.set_pictures_recorded(row.id, found)
    ns, by = next(iter(found.values()), (None, ""))
    return Dated(row.uri, ns, by, bool(found), len(found), len(wanted) - len(found))


def _find(path: str, kind: SourceKind, duration_ns: int, choice: Choice) -> Recorded | None:
    """The recording time of a file by the chosen method; None if there is none."""
    if choice.method in ("", NONE):
        return choice.given
    if kind is SourceKind.IMAGES:
        try:
            path, duration_ns = next(iter(pictures_in(path)), path), 0
        except MediaError:
            return None
    if choice.method == "name":
        return from_name(path)
    if choice.method == "mtime":
        return from_mtime(path, 0 if kind is SourceKind.IMAGE else duration_ns)
    return from_exif(path) if kind.is_film else from_container(path)


def _named(store: Store, name: str) -> tuple[SourceRow, list[int] | None]:
    """The source that `name` means; for a single picture its folder, and its time there."""
    try:
        return store.source(name), None
    except UsageError:
        absolute = os.path.abspath(name)
        for row in store.sources():
            if not row.kind.single_pictures:
                continue
            files = {f.path: f.t_ns for f in store.picture_files(row.id) if f.t_ns is not None}
            matches = {t for path, t in files.items() if absolute == os.path.join(row.uri, path)}
            matches = matches or {t for path, t in files.items() if f"/{path}".endswith(f"/{name}")}
            if len(matches) == 1:
                return row, [*matches]
        raise
