"""Errors as the API tells them: a status, a kind, and one line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..address import shown
from ..errors import LockedError, MediaError, ModelError, StoreError, UnknownWordError, UsageError, VidmemError
from ..media.known import OtherFileError

NAMES = {"image": "picture", "sources": "source"}
"""Parameters of the API by the names of the arguments of `Memory`, where these differ."""


class NotFoundError(VidmemError):
    """There is nothing with this id."""


class TooLargeError(VidmemError):
    """More was asked for, or sent, than one answer or request may have."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as the API tells it. near: similar names, for an unknown word. headers: further headers."""

    status: int
    kind: str
    message: str
    near: tuple[str, ...] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """The body of the answer."""
        near = {} if self.near is None else {"near": list(self.near)}
        return {"error": {"kind": self.kind, "message": self.message, **near}}


class ForbiddenError(VidmemError):
    """The server was started without the right to do this."""


class BusyError(VidmemError):
    """There is no place for a call now. retry_s: when to try again, in s. limited: this client asks too much."""

    def __init__(self, message: str, retry_s: int, *, limited: bool = False) -> None:
        super().__init__(message)
        self.retry_s, self.limited = retry_s, limited


_KINDS: tuple[tuple[type[VidmemError], int, str], ...] = (
    (NotFoundError, 404, "not_found"),
    (TooLargeError, 413, "too_large"),
    (ForbiddenError, 403, "forbidden"),
    (UnknownWordError, 400, "unknown_word"),
    (UsageError, 400, "usage"),
    (OtherFileError, 409, "media"),
    (MediaError, 415, "media"),
    (ModelError, 503, "model"),
    (LockedError, 409, "locked"),
    (StoreError, 503, "store"),
)
"""Status and kind by the class of the error, the first that fits."""


def fault_of(error: VidmemError) -> Fault:
    """The fault that an error is told as. Arguments in backquotes get the names of the API's parameters."""
    if isinstance(error, BusyError):
        return Fault(429 if error.limited else 503, "busy", str(error), headers={"retry-after": str(error.retry_s)})
    status, kind = next(((status, kind) for cls, status, kind in _KINDS if isinstance(error, cls)), (500, "bug"))
    message = re.sub(r"`(\w+)`", lambda match: f"`{NAMES.get(match[1], match[1])}`", shown(str(error)))
    return Fault(status, kind, message, error.near if isinstance(error, UnknownWordError) else None)
