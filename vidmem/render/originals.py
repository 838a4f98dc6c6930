"""The files that the pictures of sightings are taken from."""

from __future__ import annotations

import os

from ..errors import MediaError
from ..media import Source
from ..media.known import OtherFileError, is_photo, open_known
from ..records import Sighting, SourceKind
from ..store import Store


class Originals:
    """Gives the videos and photos of a memory's sightings, if they are still those that were indexed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def is_live(self, sighting: Sighting) -> bool:
        """Return True if it was seen by a camera, which keeps no pictures."""
        return self._store.source(sighting.source).kind is SourceKind.LIVE

    def exists(self, sighting: Sighting) -> bool:
        """Return True if there is a file."""
        return self._store.source(sighting.source).address.exists()

    def open(self, sighting: Sighting) -> Source:
        """Open its video. Raises OtherFileError, and MediaError if it is gone or damaged."""
        return open_known(self._store.source(sighting.source))

    def photo(self, sighting: Sighting) -> str:
        """The file of its photo. Raises OtherFileError, and MediaError if it is gone."""
        path = str(sighting.picture)
        if not os.path.exists(path):
            raise MediaError(f"the photo is no longer there; put it back: {path}")
        held = self._store.picture(self._store.source(sighting.source).id, sighting.frame_ns)
        if held is None or not is_photo(path, held.digest):
            raise OtherFileError(f"the photo is not the one that was indexed; run `vidmem index` on it again: {path}")
        return path
