"""Jobs: indexing and forgetting over HTTP, one at a time, each in a process of its own.

A process can be stopped without leaving a thread behind, does not slow the questions down by Python's lock, and takes
the server's errors of memory with it. What a job has written at its last checkpoint stays, so a cancelled or broken one
is resumed by asking for the same again.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .faults import BusyError, ForbiddenError, NotFoundError
from .job_documents import JobDocument, JobError, JobProgress, JobReport
from .job_requests import JobRequest, parse_request
from .tokens import VARIABLE as TOKEN_VARIABLE

MAX_WAITING = 16
"""Jobs that wait for the one that runs."""
KEPT = 100
"""Jobs that are remembered after they ended."""
MAX_REPORTS = 1000
"""Sources that a job reports one by one."""
CANCEL_S = 20.0
"""Seconds that a job has to finish its checkpoint when it is cancelled. Then it is killed and loses that one."""
_CLOSE_S = 10.0
_TELL_S = 0.25
"""Seconds between two times that reports are told. All of them are in the job, so that each time is long."""

Publish = Callable[[str, Mapping[str, Any]], None]
ENDED = ("done", "partial", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What jobs may do.

    Attributes:
        memory: Folder of the memory.
        allow_write: Jobs are allowed at all.
        folders: Folders below which paths may be indexed, from `folders.checked_folder`.
        opening: Further arguments of `Memory.open` by name, such as the encoder that the server was started with.
    """

    memory: str
    allow_write: bool = False
    folders: tuple[str, ...] = ()
    opening: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Job:
    id: str
    request: JobRequest
    created_at: float
    state: str = "waiting"
    progress: JobProgress | None = None
    reports: list[JobReport] = field(default_factory=list)
    error: JobError | None = None
    cancelled: bool = False
    process: subprocess.Popen[bytes] | None = None

    def document(self) -> JobDocument:
        return JobDocument(
            self.id, self.request.action, self.state, self.created_at, self.progress, list(self.reports), self.error
        )


