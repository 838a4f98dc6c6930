"""The guard: everything that a request has to pass before the application sees it, and that an answer gets on its way.

Pure ASGI, around all routes: the page, its files, the API, events and MCP. In this order: sizes, the path, the name of
the server, the origin, the token, the method, the rate, the body.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .bodies import Bodies, ClientGoneError
from .faults import BusyError
from .headers import guarded
from .login import Login
from .names import ServerNames, is_loopback
from .rates import Rate
from .refusals import Refusal, body_of, refusal_of
from .rules import check_kind, check_path, check_size, is_expensive, rule_for

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger(__name__)

PAGES = ("/", "/login")
"""Pages that a link of another site may open. They hold no data."""
_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via")

Logged = Callable[[str, str, str, str, int, float], None]
"""Takes the client, method, path, query, status, and the seconds it took."""


def rates() -> dict[str, Rate]:
    """How often one client may start what costs much, by the names in `rules`."""
    return {"clips": Rate("clips", 30, 10), "uploads": Rate("uploads", 60, 20), "jobs": Rate("jobs", 30, 10)}


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """What the guard knows.

    Attributes:
        names: What the server answers to.
        token: What clients have to show; None if they need none. A server that others reach has one.
        log: Called for each request when it is answered.
    """

    names: ServerNames
    token: str | None = None
    log: Logged | None = None
    rates: Mapping[str, Rate] = field(default_factory=rates)
    bodies: Bodies = field(default_factory=Bodies)

    def __post_init__(self) -> None:
        if self.token is None and not self.names.local:
            raise ValueError("a server that others reach needs a token")


class Guard:
    """ASGI middleware around the whole application.

    Handlers find in `request.state.client` who asks, for `Pool.run`. When a client goes away before its answer is
    complete, its handler is cancelled.
    """

    def __init__(self, app: ASGIApp, settings: GuardSettings) -> None:
        self._app, self._settings = app, settings
        self._login = None if settings.token is None else Login(settings.token, settings.names.port)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # WebSockets are not spoken
            await send({"type": "websocket.close", "code": 1008})
            return
        began = time.monotonic()
        answer = _Answer(send)
        try:
            await self._answer(scope, receive, answer)
        except ClientGoneError:
            pass
        except Refusal as refusal:
            await answer.refuse(refusal)
        except BusyError as error:
            await answer.refuse(refusal_of(error))
        except Exception:
            _log.exception("a request failed for a cause that nothing foresaw; please report it")
            if answer.started:
                raise  # the connection is closed, so that the client does not take half an answer for a whole one
            await answer.refuse(Refusal(500, "bug", "this is a fault of vidmem; the log of the server says more"))
        finally:
            if self._settings.log is not None:
                raw = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
                query = scope["query_string"].decode("latin-1")
                self._settings.log(
                    _address(scope), scope["method"], raw.decode("latin-1"), query, answer.status,
                    time.monotonic() - began,
                )  # fmt: skip

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        method, path = scope["method"], scope["path"]
        headers = _single(scope["headers"])
        check_size(len(scope.get("raw_path") or path) + len(scope["query_string"]), scope["headers"])
        if b"transfer-encoding" in headers and b"content-length" in headers:  # a proxy may end it elsewhere than we
            raise Refusal(400, "usage", "a body has a length or comes in chunks, not both", {"connection": "close"})
        check_path(path)
        origin = self._check_origin(scope, headers, method, path)
        if self._login is not None and self._login.takes(path):
            await self._login.answer(scope, receive, answer, headers, _address(scope), secure=origin == "https")
            return
        session = None if self._login is None else self._login.check(headers, _address(scope), path)
        client = scope.setdefault("state", {})["client"] = _client(scope, headers, session)
        rule = rule_for(method, path)
        if is_expensive(rule, method):
            self._settings.rates[rule.cost].take(client)
        if method == "POST":
            check_kind(headers)
        body = await self._settings.bodies.read(headers, receive, rule.body if method == "POST" else 0)
        await _run(self._app, scope, receive, answer, body)

    def _check_origin(self, scope: Scope, headers: Mapping[bytes, bytes], method: str, path: str) -> str:
        """Check Host, Origin and what a browser says of the page that asks. Return the scheme of the own origin."""
        if b"host" not in headers:
            raise Refusal(400, "usage", "a request has one header Host")
        server = scope.get("server") or (None,)
        host = headers[b"host"].decode("latin-1")
        own = self._settings.names.origin(host, server[0])
        if own is None:
            message = (
                "the server does not answer to this name; if it is yours, start it with the name as an allowed host"
            )
            raise Refusal(403, "forbidden", message)
        if self._settings.token is None and any(name in headers for name in _FORWARDED):
            message = (
                "a proxy passes this on; start the server with the name of the proxy as an allowed host, and a token"
            )
            raise Refusal(403, "forbidden", message)
        site = headers.get(b"sec-fetch-site", b"").lower()
        given = headers.get(b"origin")
        if given is not None:
            # A form of a page without referrer sends null; only browsers write Sec-Fetch-Site, no page can.
            if given.decode("latin-1").lower() != str(own) and (given, site) != (b"null", b"same-origin"):
                raise _foreign()
        elif method not in ("GET", "HEAD") and any(name.startswith(b"sec-fetch-") for name in headers):
            raise _foreign()  # browsers send Origin with all of these
        if site not in (b"", b"same-origin", b"none") and not _is_link(headers, method, path):
            raise _foreign()
        return own.scheme


def _foreign() -> Refusal:
    return Refusal(403, "forbidden", "only the server's own page may ask")


def _is_link(headers: Mapping[bytes, bytes], method: str, path: str) -> bool:
    """Return True if a link on another page opens one of PAGES in a tab of its own."""
    navigates = headers.get(b"sec-fetch-mode") == b"navigate" and headers.get(b"sec-fetch-dest") == b"document"
    return navigates and method in ("GET", "HEAD") and path in PAGES


def _single(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name. Raises Refusal if one that decides something is doubled, as each reader may take another."""
    out: dict[bytes, bytes] = {}
    for name, value in headers:
        lower = name.lower()
        if lower in out and lower in _ONCE:
            raise Refusal(400, "usage", f"the header {lower.decode('latin-1').title()} stands in the request twice")
        out[lower] = out[lower] + b"; " + value if lower == b"cookie" and lower in out else value
    return out


