"""Which sources a question is put to, and which times of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..store import SourceRow, Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..timecode import Moment
    from .filters import Spans


def spans_of(
    store: Store, sources: Sequence[str], after: Moment | None, before: Moment | None
) -> tuple[Spans | None, list[str]]:
    """What of each source counts, None for everything, and what is left out, in words.

    sources: paths or names, all when there are none. after, before: from that moment on, and until just before it.
    Raises UsageError for a name that is not there, a time that ends before it begins, and where no source has a time of
    that kind.
    """
    if not sources and after is None and before is None:
        return None, _waiting(store)
    if after and before and after.wall == before.wall and after.ns >= before.ns:
        raise UsageError(f"{after.text!r} is not before {before.text!r}; nothing lies between them")
    rows = [store.source(name) for name in sources] if sources else store.sources()
    spans: dict[int, tuple[int, int] | NDArray[np.int64]] = {}
    strange = still = 0
    for row in rows:
        low = 0 if after is None else after.media_ns(row.start_ns)
        high = (1 << 62) if before is None else before.media_ns(row.start_ns)
        if row.kind.single_pictures and any(m is not None and not m.wall for m in (after, before)):
            still += 1
        elif row.kind.single_pictures and (after or before):
            times = _pictures_between(store, row, after, before)
            strange += times is None
            if times is not None:
                spans[row.id] = times
        elif low is None or high is None:
            strange += 1
        else:
            spans[row.id] = (low, high - (before is not None))
    if still and still == len(rows):
        raise UsageError("single pictures have no time in a video; give a date, such as 2026-01-31T08:30")
    if strange and strange + still == len(rows):
        raise UsageError(
            "no source here knows when it was recorded; `vidmem recorded SOURCE WHEN` tells it, or "
            "give times in the video, such as 12.5s or 1:02"
        )
    notes = _waiting(store)
    if still:
        notes.append(f"{still} of {len(rows)} sources are single pictures without a time in a video, left out")
    if strange:
        notes.append(
            f"{strange} of {len(rows)} sources do not know when they were recorded, left out; `vidmem "
            "recorded` tells it"
        )
    return spans, notes


def _pictures_between(
    store: Store, row: SourceRow, after: Moment | None, before: Moment | None
) -> NDArray[np.int64] | None:
    """The times on their source's clock of the single pictures that were taken within; None when no picture is
    dated."""
    import numpy as np

    dates = store.pictures_recorded(row.id)
    if all(ns is None for ns, _ in dates.values()):
        return None
    low = -(1 << 63) if after is None else after.ns
    high = 1 << 63 if before is None else before.ns
    return np.array(sorted(t for t, (ns, _) in dates.items() if ns is not None and low <= ns < high), np.int64)


def _waiting(store: Store) -> list[str]:
    """That sources cannot answer, as the memory has another encoder now and they were not there for it."""
    names = [Path(uri).name for uri in store.stale_sources()]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"left out, since they wait for `vidmem reembed`: {', '.join(names[:3])}{more}"] if names else []
