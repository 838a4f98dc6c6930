"""Workers as actors of Ray: each has one task at a time. One that dies costs its task only, and gets a successor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import VidmemError, WorkerError
from .cluster import Share
from .worker import WORDS, At, Worker, WorkerFacts

_GROW_S = 10.0
"""Seconds between two looks whether the cluster has grown."""
_ASK_S = 1.0
"""Seconds between two questions of how far a worker is."""
_STILLBORN = 3
"""How many workers in a row may die before they are ready until their successors are made with pauses."""
_LONGEST_S = 30.0


@dataclass(frozen=True, slots=True)
class Job:
    """A method of a worker with its arguments, and what the driver knows it by."""

    method: str
    arguments: tuple[Any, ...]
    tag: Any


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that is done. worker: who did it. result: what the method returned."""

    job: Job
    worker: str
    result: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """A job whose method raised an error."""

    job: Job
    worker: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker that died, with the job that it had, if any. at: how far it was when it last said."""

    job: Job | None
    worker: str
    cause: str
    at: At


@dataclass(frozen=True, slots=True)
class Refused:
    """A worker that cannot take part."""

    cause: str


Event = Finished | Raised | Lost | Refused


class Pool(Protocol):
    """Workers, as the driver sees them."""

    def idle(self) -> int:
        """Number of workers that wait for a job."""
        ...

    def alive(self) -> int:
        """Number of workers that are ready, idle or not."""
        ...

    def starting(self) -> int:
        """Number of workers that are not ready yet, or that will be made."""
        ...

    def start(self, job: Job) -> None:
        """Give a job to an idle worker."""

    def wait(self, seconds: float) -> list[Event]:
        """What happened, as soon as something did, or nothing after so many seconds."""
        ...

    def running(self) -> dict[Any, At]:
        """How far the jobs are that run, by their tags."""
        ...

    def everywhere(self, method: str, *arguments: Any) -> None:
        """Call a method of all workers that are idle, and wait for them; errors do not matter."""


@dataclass(slots=True, eq=False)
class _Slot:
    actor: Any
    hello: Any
    facts: WorkerFacts | None = None
    job: Job | None = None
    result: Any = None
    asked: Any = None
    at: At = field(default_factory=At)


class RayPool:
    """Workers in a cluster of Ray.

    Args:
        ray: The connected module.
        make: The arguments of a Worker.
        target: Gives how many workers there should be now, and what each takes.
        most: Maximum number of workers; None for no limit.
    """

    def __init__(
        self,
        ray: Any,
        make: Callable[[Share], tuple[Any, ...]],
        target: Callable[[], tuple[int, Share]],
        most: int | None = None,
    ) -> None:
        self._ray, self._make, self._target, self._most = ray, make, target, most
        self._slots: list[_Slot] = []
        self._refused = 0
        self._next_growth = 0.0
        self._stillborn = 0
        self._not_before = 0.0
        self._asked_at = 0.0

    def close(self) -> None:
        """End all workers."""
        for slot in self._slots:
            self._end(slot)
        self._slots.clear()

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def idle(self) -> int:
        """See Pool."""
        return sum(slot.facts is not None and slot.job is None for slot in self._slots)

    def alive(self) -> int:
        """See Pool."""
        return sum(slot.facts is not None for slot in self._slots)

    def starting(self) -> int:
        """See Pool."""
        return sum(slot.facts is None for slot in self._slots) + (self._not_before > time.monotonic())

    def start(self, job: Job) -> None:
        """See Pool."""
        slot = next(slot for slot in self._slots if slot.facts is not None and slot.job is None)
        slot.job, slot.at = job, At()
        slot.result = getattr(slot.actor, job.method).remote(*job.arguments)

    def running(self) -> dict[Any, At]:
        """See Pool."""
        return {slot.job.tag: slot.at for slot in self._slots if slot.job is not None}

    def wait(self, seconds: float) -> list[Event]:
        """See Pool."""
        self._grow()
        waiting = {slot.hello if slot.facts is None else slot.result: slot for slot in self._slots if _busy(slot)}
        if not waiting:
            time.sleep(min(seconds, 0.2))
            return []
        done, _ = self._ray.wait(list(waiting), num_returns=1, timeout=seconds)
        if done:  # and all others that are done by now
            done, _ = self._ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
        events = [event for ref in done if (event := self._taken(waiting[ref], ref)) is not None]
        self._ask()
        return events

    def everywhere(self, method: str, *arguments: Any) -> None:
        """See Pool."""
        refs = [
            getattr(slot.actor, method).remote(*arguments)
            for slot in self._slots
            if slot.facts is not None and slot.job is None
        ]
        if refs:
            self._ray.wait(refs, num_returns=len(refs), timeout=10)

    def _grow(self) -> None:
        now = time.monotonic()
        if now < self._next_growth or now < self._not_before:
            return
        self._next_growth = now + _GROW_S
        number, share = self._target()
        wanted = number if self._most is None else min(number, self._most)
        for _ in range(wanted - self._refused - len(self._slots)):
            actor = (
                self._ray.remote(concurrency_groups={WORDS: 1})(Worker)
                .options(
                    num_cpus=share.cpus,
                    num_gpus=share.gpus,
                    max_restarts=0,
                    max_task_retries=0,
                )
                .remote(*self._make(share))
            )
            self._slots.append(_Slot(actor, actor.hello.remote()))

    def _taken(self, slot: _Slot, ref: Any) -> Event | None:
        """What became of a call."""
        try:
            result = self._ray.get(ref)
        except self._ray.exceptions.RayActorError as error:
            return self._lost(slot, error)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(getattr(error, "cause", None), BaseException) else error
            return self._raised(slot, cause)
        except self._ray.exceptions.RayError as error:  # its object is gone with its machine
            return self._lost(slot, error)
        if slot.facts is None:
            slot.facts, self._stillborn = result, 0
            return None
        job, slot.job = slot.job, None
        assert job is not None
        return Finished(job, slot.facts.name, result)

    def _raised(self, slot: _Slot, error: BaseException) -> Event:
        job, slot.job = slot.job, None
        if slot.facts is None or isinstance(error, WorkerError):  # it cannot take part
            self._drop(slot)
            self._refused += 1
            if job is None:
                return Refused(str(error) if isinstance(error, VidmemError) else f"{type(error).__name__}: {error}")
            return Raised(job, "", error)
        assert job is not None
        return Raised(job, slot.facts.name, error)

    def _lost(self, slot: _Slot, error: BaseException) -> Event:
        self._drop(slot)
        if slot.facts is None:
            self._stillborn += 1
            if self._stillborn >= _STILLBORN:
                self._not_before = time.monotonic() + min(2.0 ** (self._stillborn - _STILLBORN), _LONGEST_S)
        self._next_growth = 0.0
        name = "a worker" if slot.facts is None else slot.facts.name
        return Lost(slot.job, name, type(error).__name__, slot.at)

    def _drop(self, slot: _Slot) -> None:
        self._slots.remove(slot)
        self._end(slot)

    def _end(self, slot: _Slot) -> None:
        self._ray.kill(slot.actor, no_restart=True)

    def _ask(self) -> None:
        """Take what workers said of how far they are, and ask those that did."""
        now = time.monotonic()
        if now - self._asked_at < _ASK_S:
            return
        self._asked_at = now
        for slot in self._slots:
            if slot.asked is not None:
                done, _ = self._ray.wait([slot.asked], timeout=0)
                if not done:
                    continue
                try:
                    slot.at = self._ray.get(slot.asked)
                except self._ray.exceptions.RayError:
                    continue  # its call ends with the cause
                finally:
                    slot.asked = None
            if slot.job is not None:
                slot.asked = slot.actor.at.remote()


def _busy(slot: _Slot) -> bool:
    return slot.facts is None or slot.job is not None
