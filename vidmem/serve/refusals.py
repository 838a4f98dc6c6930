"""Requests that are refused before the application sees them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from .faults import BusyError, Fault, fault_of


class Refusal(Exception):
    """Ends a request with an error, as the API tells it.

    Attributes:
        fault: What is told.
    """

    def __init__(self, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.fault = Fault(status, kind, message, headers=dict(headers or {}))

    @property
    def status(self) -> int:
        """The status of HTTP."""
        return self.fault.status


def body_of(fault: Fault) -> bytes:
    """The error as JSON."""
    return json.dumps(fault.document()).encode()


def refusal_of(error: BusyError) -> Refusal:
    """The refusal of a client that finds no place."""
    fault = fault_of(error)
    return Refusal(fault.status, fault.kind, fault.message, fault.headers)
