"""`vidmem ls`: the sources in a memory."""

from __future__ import annotations

from ..query.documents import plain
from ..query.source_documents import source_document
from ..timecode import clock, recording_date
from .messages import say
from .options import AskedMemoryOption
from .output import Listing, Show, listing
from .sightings import NO_VIDEO
from .sources import OWN_DATES, STATES, open_store


@listing
def ls(memory: AskedMemoryOption = None, *, show: Show) -> int:
    """List the sources in the memory.

    They are in the order in which they were added, with how far each is indexed.

    \b
    Examples:
      vidmem ls
      vidmem ls --json
    """
    with open_store(memory) as store:
        rows = store.sources()
    table = [("source", "state", "length", "size", "recorded")]
    table += [
        (
            row.uri,
            STATES[row.state] + (", to reembed" if row.stale else ""),
            clock(row.duration_ns) if row.duration_ns else "-",
            f"{row.width}x{row.height}" if row.width else "-",
            OWN_DATES if row.kind.single_pictures else recording_date(row.start_ns, row.recorded_by),
        )
        for row in rows
    ]
    show(Listing([plain(source_document(row)) for row in rows], table))
    if not rows:
        say(NO_VIDEO)
    return 0
