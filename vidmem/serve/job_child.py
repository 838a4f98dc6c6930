"""The process of one job: `python -m vidmem.serve.job_child`.

It reads the job as one line of JSON from stdin and writes lines of JSON to stdout: {"progress": ...}, {"report": ...},
and at last {"end": ...}. It ends when stdin is closed, that is, when the server ends in whatever way. An interrupt
keeps all finished checkpoints.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .job_documents import JobError, JobProgress, JobReport

if TYPE_CHECKING:
    from ..errors import VidmemError
    from ..indexer.amounts import Amount
    from ..indexer.pipeline import SourceReport
    from ..media import Found
    from ..query.retention import Forgetting
    from ..store import Store

Send = Callable[[str, Any], None]

_EVERY_S = 0.25
"""Seconds between two lines of progress."""
_LAST_S = 15.0
"""Seconds to finish a checkpoint after the server is gone."""
_NICE = 5
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Do the job on stdin."""
    signal.signal(signal.SIGINT, _interrupt)  # also if a shell has let the server ignore it
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the lines

    def send(name: str, value: Any) -> None:
        out.write(json.dumps({name: value}).encode() + b"\n")
        out.flush()

    try:
        end = _guarded(send)
    except KeyboardInterrupt:
        end = {"state": "cancelled"}
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is over
    with contextlib.suppress(OSError):
        send("end", end)
    return 0


def _interrupt(number: int, frame: object) -> None:
    """Interrupt once: when the server dies there are two signals, and the second must not break the checkpoint."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _guarded(send: Send) -> Mapping[str, Any]:
    """Do the job; return its end."""
    from ..errors import VidmemError

    try:
        _end_with_the_server()
        task = json.loads(_line())
        threading.Thread(target=_wait_for_the_end, daemon=True).start()
        with contextlib.suppress(OSError, AttributeError):
            os.nice(_NICE)  # questions come first
        work = _index if task["action"] == "index" else _forget
        return {"state": work(task, send)}
    except VidmemError as error:
        return {"state": "failed", "error": asdict(_error(error))}
    except Exception as error:
        return {"state": "failed", "error": asdict(JobError("bug", f"{type(error).__name__}: {error}"[:500]))}


def _error(error: VidmemError) -> JobError:
    from .faults import fault_of

    fault = fault_of(error)
    return JobError(fault.kind, fault.message)


def _line() -> bytes:
    with os.fdopen(0, "rb", buffering=0, closefd=False) as stdin:
        return stdin.readline()


def _end_with_the_server() -> None:
    """Ask the kernel for an interrupt when the server dies; elsewhere than on Linux the closed stdin says so."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)


def _wait_for_the_end() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(_LAST_S)
    os._exit(1)


def _index(task: Mapping[str, Any], send: Send) -> str:
    """Index; return the state of the job. Raises VidmemError if nothing could be done."""
    from ..indexer.amounts import amounts
    from ..indexer.plan import planned
    from ..memory import Memory

    with Memory.open(task["memory"], create=False, **task["opening"]) as memory:
        found, failed = _found(task, memory.store)
        if not found:
            raise failed[0][1]
        for name, error in failed:
            _report_failure(send, name, error)
        todo = planned(found, memory.store)
        meter = _Meter(amounts(todo, memory.store), send)
        reports = memory.index(*found, on_source=meter.on_source)
        meter.finish()
        memory.cache()  # so that the first question need not build it
        ids = {row.fingerprint: row.id for row in memory.sources()}
        for report in reports:
            send("report", asdict(_report(report, ids.get(report.info.fingerprint))))
    damaged = any(report.damaged for report in reports)
    return "partial" if failed or meter.failed or damaged else "done"


def _found(task: Mapping[str, Any], store: Store) -> tuple[list[Found], list[tuple[str, VidmemError]]]:
    """What is to be indexed, and what cannot be, each with its name and the cause."""
    from ..errors import VidmemError

    found: list[Found] = []
    failed: list[tuple[str, VidmemError]] = []
    wanted: list[tuple[str, Callable[[], list[Found]]]] = [
        *((path, lambda path=path: _below(path, task["folders"])) for path in task["paths"]),
        *((f"source {n}", lambda n=n: _known(n, store, task["folders"])) for n in task["sources"]),
    ]
    for name, find in wanted:
        try:
            found += find()
        except VidmemError as error:
            failed.append((name, error))
    return found, failed


def _below(path: str, folders: Sequence[str]) -> list[Found]:
    """The sources at a path that was checked when the job was posted; checked again, since it may have waited."""
    from ..indexer.indexing import find_sources
    from .folders import allowed, check_links

    items = find_sources([str(allowed(path, folders))], (), film=False, clock="log", pose=None)
    for item in items:
        check_links(item, folders)
    return items


