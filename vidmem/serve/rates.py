"""How often a client may start what costs much: clips, uploads, jobs."""

from __future__ import annotations

import math
import time
from collections import OrderedDict

from .faults import BusyError

_CLIENTS = 1024


class Rate:
    """A bucket of calls for each client, and a larger one for all of them together (token buckets).

    Attributes:
        per_minute: Calls of one client that are refilled in a minute.
        burst: Calls of one client at once.
        share: How many clients at full rate the bucket for all of them holds.
    """

    def __init__(self, what: str, per_minute: float, burst: int, share: int = 4) -> None:
        self._what = what
        self.per_minute, self.burst, self.share = per_minute, burst, share
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._all = (float(burst * share), time.monotonic())

    def take(self, client: str) -> None:
        """Count one call. Raises BusyError for a client that makes too many, and for all if there are too many."""
        now = time.monotonic()
        mine = self._filled(self._clients.get(client, (float(self.burst), now)), now, 1)
        everyone = self._filled(self._all, now, self.share)
        for left, share in ((mine, 1), (everyone, self.share)):
            if left < 1:
                wait = math.ceil((1 - left) * 60 / (self.per_minute * share))
                raise BusyError(f"there were too many {self._what}; wait {wait} s", wait, limited=True)
        self._clients[client] = mine - 1, now
        self._clients.move_to_end(client)
        self._all = everyone - 1, now
        while len(self._clients) > _CLIENTS:
            self._clients.popitem(last=False)

    def _filled(self, bucket: tuple[float, float], now: float, share: int) -> float:
        left, since = bucket
        return min(float(self.burst * share), left + (now - since) * self.per_minute * share / 60)
