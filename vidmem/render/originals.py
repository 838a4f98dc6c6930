"""The files that the pictures of sightings are taken from."""

from __future__ import annotations

import os

from ..errors import MediaError, UsageError
from ..media import Source
from ..media.known import OtherFileError, is_photo, open_known
from ..records import Sighting, SourceKind
from ..store import SourceRow, Store


def source_of(store: Store, sighting: Sighting) -> SourceRow:
    """The source of a sighting: by its id, since in a fleet sources of several shards may have one path.

    It may be that of an older answer, whose source was indexed again since: then its path counts.

    Raises:
        UsageError: the source is not in the memory any more.
    """
    try:
        row = store.source_by_id(sighting.source_id)
    except UsageError:
        return store.source(sighting.source)
    return row if row.uri == sighting.source else store.source(sighting.source)


class Originals:
    """Gives the videos and photos of a memory's sightings, if they are still those that were indexed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def is_live(self, sighting: Sighting) -> bool:
        """Return True if it was seen by a camera, which keeps no pictures."""
        return source_of(self._store, sighting).kind is SourceKind.LIVE

    def exists(self, sighting: Sighting) -> bool:
        """Return True if there is a file."""
        return source_of(self._store, sighting).address.exists()

    def open(self, sighting: Sighting) -> Source:
        """Open its video. Raises OtherFileError, and MediaError if it is gone or damaged."""
        return open_known(source_of(self._store, sighting))

    def photo(self, sighting: Sighting) -> str:
        """The file of its photo. Raises OtherFileError, and MediaError if it is gone."""
        path = str(sighting.picture)
        if not os.path.exists(path):
            raise MediaError(f"the photo is no longer there; put it back: {path}")
        held = self._store.picture(source_of(self._store, sighting).id, sighting.frame_ns)
        if held is None or not is_photo(path, held.digest):
            raise OtherFileError(f"the photo is not the one that was indexed; run `vidmem index` on it again: {path}")
        return path
