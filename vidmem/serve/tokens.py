"""Who may ask: a token that is known to the owner, and the sessions of browsers that have shown it.

The token is compared in constant time. A browser shows it once and gets a cookie with a random number that the server
made; the token itself is never stored in a browser.
"""

from __future__ import annotations

import hmac
import os
import secrets
import time
from collections import OrderedDict

from ..errors import UsageError

VARIABLE = "VIDMEM_SERVE_TOKEN"
"""Environment variable with the token."""
LEAST = 16
"""Minimum number of characters of a token that a user chose."""
_LONGEST = 200

MAX_SESSIONS = 64
"""Browsers that are logged in at the same time; the one that was not used for longest is logged out."""
MAX_TRIES, WINDOW_S = 5, 60.0
"""Wrong tokens that are looked at within so many seconds from one address. After that none is looked at."""
_ADDRESSES = 1024


def given_token() -> str | None:
    """The token of the environment; None without one. Raises UsageError for one that is too short or odd."""
    token = os.environ.get(VARIABLE, "")
    if not token:
        return None
    if not (LEAST <= len(token) <= _LONGEST and token.isascii() and token.isprintable() and " " not in token):
        raise UsageError(f"the environment variable {VARIABLE} has {LEAST} to {_LONGEST} letters, digits or signs")
    return token


def new_token() -> str:
    """A token of 192 random bits."""
    return secrets.token_urlsafe(24)


class Logins:
    """The token, the sessions, and the tries that failed. Kept in memory, so a restart logs everyone out."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._sessions: OrderedDict[str, None] = OrderedDict()
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def blocked_s(self, address: str) -> int:
        """Seconds for which no token from this address is looked at; 0 if the next one is."""
        tries = self._recent(address)
        return 0 if len(tries) < MAX_TRIES else max(1, round(tries[0] + WINDOW_S - time.monotonic()))

    def is_token(self, given: str, address: str) -> bool:
        """Return True for the token. A wrong one counts against the address; see `blocked_s`, which comes first."""
        if hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token):
            return True
        tries = self._recent(address)
        tries.append(time.monotonic())
        self._failed[address] = tries
        self._failed.move_to_end(address)
        while len(self._failed) > _ADDRESSES:
            self._failed.popitem(last=False)
        return False

    def start(self) -> str:
        """Begin a session; return its number, new and random whatever cookie the browser sent."""
        session = secrets.token_urlsafe(32)
        self._sessions[session] = None
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def knows(self, session: str) -> bool:
        """Return True for a session that `start` began and `end` did not end."""
        # A number of 256 random bits is not found by timing a lookup of its hash.
        if session not in self._sessions:
            return False
        self._sessions.move_to_end(session)
        return True

    def end(self, session: str) -> None:
        """End a session; others are ignored."""
        self._sessions.pop(session, None)

    def _recent(self, address: str) -> list[float]:
        now = time.monotonic()
        return [t for t in self._failed.get(address, ()) if now - t < WINDOW_S]
