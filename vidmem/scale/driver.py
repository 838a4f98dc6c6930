"""The driver of a run: gives tasks to workers, enters their shards into the catalogue, and repeats what was lost.

The driver holds the leases, so that workers need no way to the catalogue. It keeps nothing that the catalogue and the
folder of pieces do not have: a driver that is killed and started again continues there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..errors import LockedError, ModelMismatchError, StoreError, VersionError, VidmemError, WorkerError
from ..fleet import manifest as manifests
from ..fleet.catalogue import Catalogue
from .held import Held
from .leases import Leases
from .making import ShardMade, SourceMade
from .moving import pieces_place, remove_pieces
from .plan import ShardTask, StretchTask, key_of, stretch_key
from .pool import Event, Finished, Job, Lost, Pool, Raised, Refused
from .reports import FleetProgress, FleetReport, FleetSourceReport
from .settings import Settings
from .stretches import Stretch
from .worker import At

_log = logging.getLogger(__name__)

MOST_LOSSES = 5
"""How often in a row workers may die at a task without getting further than before."""
MOST_STILLBORN = 10
"""How often in a row workers may die before they are ready."""
_BACK_OFF_S, _LONGEST_S = 1.0, 60.0
_LOOK_S = 2.0
"""Seconds between two looks at what other drivers did."""
_STRETCHES = 0.8
"""About the share of the time of a source in stretches that the stretches take."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the driver decides by.

    Attributes:
        tries: How often a task may raise an error.
        span_s: Seconds of a stretch.
        split_s: Sources of more seconds than this are encoded in stretches.
    """

    tries: int = 4
    span_s: float = 600.0
    split_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Watchers:
    """Functions that a run calls. progress: about once a second. on_source: for each source whose fate is known.
    note: with remarks for people."""

    progress: Callable[[FleetProgress], None] | None = None
    on_source: Callable[[FleetSourceReport], None] | None = None
    note: Callable[[str], None] | None = None


@dataclass(slots=True, eq=False)
class _Task:
    task: ShardTask
    splits: bool
    not_before: float = 0.0
    begun: int = 0
    errors: int = 0
    losses: int = 0
    best: dict[str, int] = field(default_factory=dict)
    leased: bool = False
    running: bool = False
    cut: bool = False
    pieces: list[StretchTask] = field(default_factory=list)
    left: list[StretchTask] = field(default_factory=list)
    """Stretches that no worker has."""
    out: int = 0
    """Stretches that workers have."""


class Driver:
    """Does tasks until all are done, failed, or done by others.

    Args:
        catalogue: Where shards are entered.
        leases: The leases of this driver.
        pool: The workers.
        settings: What workers agree on.
        to: Where shards lie.
        tasks: The tasks.
        held: What the catalogue has.
        limits: The limits.
        watchers: Whom to tell.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        leases: Leases,
        pool: Pool,
        settings: Settings,
        to: str,
        tasks: Sequence[ShardTask],
        held: Held,
        limits: Limits,
        watchers: Watchers,
    ) -> None:
        self._catalogue, self._leases, self._pool, self._settings, self._to = catalogue, leases, pool, settings, to
        self._held, self._limits, self._watchers = held, limits, watchers
        # The longest first, so that none is left over at the end that one worker has to do alone.
        ordered = sorted(tasks, key=lambda task: -task.cost_ns)
        self._tasks = {task.key: self._entered(task) for task in ordered}
        self._total_ns = sum(task.cost_ns for task in tasks)
        self._total_sources = sum(len(task.inputs) for task in tasks)
        self._done_ns = 0
        self._reports: list[FleetSourceReport] = []
        self._shards: list[int] = []
        self._lost = self._retries = self._stillborn = self._looked_up = self._encoded = 0
        self._working_s = self._cpu_s = self._sealing_s = 0.0
        self._refusal = ""
        self._began = self._told_at = self._looked_at = time.monotonic()
        self._alone_since: float | None = None

    def run(self) -> FleetReport:
        """Do all tasks; return what became of their sources.

        Raises:
            WorkerError: No worker can take part.
            ModelMismatchError: The catalogue got shards of another encoder meanwhile.
            StoreError: The catalogue cannot be reached.
        """
        while self._tasks:
            while self._pool.idle() and (job := self._next()) is not None:
                self._pool.start(job)
            for event in self._pool.wait(0.5):
                self._take(event)
            self._look_at_others()
            self._check_workers()
            self._tell()
        seconds = time.monotonic() - self._began
        self._pool.everywhere("forget_made")
        return FleetReport(
            tuple(self._reports),
            tuple(self._shards),
            seconds,
            seconds,
            self._lost,
            self._retries,
            self._working_s,
            self._cpu_s,
            self._sealing_s,
            self._looked_up,
            self._encoded,
        )

    def _entered(self, task: ShardTask) -> _Task:
        alone = task.inputs[0]
        long = len(task.inputs) == 1 and not alone.is_album and alone.cost_ns > self._limits.split_s * 1e9
        return _Task(task, splits=long and not alone.address.part)

    def _next(self) -> Job | None:
        """The next job of a task that this driver has, or can get."""
        now = time.monotonic()
        for entered in list(self._tasks.values()):
            if entered.running or entered.not_before > now:
                continue
            if entered.cut and not entered.left and entered.out:
                continue  # its stretches are with workers
            if not entered.leased and not self._lease(entered):
                continue
            if (job := self._job(entered)) is not None:
                return job
        return None

    def _lease(self, entered: _Task) -> bool:
        key = entered.task.key
        names = [given.name for given in entered.task.inputs]
        about = {"sources": names[:20], "count": len(names)}
        if self._leases.take(key, about):
            entered.leased = True
            return True
        row = self._held.row_of(key)
        if row is not None and row.state == "replaced":  # its sources are again as they were before others came
            self._catalogue.remove(row.number)
            return False
        if row is not None and row.state == "ready":
            self._known(entered, row.number)
        else:
            entered.not_before = time.monotonic() + _LOOK_S
        return False

    def _job(self, entered: _Task) -> Job | None:
        key = entered.task.key
        if entered.splits and not entered.cut:
            entered.running = True
            return Job("cut", (entered.task.inputs[0], self._limits.span_s), (key, "cut", ""))
        if entered.left:
            stretch = entered.left.pop(0)
            entered.out += 1
            return Job("stretch", (stretch, key), (key, "stretch", stretch.key))
        entered.running = True
        entered.begun += 1
        return Job("shard", (entered.task, [piece.key for piece in entered.pieces]), (key, "shard", ""))

    def _take(self, event: Event) -> None:
        if isinstance(event, Refused):
            self._refusal = event.cause
            self._note(event.cause)
            return
        if isinstance(event, Lost):
            self._lost += 1
            self._stillborn = 0 if event.job is not None else self._stillborn + 1
            if event.job is None:
                return
            self._note(f"the worker {event.worker} died ({event.cause}); its task is begun again")
        self._stillborn = 0
        assert event.job is not None
        key, stage, part = event.job.tag
        entered = self._tasks.get(key)
        if entered is None:  # it is known by now from another driver
            return
        if stage == "stretch":
            entered.out -= 1
        else:
            entered.running = False
        if isinstance(event, Finished):
            self._finished(entered, stage, event)
            return
        if stage == "stretch":
            entered.left.insert(0, next(piece for piece in entered.pieces if piece.key == part))
        self._retries += 1
        if isinstance(event, Lost):
            self._after_loss(entered, stage + part, event.at)
        elif isinstance(event, Raised):
            self._after_error(entered, event.error)

    def _finished(self, entered: _Task, stage: str, event: Finished) -> None:
        if stage == "cut":
            self._cut(entered, event.result)
        elif stage == "shard":
            self._made(entered, event.result, event.worker)

    def _cut(self, entered: _Task, found: Sequence[Stretch]) -> None:
        entered.cut = True
        if len(found) > 1:
            key, source = entered.task.key, entered.task.inputs[0]
            entered.pieces = [StretchTask(stretch_key(key, stretch), source, stretch) for stretch in found]
            entered.left = list(entered.pieces)

    def _made(self, entered: _Task, made: ShardMade, worker: str) -> None:
        key, number = entered.task.key, None
        self._looked_up, self._encoded = self._looked_up + made.looked_up, self._encoded + made.encoded
        self._working_s, self._cpu_s = self._working_s + made.seconds, self._cpu_s + made.cpu_s
        self._sealing_s += made.sealing_s
        if made.manifest:
            manifest = manifests.parse(made.manifest, made.uri)
            row = self._catalogue.add(manifest, made.uri, key=key, owner=self._leases.owner)
            number = row.number
            self._leases.done(key)
            self._shards.append(number)
            for note in self._held.added(row, manifest):
                self._note(note)
            if entered.pieces:
                remove_pieces(pieces_place(self._to, key))
        else:
            self._leases.fail(key, made.sources[0].error)
        self._over(entered)
        for source in made.sources:
            self._report(_reported(source, number, worker, entered.begun))

    def _after_loss(self, entered: _Task, part: str, at: At) -> None:
        if at.done_ns > entered.best.get(part, 0):
            entered.best[part], entered.losses = at.done_ns, 0
        entered.losses += 1
        if entered.losses <= MOST_LOSSES:
            return
        if len(entered.task.inputs) > 1:  # one of them may kill its worker, so each goes alone
            self._note(
                f"workers died {entered.losses} times in a row at {entered.task.label}; its sources go alone now"
            )
            self._leases.release(entered.task.key)
            del self._tasks[entered.task.key]
            for given in entered.task.inputs:
                alone = ShardTask(key_of([given], self._settings), (given,))
                self._tasks[alone.key] = self._entered(alone)
            return
        name = entered.task.inputs[0].name
        self._fail(entered, f"workers died {entered.losses} times in a row; check their memory, or the file: {name}")

    def _after_error(self, entered: _Task, error: BaseException) -> None:
        if isinstance(error, WorkerError):
            self._refusal = str(error)
            self._note(str(error))
            return
        if isinstance(error, VidmemError) and not isinstance(error, StoreError):
            self._fail(entered, str(error))
            return
        if isinstance(error, ModelMismatchError | VersionError):
            raise error
        entered.errors += 1
        cause = str(error) if isinstance(error, VidmemError) else f"{type(error).__name__}: {error}"
        if entered.errors >= self._limits.tries and not isinstance(error, LockedError):
            self._fail(entered, cause)
            return
        pause = min(_BACK_OFF_S * 2 ** (entered.errors - 1), _LONGEST_S)
        entered.not_before = time.monotonic() + pause
        self._note(f"{cause}; begun again in {pause:.0f} s: {entered.task.label}")

    def _fail(self, entered: _Task, cause: str) -> None:
        self._leases.fail(entered.task.key, cause)
        self._over(entered)
        for given in entered.task.inputs:
            self._report(FleetSourceReport(given.name, "failed", given.entry.line, tries=entered.begun, error=cause))

    def _known(self, entered: _Task, number: int) -> None:
        self._over(entered)
        for given in entered.task.inputs:
            self._report(FleetSourceReport(given.name, "known", given.entry.line, number))

    def _over(self, entered: _Task) -> None:
        del self._tasks[entered.task.key]
        self._done_ns += entered.task.cost_ns

    def _report(self, report: FleetSourceReport) -> None:
        self._reports.append(report)
        if self._watchers.on_source is not None:
            self._watchers.on_source(report)

    def _note(self, text: str) -> None:
        if self._watchers.note is not None:
            self._watchers.note(text)
        else:
            _log.info("%s", text)

    def _look_at_others(self) -> None:
        """Drop tasks that other drivers have done."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_S:
            return
        self._looked_at = now
        for key, number in self._held.news():
            entered = self._tasks.get(key)
            if entered is not None and not entered.leased:
                self._known(entered, number)

    def _check_workers(self) -> None:
        if self._stillborn >= MOST_STILLBORN:
            raise WorkerError(f"{self._stillborn} workers in a row died before they were ready; check their memory")
        if self._pool.alive() or self._pool.starting():
            self._alone_since = None
            return
        if self._refusal:
            raise WorkerError(self._refusal)
        now = time.monotonic()
        if self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since > 30:
            self._alone_since = now
            self._note("no worker is there; waiting for the cluster")

    def _tell(self) -> None:
        now = time.monotonic()
        if self._watchers.progress is None or now - self._told_at < 1:
            return
        self._told_at = now
        running = self._pool.running()
        done = self._done_ns + sum(self._partly(entered, running) for entered in self._tasks.values())
        elapsed, rest = now - self._began, self._total_ns - done
        eta = rest * elapsed / done if done > 0 and elapsed > 5 else None
        self._watchers.progress(
            FleetProgress(
                done / 1e9,
                self._total_ns / 1e9,
                len(self._reports),
                self._total_sources,
                sum(report.state == "failed" for report in self._reports),
                self._pool.alive(),
                self._lost,
                elapsed,
                eta,
                next((at.source for at in running.values() if at.source), ""),
            )
        )

    def _partly(self, entered: _Task, running: dict[tuple[str, str, str], At]) -> int:
        """How much of an unfinished task is done, in ns of media."""
        key, cost = entered.task.key, entered.task.cost_ns
        at = running.get((key, "shard", ""))
        shard = min(at.done_ns, cost) if at is not None else 0
        if not entered.pieces:
            return shard
        done = len(entered.pieces) - len(entered.left) - entered.out
        return round(cost * _STRETCHES * done / len(entered.pieces) + shard * (1 - _STRETCHES))


def _reported(source: SourceMade, number: int | None, worker: str, tries: int) -> FleetSourceReport:
    return FleetSourceReport(
        source.name,
        "failed" if source.error else "done",
        source.line,
        None if source.error else number,
        source.frames,
        source.tracks,
        source.media_s,
        source.seconds,
        worker,
        tries,
        source.damaged,
        source.notes,
        source.error,
    )
