"""Requests that are refused: their status, the kind of error, and one line that says why."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..errors import VidmemError


class Refusal(Exception):
    """Ends a request with an error.

    Attributes:
        status: The status of HTTP.
        kind: The kind of the error, as in all errors of the API.
        message: One line.
        headers: Further headers.
    """

    def __init__(self, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The error as JSON."""
        return json.dumps({"error": {"kind": self.kind, "message": self.message}}).encode()


class ForbiddenError(VidmemError):
    """The server was started without the right to do this."""


class BusyError(VidmemError):
    """There is no place for a call now. retry_s: when to try again, in s. limited: this client asks too much."""

    def __init__(self, message: str, retry_s: int, *, limited: bool = False) -> None:
        super().__init__(message)
        self.retry_s, self.limited = retry_s, limited

    @property
    def status(self) -> int:
        """The status of HTTP: 429 for a client that asks too much, else 503."""
        return 429 if self.limited else 503

    def refusal(self) -> Refusal:
        """The answer to the request."""
        return Refusal(self.status, "busy", str(self), {"retry-after": str(self.retry_s)})
