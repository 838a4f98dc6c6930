"""Every error that vidmem raises on purpose. A message names the cause, then the remedy, and the path last.

The exit code of the command line depends on the class, so that code and message agree.
"""

from __future__ import annotations

from collections.abc import Sequence


class VidmemError(Exception):
    """Base class. `exit_code` is what the command line returns for the error."""

    exit_code = 4


class UsageError(VidmemError):
    """The request is wrong: a malformed time, box, option or query."""

    exit_code = 2


class UnknownWordError(UsageError):
    """An encoder with a closed vocabulary does not know a word. word: as it was given. near: similar names."""

    def __init__(self, word: str, near: Sequence[str] = (), cause: str = "") -> None:
        self.word, self.near, self.cause = word, tuple(near), cause
        remedy = f"near: {', '.join(near)}" if near else "`vidmem names` lists what I know"
        message = cause or f"I don't know the word {word[:40]!r}"
        super().__init__(f"{message}; {remedy}")

    def __reduce__(self) -> tuple[object, ...]:  # for pickle: __init__ does not take the message
        return type(self), (self.word, self.near, self.cause)


class MediaError(VidmemError):
    """A source cannot be opened or has no pictures."""


class ModelError(VidmemError):
    """An encoder is unknown, or its weights are missing, damaged or of the wrong shape."""


class DeliveryError(VidmemError):
    """A receiver of events cannot be reached, or refuses them."""


class WorkerError(VidmemError):
    """A worker, or its cluster, cannot be reached or cannot take part."""


class StoreError(VidmemError):
    """A memory cannot be read or written: damaged, read-only, disk full."""


class ModelMismatchError(StoreError):
    """A memory was made by another encoder, other weights or other thresholds."""


class VersionError(StoreError):
    """A memory was made by a newer vidmem."""


class LockedError(StoreError):
    """Another process is writing to the memory."""