class Jobs:
    """All jobs of a server. Threads may share it."""

    def __init__(
        self, settings: JobSettings, publish: Publish | None = None, command: Sequence[str] | None = None
    ) -> None:
        """publish: called with "job" and the job whenever it changes. command: what runs a job, for tests."""
        self._settings = settings
        self._publish = publish
        self._command = list(command or (sys.executable, "-m", "vidmem.serve.job_child"))
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        self._waiting: deque[_Job] = deque()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._closed = False
        self._told_at = 0.0

    def all(self) -> list[JobDocument]:
        """All jobs that are remembered, newest first."""
        with self._lock:
            return [job.document() for job in reversed(self._jobs.values())]

    def get(self, job_id: str) -> JobDocument:
        """One job. Raises NotFoundError."""
        with self._lock:
            return self._job(job_id).document()

    def post(self, document: object, known: Callable[[int], object] | None = None) -> JobDocument:
        """Take a job.

        Args:
            document: As in the API: {"action": "index", "paths": [...]} or {"action": ..., "sources": [...]}.
            known: Called with each id of a source; raises NotFoundError for one that is not there.

        Raises:
            ForbiddenError: the server was started without the right to write.
            UsageError: the document is malformed, or a path is not below the folders.
            BusyError: too many jobs wait.
        """
        if not self._settings.allow_write:
            raise ForbiddenError("this server only answers questions; start it with the right to write")
        request = parse_request(document, self._settings.folders)
        if known is not None:
            for source in request.sources:
                known(source)
        with self._lock:
            if self._closed:
                raise BusyError("the server is stopping", 5)
            if len(self._waiting) >= MAX_WAITING:
                raise BusyError(f"{MAX_WAITING} jobs wait already; try again when one is done", 10)
            job = _Job(secrets.token_hex(8), request, time.time())
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._forget_old()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="vidmem-jobs", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            answer = job.document()
        self._tell(answer)
        return answer

    def cancel(self, job_id: str) -> JobDocument:
        """Cancel a job that waits or runs; one that ended stays as it is. A running one ends a little later.

        Raises:
            ForbiddenError: the server was started without the right to write.
            NotFoundError: there is no such job.
        """
        if not self._settings.allow_write:
            raise ForbiddenError("this server only answers questions; start it with the right to write")
        with self._lock:
            job = self._job(job_id)
            told_already = job.cancelled
            if job.state not in ENDED:
                job.cancelled = True
            if job.state == "waiting":
                self._waiting.remove(job)
                job.state = "cancelled"
            process = job.process if job.state == "running" and not told_already else None
            answer = job.document()
        if process is not None:
            _stop(process)
        self._tell(answer)
        return answer

    def close(self) -> None:
        """Cancel all jobs and wait for the one that runs."""
        with self._lock:
            self._closed = True
            running = [job for job in self._jobs.values() if job.state == "running"]
            for job in (*self._waiting, *running):
                job.cancelled = True
            for job in self._waiting:
                job.state = "cancelled"
            self._waiting.clear()
            self._changed.notify_all()
            thread = self._thread
        for job in running:
            if job.process is not None:
                _stop(job.process, _CLOSE_S)
        if thread is not None:
            thread.join(_CLOSE_S + 5)

    def _job(self, job_id: str) -> _Job:
        job = self._jobs.get(job_id)
        if job is None:
            raise NotFoundError("there is no such job; the server remembers the last 100, until it is stopped")
        return job

    def _forget_old(self) -> None:
        ended = [job for job in self._jobs.values() if job.state in ENDED]
        for job in ended[: max(0, len(ended) - KEPT)]:
            del self._jobs[job.id]

    def _tell(self, document: JobDocument) -> None:
        if self._publish is not None:
            self._publish("job", asdict(document))

    def _run(self) -> None:
        """The thread that runs jobs. Children are told to end when it ends, so it lives as long as the server."""
        while True:
            with self._lock:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                job = self._waiting.popleft()
                job.state = "running"
            self._tell(job.document())
            try:
                self._work(job)
            except Exception as error:  # no process could be started, or it wrote nonsense
                self._end(job, "failed", JobError("bug", f"the job broke ({type(error).__name__}: {error})"))
            self._tell(job.document())

    def _work(self, job: _Job) -> None:
        environment = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
        with subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C goes to the server, which cancels its jobs itself
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                with self._lock:
                    job.process = process
                    cancelled = job.cancelled
                if cancelled:
                    _stop(process)
                task = {**asdict(job.request), "memory": self._settings.memory, "opening": dict(self._settings.opening)}
                task["folders"] = list(self._settings.folders)
                process.stdin.write(json.dumps(task).encode() + b"\n")
                process.stdin.flush()  # it stays open: the job ends when it is closed
                for line in process.stdout:
                    self._hear(job, json.loads(line))
            except BrokenPipeError:
                pass
            finally:
                with contextlib.suppress(OSError):
                    process.stdin.close()  # which ends it if it has not ended
                _reap(process)
        if job.state not in ENDED:
            if job.cancelled:
                self._end(job, "cancelled")
            else:
                self._end(job, "failed", JobError("bug", _how_it_ended(process.returncode)))

    def _hear(self, job: _Job, message: Mapping[str, Any]) -> None:
        """Take one line from the process of a job."""
        if "progress" in message:
            with self._lock:
                job.progress = JobProgress(**message["progress"])
        elif "report" in message:
            with self._lock:
                if len(job.reports) < MAX_REPORTS:
                    job.reports.append(JobReport(**message["report"]))
            if time.monotonic() - self._told_at < _TELL_S:
                return
        else:
            end = message["end"]
            error = end.get("error")
            self._end(job, end["state"], None if error is None else JobError(**error))
            return  # told when the process is gone, so that the next can take the memory
        self._told_at = time.monotonic()
        self._tell(job.document())

    def _end(self, job: _Job, state: str, error: JobError | None = None) -> None:
        with self._lock:
            job.state, job.error, job.process = state, error, None


def _stop(process: subprocess.Popen[bytes], seconds: float = CANCEL_S) -> None:
    """Interrupt a process, and kill it if it does not end."""
    _signal(process, signal.SIGINT)
    timer = threading.Timer(seconds, _signal, (process, signal.SIGKILL))
    timer.daemon = True
    timer.start()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    if process.poll() is None:
        with contextlib.suppress(OSError):
            process.send_signal(number)


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process to end, and kill it if it does not."""
    try:
        process.wait(CANCEL_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"the process of the job was ended by signal {-code}; what it had finished is kept, post the job again"
    return f"the process of the job ended with code {code}; please report it"
