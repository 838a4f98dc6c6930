"""MCP over streamable HTTP, as one route of the application.

It keeps no sessions: each POST is answered by itself, so clients that come and go leave nothing behind. Host, Origin
and token are checked by the guard for all routes alike. The SDK has a check of names of its own, which would not know
the names that the server is allowed to have, so it is switched off.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from mcp.server.transport_security import TransportSecuritySettings
from starlette.routing import Route

from .server import AgentServer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/mcp"
MAX_BODY = 1 << 20
"""The largest request, in bytes. Arguments are short texts and numbers."""

client: ContextVar[str] = ContextVar("client", default="-")
"""Who asks, for fair turns in the pools."""


class AgentEndpoint:
    """The ASGI application at PATH. It answers while `running` is entered."""

    def __init__(self, server: AgentServer) -> None:
        self._server = server
        self._app: ASGIApp | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer requests in a `with` block; for the lifespan of the application."""
        app = self._server.streamable_http_app(
            streamable_http_path=PATH,
            stateless_http=True,
            max_request_body_size=MAX_BODY,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        async with app.router.lifespan_context(app):
            self._app = app
            try:
                yield
            finally:
                self._app = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._app is not None, "the application answers only within its lifespan"
        client.set(str(scope.get("state", {}).get("client", "-")))
        await self._app({**scope, "path": PATH, "root_path": ""}, receive, send)

    def route(self) -> Route:
        """The route. GET would open a stream that nothing is ever sent on, and DELETE would end a session."""
        return Route(PATH, self, methods=["POST"])
