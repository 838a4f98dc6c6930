"""The store of a fleet: the reading methods of `Store`, answered by the catalogue and by the shards.

Sources come from the catalogue, so that no shard is opened to list them. Everything else is read from the one shard
that holds it. A fleet is never written; its shards are sealed memories.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from ..address import Address
from ..errors import StoreError, UsageError
from ..records import FrameRegions, Trail, ViewMark
from ..store import ModelRecord, Picture, PictureFile, Proof, SourceRow, Store, StoreStats, TrackRow
from ..store.lookup import ambiguous, named
from ..store.region_blobs import Boxes
from .address import PREFIX, refusal
from .asking import Asked, Desk, workers
from .bounds_table import BoundsTable, KnownBounds
from .catalogue import Catalogue
from .opened import OpenShard, OpenShards
from .shards import Shards
from .state import SOURCE_BITS, FleetState, Part

P = ParamSpec("P")
T = TypeVar("T")

_LOCAL = (1 << SOURCE_BITS) - 1


class FleetStore(Store):
    """An open fleet, as a Store that was opened for reading. Threads may share it."""

    def __init__(self, catalogue: Catalogue, shards: Shards | None = None) -> None:
        """Read a catalogue. It is closed with this store.

        Raises:
            StoreError: the catalogue has no ready shard, or cannot be read.
        """
        self.catalogue = catalogue
        self.folder = Path(PREFIX + catalogue.name)
        self.writable, self.sealed = False, True
        self.desk = Desk(OpenShards(Shards(catalogue) if shards is None else shards))
        self.workers = workers()
        self._bounds = KnownBounds(self.desk.shards.shards)
        self._own = threading.local()
        self._reading = threading.Lock()
        self._closed = False
        self._state = FleetState.read(catalogue)
        if self._state.model is None:
            raise StoreError(f"the fleet has no shards; `vidmem fleet add` enters some: {catalogue.name}")

    @classmethod
    def of(cls, address: str) -> FleetStore:
        """Open the fleet at an address, such as fleet:house.catalogue or fleet:postgresql://HOST/NAME.

        Raises:
            UsageError: the address is malformed.
            StoreError: there is no catalogue, it is damaged or empty, or it cannot be reached.
            VersionError: a newer vidmem made it.
            ModelError: SQLAlchemy, or the driver of PostgreSQL, is missing.
        """
        url = address.removeprefix(PREFIX)
        if not url:
            raise UsageError("the address of a fleet names its catalogue, such as fleet:house.catalogue")
        catalogue = Catalogue.open(url)
        try:
            return cls(catalogue)
        except BaseException:
            catalogue.close()
            raise

    def __repr__(self) -> str:
        return f"FleetStore({self.catalogue.name!r}, {len(self._state.parts)} shards)"

    def close(self) -> None:
        """Close the shards and the catalogue. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._bounds.close()
            self.desk.close()
            self.catalogue.close()

    # One state for a question

    @contextmanager
    def snapshot(self) -> Iterator[tuple[str, int]]:
        """Let all reads of this thread in the block see one generation of the catalogue; see `Store.snapshot`.

        Raises:
            StoreError: at the end, when a shard was down and nobody asked for the `proof`, so that nothing is left out
                silently; or what was asked for makes no sense, which may be since it was not read.
        """
        if (asked := self.asked()) is not None:
            yield asked.state.id, asked.state.generation
            return
        asked = self._own.asked = Asked(self.state())
        try:
            yield asked.state.id, asked.state.generation
        except UsageError:
            asked.check()
            raise
        finally:
            self._own.asked = None
        if not asked.told:
            asked.check()

    def asked(self) -> Asked | None:
        """What this thread's question has asked so far; None outside of a snapshot."""
        asked: Asked | None = getattr(self._own, "asked", None)
        return asked

    def proof(self) -> Proof | None:
        asked = self.asked()
        if asked is None:
            return None
        asked.told = True
        return asked.proof()

    def state(self) -> FleetState:
        """The state of this thread's snapshot, or else that of the catalogue as it is now."""
        if (asked := self.asked()) is not None:
            return asked.state
        if self._closed:
            raise StoreError("this fleet is closed; open it again")
        if self.catalogue.generation() != self._state.generation:
            with self._reading:
                if self.catalogue.generation() != self._state.generation:
                    self._state = FleetState.read(self.catalogue)
        return self._state

    def bounds(self, state: FleetState) -> BoundsTable:
        """The bounds of the shards of a state, as far as they are to be had."""
        return BoundsTable(self._bounds.of([part.row for part in state.parts]))

    def each(self, parts: Sequence[Part], work: Callable[[Part, OpenShard], T]) -> list[tuple[Part, T]]:
        """Search shards in parallel; those that are down are noted for `proof`.

        Raises:
            StoreError: a shard is down, outside of a snapshot.
        """
        if (asked := self.asked()) is not None:
            return self.desk.each(asked, parts, work)
        found = self.desk.each(alone := Asked(self.state()), parts, work)
        alone.check()
        return found

    @property
    def address(self) -> str:
        """What opens it again. It may hold a password."""
        return PREFIX + self.catalogue.url

    def changes(self) -> tuple[int, int]:
        return self.state().generation, 0

    def extent(self) -> tuple[int, int]:
        state = self.state()
        return state.generation, state.tracks

    def later(self, action: Callable[[], None]) -> None:
        action()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._reading:
            yield

    # Nothing is written

    @contextmanager
    def _use(self, write: bool = False) -> Iterator[Any]:
        raise self._refusal()
        yield

    def check_writable(self) -> None:
        raise self._refusal()

    def _refusal(self) -> StoreError:
        return refusal(str(self.folder))

    def settle(self) -> None:
        self.check_writable()

    def scrub_due(self) -> bool:
        return False

    def tokens_begun(self) -> bool:
        return False

    # What made it

    def model(self) -> ModelRecord | None:
        return self.state().model

    def memory_id(self) -> str:
        return self.state().id

    def check_model(self, record: ModelRecord) -> None:
        from ..store.writer import check_model

        check_model(self.model(), record)

    def fitted(self, weights: str) -> None:
        """None: what was fitted to the memory of one shard says nothing of the others."""

    def introduced(self) -> str | None:
        model = self.model()
        return None if model is None else model.encoder

    def free_bytes(self) -> int:
        return 0

    def stats(self) -> StoreStats:
        """What the catalogue says. `regions` and `region_bytes` are 0, since only the shards know them."""
        state = self.state()
        sources = [source for part in state.parts for source in part.sources.values()]
        return StoreStats(
            sources=len(sources),
            frames=sum(source.row.frames for source in sources),
            damaged=sum(source.row.damaged for source in sources),
            tracks=state.tracks,
            regions=0,
            region_bytes=0,
            database_bytes=sum(part.row.bytes for part in state.parts),
            cache_bytes=0,
            duration_ns=sum(source.row.duration_ns for source in sources),
            pictures=sum(source.pictures for source in sources),
        )

    def shares(self) -> dict[int, tuple[int, int]]:
        """Tracks of each source, and the bytes of its shard, divided among its sources by their tracks."""
        return {
            part.source_id(local): (source.tracks, part.row.bytes * source.tracks // max(len(part), 1))
            for part in self.state().parts
            for local, source in part.sources.items()
        }

    # Sources

    def sources(self, *, states: bool = False) -> list[SourceRow]:
        return list(self.state().sources.values())

    def source_by_id(self, source_id: int) -> SourceRow:
        row = self.state().sources.get(source_id)
        if row is None:
            raise UsageError(f"no source has the id {source_id}")
        return row

    def source(self, name: str) -> SourceRow:
        found = self.sources_named(name)
        if len(found) > 1:
            raise self._of_several(name, found)
        return found[0]

    def _of_several(self, name: str, found: Sequence[SourceRow]) -> UsageError:
        shards = ", ".join(str(row.id >> SOURCE_BITS) for row in found)
        return UsageError(
            f"shards {shards} of the fleet have a source called {name!r}, and this works on one; open the memory of "
            "that shard"
        )

    def sources_named(self, name: str) -> list[SourceRow]:
        found = self._named(name)
        if len(uris := list(dict.fromkeys(row.uri for row in found))) > 1:
            raise ambiguous(name, uris)
        return found

    def source_at(self, name: str, t_ns: int) -> SourceRow:
        found = self.sources_named(name)
        if len({row.fingerprint for row in found}) > 1:  # not parts of one film
            raise self._of_several(name, found)
        rows = sorted(found, key=lambda row: self._end_ns(row.id))
        return next((row for row in rows if self._end_ns(row.id) >= t_ns), rows[-1])

    def parts(self, name: str) -> list[SourceRow]:
        found = self._named(name)
        if len({row.address.path for row in found}) > 1:
            raise ambiguous(name, list(dict.fromkeys(row.uri for row in found)))
        return found

    def _named(self, name: str) -> list[SourceRow]:
        rows = self.sources()
        for whole in (name, str(Address.parse(name).absolute())):
            if found := [row for row in rows if row.uri == whole]:
                return found
        return named(name, rows, lambda: [(row.id, path) for row, path in self._photos(name)])

    def photo(self, name: str) -> tuple[SourceRow, str] | None:
        found = self._photos(name)
        return found[0] if len(found) == 1 else None

    def _photos(self, name: str) -> list[tuple[SourceRow, str]]:
        out = []
        for part in self.state().parts:
            if any(source.row.kind.single_pictures for source in part.sources.values()):
                found = self.desk.read(self.asked(), part, lambda store: store.photo(name), None)
                if found is not None:
                    out.append((part.source_row(found[0]), found[1]))
        return out

    def _end_ns(self, source_id: int) -> int:
        part = self.state().part_of_source(source_id)
        return 0 if part is None else part.sources[source_id & _LOCAL].end_ns

    def clock_error(self, source_id: int) -> int:
        part = self.state().by_number.get(source_id >> SOURCE_BITS)
        return 0 if part is None else part.row.clock_error_ns

    def clock_group(self, source_id: int) -> int:
        return source_id >> SOURCE_BITS

    def stale_sources(self) -> list[str]:
        return self.state().stale

    # What one source has, read from its shard

    def _read(
        self,
        source_id: int,
        missing: T,
        method: Callable[Concatenate[Store, int, P], T],
        *args: P.args,
        **options: P.kwargs,
    ) -> T:
        """What a method of Store gives for a source; `missing` if its shard is down, which is noted."""
        part = self.state().part_of_source(source_id)
        if part is None:
            return missing
        local = source_id & _LOCAL
        return self.desk.read(self.asked(), part, lambda store: method(store, local, *args, **options), missing)

    def cuts(self, source_id: int) -> list[int]:
        return self._read(source_id, [], Store.cuts)

    def marks(self, source_id: int, *args: Any, **options: Any) -> list[Any]:
        return self._read(source_id, [], Store.marks, *args, **options)

    def trail(self, source_id: int) -> Trail | None:
        return self._read(source_id, None, Store.trail)

    def next_ordinal(self, source_id: int) -> int:
        return self._read(source_id, 0, Store.next_ordinal)

    def pictures(self, source_id: int) -> list[Picture]:
        return [self._dated(source_id, one) for one in self._read(source_id, [], Store.pictures)]

    def picture(self, source_id: int, t_ns: int) -> Picture | None:
        found = self._read(source_id, None, Store.picture, t_ns)
        return None if found is None else self._dated(source_id, found)

    def _dated(self, source_id: int, picture: Picture) -> Picture:
        offset = self._offset(source_id)
        ns = picture.recorded_ns
        return picture if ns is None or not offset else replace(picture, recorded_ns=ns + offset)

    def _offset(self, source_id: int) -> int:
        part = self.state().part_of_source(source_id)
        return 0 if part is None else part.row.clock_offset_ns

    def picture_paths(self, source_id: int, times: Sequence[int]) -> Mapping[int, list[str]]:
        return self._read(source_id, {}, Store.picture_paths, times)

    def pictures_recorded(
        self, source_id: int, times: Sequence[int] | None = None
    ) -> dict[int, tuple[int | None, str]]:
        offset = self._offset(source_id)
        found = self._read(source_id, {}, Store.pictures_recorded, times)
        return {t_ns: (ns if ns is None else ns + offset, by) for t_ns, (ns, by) in found.items()}

    def picture_files(self, source_id: int) -> list[PictureFile]:
        return self._read(source_id, [], Store.picture_files)

    def regions(self, source_id: int, start_ns: int, end_ns: int) -> Iterator[FrameRegions]:
        # All at once: a shard may not be held open for as long as the caller likes.
        none: list[FrameRegions] = []
        yield from self._read(source_id, none, _regions, start_ns, end_ns)

    def boxes(self, source_id: int, start_ns: int, end_ns: int) -> Boxes:
        none = np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4), np.float32)
        return self._read(source_id, none, Store.boxes, start_ns, end_ns)

    # Tracks

    def tracks(self, ids: Sequence[int]) -> list[TrackRow]:
        wanted = np.array([int(i) for i in ids], np.int64)
        found: dict[int, TrackRow] = {}
        for part, _, local in self.state().by_ids(wanted):
            none: list[TrackRow] = []
            rows = self.desk.read(self.asked(), part, partial(_tracks, ids=local.tolist()), none)
            found |= {row.id: row for row in (self._track(part, row) for row in rows)}
        return [found[int(i)] for i in ids if int(i) in found]

    def source_tracks(self, source_id: int) -> list[TrackRow]:
        part = self.state().part_of_source(source_id)
        return [] if part is None else [self._track(part, r) for r in self._read(source_id, [], Store.source_tracks)]

    def _track(self, part: Part, row: TrackRow) -> TrackRow:
        (number,) = part.track_ids(np.array([row.id])).tolist()
        return replace(row, id=number, source_id=part.source_id(row.source_id))

    def views(self, source_id: int) -> dict[int, list[ViewMark]]:
        part = self.state().part_of_source(source_id)
        found = self._read(source_id, {}, Store.views)
        if part is None or not found:
            return {}
        ids = part.track_ids(np.array(list(found), np.int64)).tolist()
        return dict(zip(ids, found.values(), strict=True))

    # Standing questions are asked while something is indexed, which a fleet is not

    def standing(self) -> list[Any]:
        return []

    def undelivered(self, *_: Any, **__: Any) -> list[Any]:
        return []

    def told(self, *_: Any, **__: Any) -> set[int]:
        return set()


def _regions(store: Store, source_id: int, start_ns: int, end_ns: int) -> list[FrameRegions]:
    return list(store.regions(source_id, start_ns, end_ns))


def _tracks(store: Store, ids: Sequence[int]) -> list[TrackRow]:
    return store.tracks(ids)
