"""What a catalogue has: which sources are done, and which shards a new one makes needless."""

from __future__ import annotations

from collections.abc import Iterator

from ..fleet.catalogue import Catalogue
from ..fleet.manifest import Manifest
from ..fleet.rows import ShardRow


class Held:
    """The sources and tasks of a catalogue, read once and then only when it has changed."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._generation = catalogue.generation()
        self._rows = {row.key: row for row in catalogue.shards(ready=False)}
        self.fingerprints: dict[str, int] = {}
        """The shard of each source, by fingerprint."""
        self._uris: dict[int, set[str]] = {}
        for source in catalogue.sources():
            self.fingerprints[source.row.fingerprint] = source.shard
            self._uris.setdefault(source.shard, set()).add(source.row.uri)

    def ready(self, key: str) -> int | None:
        """The number of the ready shard of a task; None if there is none."""
        row = self._rows.get(key)
        return row.number if row is not None and row.state == "ready" else None

    def row_of(self, key: str) -> ShardRow | None:
        """The row of a task as it is now; None if there is none."""
        self._rows = {row.key: row for row in self._catalogue.shards(ready=False)}
        return self._rows.get(key)

    def news(self) -> Iterator[tuple[str, int]]:
        """Key and number of each ready shard that was not ready at the last look."""
        if (now := self._catalogue.generation()) == self._generation:
            return
        self._generation = now
        before = {key for key, row in self._rows.items() if row.state == "ready"}
        self._rows = {row.key: row for row in self._catalogue.shards(ready=False)}
        yield from ((key, row.number) for key, row in self._rows.items() if row.state == "ready" and key not in before)

    def added(self, row: ShardRow, manifest: Manifest) -> list[str]:
        """Take a new shard in: shards all of whose sources it holds anew answer no more.

        Returns:
            Remarks on shards that hold a former state of some of its sources, and other sources too.
        """
        new = {source.row.uri for source in manifest.sources}
        notes = []
        for number, uris in list(self._uris.items()):
            if number == row.number or not (common := uris & new):
                continue
            if uris <= new:
                self._catalogue.replace(number)
                del self._uris[number]
            else:
                name = min(common)
                notes.append(
                    f"shard {number} still holds a former state of {len(common)} of its {len(uris)} sources; `vidmem "
                    f"fleet rm` it and index again to renew all of it: {name}"
                )
        self._uris[row.number] = new
        return notes