_ONCE = frozenset(
    {b"host", b"origin", b"content-length", b"content-type", b"transfer-encoding", b"authorization", b"range"}
    | {b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"}
)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "-"


def _client(scope: Scope, headers: Mapping[bytes, bytes], session: str | None) -> str:
    """Who asks, for fair turns. On this machine all come from one address, so programs count one by one."""
    address = _address(scope)
    if session:
        return f"{address} {session[:16]}"
    agent = headers.get(b"user-agent", b"")[:200].decode("latin-1") if is_loopback(address) else ""
    return f"{address} {agent}"


class _Answer:
    """`send` of ASGI with the headers of the guard, which remembers how far the answer is."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status, self.started, self.complete = 0, False, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            message = {**message, "headers": guarded(message.get("headers", ()))}
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self.complete = True
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with an error; nothing if an answer has begun."""
        if self.started:
            return
        fault = refusal.fault
        body = body_of(fault)
        headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in fault.headers.items()]
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


async def _run(app: ASGIApp, scope: Scope, receive: Receive, answer: _Answer, body: bytes) -> None:
    """Run the application on a request that was read; cancel it when the client goes away."""
    gone = asyncio.Event()
    given = False

    async def read() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def send(message: Message) -> None:
        await answer(message)

    working = asyncio.ensure_future(_call(app, scope, read, send))
    watching = asyncio.ensure_future(watch())
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        gone.set()
        if not working.done() and not answer.complete:
            working.cancel()
        await asyncio.wait((working,))
        if working.cancelled():
            raise ClientGoneError
        working.result()
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _call(app: ASGIApp, scope: Any, read: Receive, send: Send) -> None:
    await app(scope, read, send)