def _known(source_id: int, store: Store, folders: Sequence[str]) -> list[Found]:
    """A source of the memory, if it lies below the folders, or still is what was indexed.

    A memory can come from a stranger and name any file. So a file elsewhere is only read on if it has the content that
    the memory says.
    """
    from ..errors import UsageError
    from ..media import Photos, open_source
    from ..records import SourceKind
    from .folders import check_links, is_below

    row = store.source_by_id(source_id)
    if row.kind is SourceKind.LIVE:
        raise UsageError(f"a camera is not indexed again: {row.uri}")
    item: Found = Photos(row.uri) if row.kind.single_pictures else row.address
    if is_below(os.path.realpath(item.path), folders):
        check_links(item, folders)
        return [item]
    if isinstance(item, Photos):
        raise UsageError(f"this folder of pictures is not below the server's folders: {row.uri}")
    with open_source(item) as source:
        if source.info.fingerprint != row.fingerprint:
            raise UsageError(f"the file has changed, and it is not below the server's folders: {row.uri}")
    return [item]


def _forget(task: Mapping[str, Any], send: Send) -> str:
    """Forget; return the state of the job."""
    for step in _forget_thing(task) if task["thing"] is not None else _forget_sources(task):
        state, part = "to_forget" if task["dry_run"] else "forgotten", "all of it" if step.whole else "a part"
        loss = step.loss
        report = JobReport(step.source.id, step.source.uri, state, loss.frames, loss.tracks, notes=[part])
        send("report", asdict(report))
    return "done"


def _forget_sources(task: Mapping[str, Any]) -> list[Forgetting]:
    """Forget sources, or what is old; no encoder is needed."""
    from ..query.retention import carry_out, plan
    from ..store import Store
    from ..timecode import parse_moment

    moment = None if task["before"] is None else parse_moment(task["before"])
    with Store.open(task["memory"], write=not task["dry_run"]) as store:
        names = [store.source_by_id(n).uri for n in task["sources"]]
        steps = plan(store, before=moment, sources=names)
        if not task["dry_run"]:
            carry_out(store, steps)
    return steps


def _forget_thing(task: Mapping[str, Any]) -> list[Forgetting]:
    from ..memory import Memory

    with Memory.open(task["memory"], create=False, read_only=task["dry_run"], **task["opening"]) as memory:
        names = [memory.store.source_by_id(n).uri for n in task["sources"]]
        return memory.forget(thing=task["thing"], sources=names, dry_run=task["dry_run"])


class _Meter:
    """Sends how far indexing is."""

    def __init__(self, todo: Mapping[tuple[bool, str], Amount], send: Send) -> None:
        self._todo, self._send = todo, send
        self._total = sum(amount.left_ns for amount in todo.values())
        self._before = self._frames_before = 0
        self._now: tuple[str, int, int] = ("", 0, 0)
        self._key = (False, "")
        self._first: tuple[float, int, int] | None = None
        self._sent = 0.0
        self.failed = 0

    def on_source(self, path: str, source: Any) -> Callable[[int, int], None] | None:
        """Called for each source; see `Memory.index`."""
        from ..address import Address
        from ..errors import MediaError
        from ..indexer.plan import Album

        if isinstance(source, MediaError):
            self.failed += 1
            _report_failure(self._send, path, source)
            return None
        self._close_source()
        self._key = isinstance(source, Album), path
        amount = self._todo.get(self._key)
        label = Address(path).label

        def progress(t_ns: int, frames: int) -> None:
            from ..indexer.amounts import PHOTO_NS

            if amount is None:
                self._tell(label, 0, frames)
            elif self._key[0]:
                self._tell(label, min(frames * PHOTO_NS, amount.total_ns), frames)
            else:
                done = min(t_ns, amount.total_ns) - amount.done_ns
                self._tell(label, max(0, done), max(0, frames - amount.frames))

        self._tell(label, 0, 0, always=True)
        return progress

    def finish(self) -> None:
        """All is done."""
        self._close_source()
        self._tell(self._now[0], 0, 0, always=True)

    def _close_source(self) -> None:
        amount = self._todo.get(self._key)
        self._before += 0 if amount is None else amount.left_ns
        self._frames_before += self._now[2]
        self._now = self._now[0], 0, 0
        self._key = (False, "")

    def _tell(self, label: str, done_ns: int, frames: int, *, always: bool = False) -> None:
        now = time.monotonic()
        self._now = label, done_ns, frames
        done, count = self._before + done_ns, self._frames_before + frames
        if self._first is None and count:  # what came before, such as loading the encoder, says nothing of the speed
            self._first = now, done, count
        if not always and now - self._sent < _EVERY_S:
            return
        self._sent = now
        began, done_then, count_then = self._first or (now, done, count)
        passed, left = now - began, max(0, self._total - done)
        eta = 0.0 if not left else left / (done - done_then) * passed if done > done_then else None
        progress = JobProgress(
            label, done / 1e9, self._total / 1e9, count, round((count - count_then) / passed, 2) if passed else 0.0,
            None if eta is None else round(eta, 1),
        )  # fmt: skip
        self._send("progress", asdict(progress))


def _report(report: SourceReport, source_id: int | None) -> JobReport:
    state = "skipped" if report.skipped else "damaged" if report.damaged else "done"
    return JobReport(
        source_id, report.info.uri, state, report.frames, report.tracks, report.damaged, list(report.notes)
    )


def _report_failure(send: Send, name: str, error: VidmemError) -> None:
    send("report", asdict(JobReport(None, name, "failed", notes=[_error(error).message])))


if __name__ == "__main__":
    sys.exit(main())
