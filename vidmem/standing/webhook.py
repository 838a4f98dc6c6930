"""Events to a web server: a POST of JSON for each."""

from __future__ import annotations

import hashlib
import hmac
import os

from ..errors import DeliveryError, UsageError
from ..http_post import NoReply, host_of, place_of, post, reach
from .event import StandingEvent
from .sink import Sink, Undelivered

SECRET = "VIDMEM_WEBHOOK_SECRET"
"""Environment variable with the secret of the signature."""
TIMEOUT_S = 10.0
"""Time for one attempt in seconds."""
OPEN_TIMEOUT_S = 5.0
"""Time for the connection that is tried at the start, in seconds."""
AGAIN = (408, 425, 429)
"""Answers below 500 after which the event is sent again: the server says that it was too slow, too early, too busy."""
_MAX_BYTES = 1 << 16


class Webhook(Sink):
    """Posts each event as JSON. Redirects are not followed and proxies not used.

    An answer of 2xx is success. 408, 425, 429, 5xx and no answer are tried again, all else is not. The header
    Idempotency-Key has the id of the event. With a secret, X-Vidmem-Signature-256 is "sha256=" and the HMAC of the body
    in hexadecimal, as GitHub signs its webhooks.

    Args:
        url: Such as "http://localhost:8123/api/webhook/keys". Messages show its host alone.
        secret: Of the signature; None for the environment variable VIDMEM_WEBHOOK_SECRET.
        timeout_s: Time for one attempt in seconds.

    Raises:
        UsageError: The URL is of another form.
    """

    def __init__(self, url: str, *, secret: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        try:
            self._place = place_of(url)
        except ValueError:
            raise UsageError(
                f"`webhook` is http://HOST/PATH or https://HOST/PATH, without a user; a secret goes into {SECRET}"
            ) from None
        port = "" if self._place.port is None else f":{self._place.port}"
        host = f"[{self._place.host}]" if ":" in self._place.host else self._place.host
        self.name = f"{'https' if self._place.secure else 'http'}://{host}{port}"
        self._secret = (os.environ.get(SECRET, "") if secret is None else secret).encode()
        self._timeout_s = timeout_s

    def open(self) -> None:
        """Connect once, and post nothing. Raises DeliveryError if the server is not there."""
        try:
            reach(self._place, timeout_s=OPEN_TIMEOUT_S)
        except NoReply as error:
            raise DeliveryError(
                f"the server of `webhook` cannot be reached ({error}); check the URL, and that it runs: {self.name}"
            ) from None

    def send(self, event: StandingEvent) -> None:
        """Post the event."""
        body = event.to_json().encode()
        headers = {"Content-Type": "application/json", "User-Agent": "vidmem", "Idempotency-Key": event.id}
        if self._secret:
            headers["X-Vidmem-Signature-256"] = "sha256=" + hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        try:
            reply = post(self._place, body, headers, timeout_s=self._timeout_s, max_bytes=_MAX_BYTES)
        except NoReply as error:
            if error.long:
                raise Undelivered(str(error), again=False) from None
            raise Undelivered(str(error), again=True) from None
        if 200 <= reply.status < 300:
            return
        if 300 <= reply.status < 400:
            to = (host_of(reply.location) or "another path")[:80]
            raise Undelivered(f"it redirects to {to}, which is not followed; give that address", again=False)
        raise Undelivered(f"it answers {reply.status}", again=reply.status in AGAIN or reply.status >= 500)
