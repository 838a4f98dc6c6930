"""The page that asks for the token, and the check of what clients show: a cookie, or `Authorization: Bearer`.

The address that the server prints holds the token after a #. Browsers do not send that part, so it is in no log and no
Referer. A script of the page puts it into the form and takes it out of the address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from .bodies import Bodies
from .refusals import Refusal
from .tokens import Logins

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_MAX_FORM = 4 << 10
_DELAY_S = 0.5
"""Seconds after which a wrong token is answered."""
_DELAYED = 32
"""Wrong tokens that wait for their answer at the same time; more get it at once."""
_FILES = {
    "/login": ("login.html", "text/html; charset=utf-8"),
    "/login.js": ("login.js", "text/javascript; charset=utf-8"),
    "/login.css": ("login.css", "text/css; charset=utf-8"),
}
_PUBLIC = ("/login", "/login.js", "/login.css", "/logout")


class Login:
    """The login of a server with a token. port: part of the cookie's name, since all ports of a host share cookies."""

    def __init__(self, token: str, port: int) -> None:
        self._logins = Logins(token)
        self._bodies = Bodies()
        self._cookie = f"vidmem_{port}"
        self._delayed = 0

    def takes(self, path: str) -> bool:
        """Return True for the paths that need no token."""
        return path in _PUBLIC

    async def answer(
        self, scope: Scope, receive: Receive, send: Send, headers: Mapping[bytes, bytes], address: str, *, secure: bool
    ) -> None:
        """Answer a request to one of those paths.

        Args:
            scope, receive, send: Of ASGI.
            headers: Of the request, by name.
            address: Of the client.
            secure: The browser speaks https to a proxy.

        Raises:
            Refusal: a wrong token, too many of them, or a wrong method.
        """
        method, path = scope["method"], scope["path"]
        if method == "POST" and path == "/login":
            body = await self._bodies.read(headers, receive, _MAX_FORM)
            await self._try(_token_of(body), address)
            await _redirect(send, "/", self._set_cookie(self._logins.start(), secure=secure))
        elif method == "POST" and path == "/logout":
            await self._bodies.read(headers, receive, 0)
            for session in self._sessions(headers):
                self._logins.end(session)
            await _redirect(send, "/login", self._set_cookie("", secure=secure))
        elif method in ("GET", "HEAD") and path in _FILES:
            name, kind = _FILES[path]
            body = (files("vidmem.serve") / "page" / name).read_bytes()
            await _send(send, 200, [(b"content-type", kind.encode()), (b"cache-control", b"no-cache")], body)
        else:
            allowed = "POST" if path == "/logout" else "GET, HEAD, POST" if path == "/login" else "GET, HEAD"
            raise Refusal(405, "usage", f"this address is asked with {allowed}", {"allow": allowed})

    def check(self, headers: Mapping[bytes, bytes], address: str, path: str) -> str:
        """Check the cookie or the token of a request; return the number of its session, "" for a token.

        Raises:
            Refusal: neither is right. For the page itself it leads to the login.
        """
        for session in self._sessions(headers):
            if self._logins.knows(session):
                return session
        scheme, _, given = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if given and scheme.lower() == "bearer":
            self._refuse_blocked(address)
            if self._logins.is_token(given.strip(), address):
                return ""
        if path == "/":
            raise Refusal(303, "forbidden", "log in first", {"location": "/login"})
        message = "show the token that the server printed: log in at /login, or send Authorization: Bearer TOKEN"
        raise Refusal(401, "forbidden", message, {"www-authenticate": 'Bearer realm="vidmem"'})

    async def _try(self, token: str, address: str) -> None:
        """Raise Refusal for a wrong token, a little later than for a right one."""
        self._refuse_blocked(address)
        if self._logins.is_token(token, address):
            return
        if self._delayed < _DELAYED:
            self._delayed += 1
            try:
                await asyncio.sleep(_DELAY_S)
            finally:
                self._delayed -= 1
        raise Refusal(403, "forbidden", "this is not the token that the server printed when it was started")

    def _refuse_blocked(self, address: str) -> None:
        if wait := self._logins.blocked_s(address):
            raise Refusal(429, "busy", f"too many wrong tokens; wait {wait} s", {"retry-after": str(wait)})

    def _sessions(self, headers: Mapping[bytes, bytes]) -> list[str]:
        """All values of the cookie: others on this host may have set any number of the same name."""
        pairs = (part.strip().partition("=") for part in headers.get(b"cookie", b"").decode("latin-1").split(";"))
        return [value for name, _, value in pairs if name == self._cookie]

    def _set_cookie(self, session: str, *, secure: bool) -> str:
        end = "" if session else "; Max-Age=0"
        return f"{self._cookie}={session}; Path=/; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}{end}"


def _token_of(form: bytes) -> str:
    try:
        return dict(parse_qsl(form.decode("ascii"), max_num_fields=4)).get("token", "")
    except ValueError:
        return ""


async def _redirect(send: Send, where: str, cookie: str) -> None:
    await _send(send, 303, [(b"location", where.encode()), (b"set-cookie", cookie.encode())], b"")


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
