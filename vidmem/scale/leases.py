"""The leases of a driver, renewed by a thread as long as the driver lives."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Mapping
from typing import Any

from ..closing import Closing
from ..errors import StoreError
from ..fleet.catalogue import Catalogue
from ..fleet.rows import Lease

_log = logging.getLogger(__name__)

SECONDS = 60.0
"""How long a lease holds without being renewed: after that time others take over what a killed driver had."""
_PER_LEASE = 4


class Leases(Closing):
    """Takes leases and renews them.

    Args:
        catalogue: The catalogue.
        seconds: How long a lease holds without being renewed.
    """

    def __init__(self, catalogue: Catalogue, seconds: float = SECONDS) -> None:
        self.owner = f"{socket.gethostname()[:60]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._catalogue, self._seconds = catalogue, seconds
        self._held: dict[str, Lease] = {}
        self._turn = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="vidmem-leases", daemon=True)
        self._thread.start()

    def take(self, key: str, about: Mapping[str, Any]) -> bool:
        """Take the lease of a task. False if it is done, or another has it."""
        lease = self._catalogue.lease(key, self.owner, self._seconds, about)
        if lease is None:
            return False
        with self._turn:
            self._held[key] = lease
        return True

    def fail(self, key: str, error: str) -> None:
        """Note in the catalogue that a task could not be done."""
        if (lease := self._pop(key)) is not None:
            self._catalogue.fail(lease, error)

    def done(self, key: str) -> None:
        """Stop renewing the lease of a task whose shard is in the catalogue."""
        self._pop(key)

    def release(self, key: str) -> None:
        """Give a lease back."""
        if (lease := self._pop(key)) is not None:
            self._catalogue.release(lease)

    def close(self) -> None:
        """Give all leases back, so that others need not wait for their end."""
        self._over.set()
        self._thread.join()
        for key in list(self._held):
            try:
                self.release(key)
            except StoreError as error:
                _log.info("a lease was not given back: %s", error)

    def _pop(self, key: str) -> Lease | None:
        with self._turn:
            return self._held.pop(key, None)

    def _renew(self) -> None:
        while not self._over.wait(self._seconds / _PER_LEASE):
            with self._turn:
                held = list(self._held.values())
            for lease in held:
                try:
                    kept = self._catalogue.renew(lease, self._seconds)
                except StoreError as error:  # the next round may reach it
                    _log.warning("the lease of a task could not be renewed: %s", error)
                    continue
                if not kept:
                    _log.info("another driver took over a task: %s", lease.key)
