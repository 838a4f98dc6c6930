"""A careful POST: what is sent goes to one host alone, and the whole exchange ends in time.

Redirects are not followed and proxies not used. The timer ends the TLS handshake and a reply that comes byte by byte,
too, which the timeout of a socket does not.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Place:
    """Where to post. path: with the query, if there is one."""

    secure: bool
    host: str
    port: int | None
    path: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answers. location: the target of a redirect, "" without one."""

    status: int
    body: bytes
    location: str


class NoReply(Exception):
    """There is no answer. late: the time was over. long: the answer is longer than what is read."""

    def __init__(self, reason: str, *, late: bool = False, long: bool = False) -> None:
        super().__init__(reason)
        self.late, self.long = late, long


def place_of(url: str) -> Place:
    """The place that an http or https URL names. Raises ValueError for any other text, or one with a user in it."""
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port
    if not host or parts.scheme not in ("http", "https") or parts.username is not None or parts.password is not None:
        raise ValueError("not http://HOST/PATH or https://HOST/PATH")
    if not (url.isascii() and url.isprintable() and " " not in url):
        raise ValueError("a character that no URL has")
    path = parts.path or "/"
    return Place(parts.scheme == "https", host, port, f"{path}?{parts.query}" if parts.query else path)


def post(place: Place, body: bytes, headers: Mapping[str, str], *, timeout_s: float, max_bytes: int) -> Reply:
    """Post `body` and return the reply, whatever its status.

    Args:
        place: Where to.
        body: What to send.
        headers: Of the request.
        timeout_s: Time for the whole exchange in seconds, but for finding the address of the host.
        max_bytes: Longest reply that is read.

    Raises:
        NoReply: no connection, no HTTP, a reply that is too long, or none in time.
    """
    expired = threading.Event()
    kind = http.client.HTTPSConnection if place.secure else http.client.HTTPConnection
    sockets: list[socket.socket] = []  # a connection forgets its own while the reply is read
    connection: http.client.HTTPConnection | None = None
    deadline = time.monotonic() + timeout_s
    watch = threading.Timer(timeout_s, _interrupt, (sockets, expired))
    watch.daemon = True
    watch.start()
    try:
        connection = kind(place.host, place.port, timeout=timeout_s)
        _connect(connection, place, sockets, deadline)
        if expired.is_set():
            raise TimeoutError
        connection.request("POST", place.path, body, dict(headers))
        response = connection.getresponse()
        content = response.read(max_bytes + 1)
        reply = Reply(response.status, content, response.getheader("Location", ""))
    except (OSError, http.client.HTTPException, ValueError) as error:
        if expired.is_set() or isinstance(error, TimeoutError):
            raise NoReply(f"no answer within {timeout_s:g} s", late=True) from None
        raise NoReply(why(error)) from None
    finally:
        watch.cancel()
        if connection is not None:
            connection.close()
    if expired.is_set():  # what was read may be half an answer
        raise NoReply(f"no answer within {timeout_s:g} s", late=True)
    if len(content) > max_bytes:
        raise NoReply(f"an answer of more than {max_bytes:,} bytes", long=True)
    return reply


def reach(place: Place, *, timeout_s: float) -> None:
    """Connect, with the TLS handshake, and hang up. Raises NoReply if that fails."""
    connection = http.client.HTTPConnection(place.host, place.port or (443 if place.secure else 80))
    try:
        _connect(connection, place, [], time.monotonic() + timeout_s)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, TimeoutError):
            raise NoReply(f"no answer within {timeout_s:g} s", late=True) from None
        raise NoReply(why(error)) from None
    finally:
        connection.close()


def why(error: BaseException) -> str:
    """Why there is no connection, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"TLS: {error.reason.replace('_', ' ').lower()}"
    return getattr(error, "strerror", None) or type(error).__name__


def host_of(location: str) -> str:
    """The host to which a redirect leads; "" if it names none, or is no address."""
    try:
        return urlsplit(location).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _connect(
    connection: http.client.HTTPConnection, place: Place, sockets: list[socket.socket], deadline: float
) -> None:
    """Connect, with the socket in `sockets` before its TLS handshake, so that the timer can end that, too."""
    sock = socket.create_connection((connection.host, connection.port), _left(deadline))
    if place.secure:
        context = ssl.create_default_context()
        secure = context.wrap_socket(sock, server_hostname=place.host, do_handshake_on_connect=False)
        connection.sock = secure
        sockets.append(secure)
        secure.settimeout(_left(deadline))
        secure.do_handshake()
    else:
        connection.sock = sock
        sockets.append(sock)
    connection.sock.settimeout(_left(deadline))


def _left(deadline: float) -> float:
    """Seconds until then. Raises TimeoutError if it is over."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _interrupt(sockets: list[socket.socket], expired: threading.Event) -> None:
    """End what a connection is waiting for: its own timeout starts anew with every byte that comes."""
    expired.set()
    for sock in sockets:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
