"""What the tools share: the memory, and where their blocking work runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import anyio.to_thread

from ...memory import Memory
from ...store import Store

T = TypeVar("T")


class Runner(Protocol):
    """Runs blocking work off the event loop."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


async def in_a_thread(work: Callable[[], T], /) -> T:
    """Run the work in one of anyio's threads."""
    return await anyio.to_thread.run_sync(work)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the tools work with.

    memory: opened with `read_only`. ask: runs questions. draw: runs what decodes pictures. survey: runs what reads the
    whole memory, which may take seconds. cut: runs what makes clips, which may take a minute.
    """

    memory: Memory
    ask: Runner = in_a_thread
    draw: Runner = in_a_thread
    survey: Runner = in_a_thread
    cut: Runner = in_a_thread

    @property
    def store(self) -> Store:
        """The files of the memory."""
        return self.memory.store
