"""What all handlers share: the memory, what the server was started with, and bounded caches."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from ..errors import StoreError, UsageError
from ..fleet.address import is_fleet
from ..media.known import check_known_file, open_known_file
from ..media.playable import Playable, playable
from ..memory import Memory
from ..records import SourceKind
from ..store import SourceRow
from ..store.files import DATABASE_NAME
from .caches import Recent, drawn_pictures, given_pictures
from .events import Events, MemoryWatch
from .faults import NotFoundError
from .folders import checked_folder
from .jobs import ENDED, Jobs, JobSettings
from .pools import Pool, Pools
from .settings import Settings

if TYPE_CHECKING:
    from starlette.requests import Request

T = TypeVar("T")


class Service:
    """What all handlers share. Threads may share it.

    Attributes:
        memory: The memory, opened with `read_only`.
        settings: What the server was started with.
        given: Pictures that clients have sent.
        drawn: Frames and crops as JPEG.
        pools: The threads that work on requests.
        folders: The real paths of those below which clients may name files.
        jobs: Indexing and forgetting.
        events: Pages that listen.
        watch: Tells them of changes of the memory.
    """

    def __init__(self, memory: Memory, settings: Settings) -> None:
        self.memory, self.settings = memory, settings
        # The shards of a fleet are looked at one by one, and its catalogue may be on another machine.
        fleet = is_fleet(memory.store.address)
        self._database = None if fleet else Path(memory.store.folder).absolute() / DATABASE_NAME
        self._opened = None if self._database is None else _file(self._database)
        self.given = given_pictures()
        self.drawn = drawn_pictures()
        self._playable: Recent[Playable] = Recent(4096)
        self._checked: Recent[bool] = Recent(4096)
        self.pools = Pools()
        self.events = Events()
        self.watch = MemoryWatch(memory.store, self.events, self.drawn.clear)
        self.folders = tuple(map(checked_folder, self.settings.folders))
        writing = JobSettings(memory.store.address, settings.allow_write, self.folders, settings.opening)
        self.jobs = Jobs(writing, self._told)

    async def run(self, pool: str, client: str, work: Callable[[], T]) -> T:
        """Run blocking work in a thread. pool: questions, pictures, lists or clips. client: who asks.

        Raises:
            BusyError: Too many calls wait.
            StoreError: The memory is no longer there. An open database could still be read after it was deleted.
        """

        def checked() -> T:
            if self._database is not None and _file(self._database) != self._opened:
                raise StoreError("the memory was deleted, moved or replaced; start the server again")
            return work()

        chosen: Pool = getattr(self.pools, pool)
        return await chosen.run(client, checked)

    def _told(self, kind: str, job: Mapping[str, Any]) -> None:
        """Pass on what a job tells. What was forgotten does not stay in RAM."""
        if job["action"] == "forget" and job["state"] in ENDED:
            self.drawn.clear()
        self.events.publish(kind, job)

    def client(self, request: Request) -> str:
        """Who asks, as the guard says it."""
        return str(getattr(request.state, "client", "")) or (request.client.host if request.client else "-")

    def close(self) -> None:
        """End the events and the jobs, and start no more work. The memory is closed after this. Twice is fine."""
        self.events.close()
        self.jobs.close()
        self.watch.close()
        self.pools.close()

    def playable(self, row: SourceRow, *, look: bool) -> Playable | None:
        """Whether browsers play the file of a source. look: open the file if needed; else None if it is not known."""
        if row.kind is not SourceKind.VIDEO:
            return Playable("", "it is not a video file of its own")
        now = state(row.address.path)
        key = (row.id, row.fingerprint, now)
        found = self._playable.get(key)
        if found is None and look:
            found = playable(row) if now else Playable("", "the file is gone or cannot be read")
            self._playable.put(key, found)
        return found

    def open_video(self, row: SourceRow) -> BinaryIO:
        """Open the file of a video for its bytes. Raises MediaError as `open_known_file` and `check_known_file`."""
        file = open_known_file(row)
        try:
            stat = os.fstat(file.fileno())
            key = (row.id, row.fingerprint, _state_of(stat))
            if self._checked.get(key) is None:
                check_known_file(row, file)
                self._checked.put(key, True)
        except BaseException:
            file.close()
            raise
        return file

    def source(self, source_id: int) -> SourceRow:
        """The source with this id. Raises NotFoundError."""
        try:
            return self.memory.store.source_by_id(source_id)
        except UsageError as error:
            raise NotFoundError(str(error)) from None


def _file(path: Path) -> tuple[int, int] | None:
    """What tells the file at a path from another one; None for one that is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def state(path: str) -> tuple[int, ...] | None:
    """What changes with the content of a file; None for one that is gone."""
    try:
        return _state_of(os.stat(path))
    except (OSError, ValueError):
        return None


def _state_of(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
