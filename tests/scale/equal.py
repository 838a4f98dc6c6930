"""Compare what memories have of a source, bit for bit; and workers without Ray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.fleet_index import rows_of
from vidmem import Memory, __version__
from vidmem.config import IndexConfig, preset
from vidmem.encoders import load
from vidmem.scale.pool import Event, Finished, Job, Raised
from vidmem.scale.settings import Settings
from vidmem.scale.worker import At, Worker

Rows = dict[str, dict[str, list[Any]]]


def single(folder: Path, *paths: Path, encoder: str = "colours", **options: Any) -> Rows:
    """What one process makes of sources."""
    with Memory.open(folder, encoder=encoder) as memory:
        memory.index(*paths, on_source=lambda name, opened: None, **options)
        memory.store.compact()  # as sealing does, which joins the regions of short checkpoints
    return rows_of(folder / "memory.sqlite")


def settings(encoder: str = "colours", config: IndexConfig | None = None, **more: Any) -> Settings:
    info = load(encoder).info
    facts = (info.name, info.weights, info.regions, info.visual_dim, info.text_dim)
    return Settings(encoder, *facts, config or preset("default"), version=__version__, **more)


class InlinePool:
    """One worker in this process. plan: called with each job before it is done; what it returns happens instead."""

    def __init__(self, worker: Worker, plan: Callable[[Job], Event | None] = lambda job: None) -> None:
        self.worker, self.plan = worker, plan
        self.jobs: list[Job] = []
        self.done: list[str] = []
        self.refused = False

    def idle(self) -> int:
        return int(not self.jobs and not self.refused)

    def alive(self) -> int:
        return int(not self.refused)

    def starting(self) -> int:
        return 0

    def start(self, job: Job) -> None:
        self.jobs.append(job)

    def running(self) -> dict[Any, At]:
        return {job.tag: At("x", 1, 1) for job in self.jobs}

    def everywhere(self, method: str, *arguments: Any) -> None:
        getattr(self.worker, method)(*arguments)

    def wait(self, seconds: float) -> list[Event]:
        if not self.jobs:
            return []
        job = self.jobs.pop()
        self.done.append(job.method)
        if (event := self.plan(job)) is not None:
            return [event]
        try:
            return [Finished(job, "here:1", getattr(self.worker, job.method)(*job.arguments))]
        except Exception as error:
            return [Raised(job, "here:1", error)]
