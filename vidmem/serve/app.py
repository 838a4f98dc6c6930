"""The application: everything that the server answers, in one list, and what requests pass on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from .agents.desk import Desk
from .agents.http import AgentEndpoint, client
from .agents.server import build as agent_server
from .agents.writing import writing_tools
from .api.jobs import events_route
from .api.openapi import openapi_route
from .api.route import mounted, refused
from .api.table import ROUTES
from .faults import Fault
from .page_files import page_routes
from .service import Service
from .settings import Settings

if TYPE_CHECKING:
    from ..memory import Memory

T = TypeVar("T")


def build(memory: Memory, settings: Settings | None = None) -> Starlette:
    """The application that answers for a memory.

    Args:
        memory: Opened with `read_only`. The caller closes it after the server has stopped.
        settings: What the server was started with.
    """
    service = Service(memory, settings or Settings())
    desk = _desk(service)
    writing = writing_tools(desk, service.jobs, service.folders) if service.settings.allow_write else ()
    agents = AgentEndpoint(agent_server(desk, writing))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            async with agents.running():
                yield
        finally:
            service.close()

    routes: list[BaseRoute] = [
        *page_routes(),
        *(mounted(route, service) for route in ROUTES),
        events_route(service),
        openapi_route(),
        agents.route(),
    ]
    middleware: list[Middleware] = []

    app = Starlette(
        routes=routes, middleware=middleware, exception_handlers={HTTPException: _no_route}, lifespan=lifespan
    )
    app.router.redirect_slashes = False  # an address is right or wrong
    app.state.service = service
    return app


def _desk(service: Service) -> Desk:
    """What agents ask with: the memory, and the threads that all requests share."""

    async def ask(work: Callable[[], T]) -> T:
        return await service.run("questions", client.get(), work)

    async def draw(work: Callable[[], T]) -> T:
        return await service.run("pictures", client.get(), work)

    async def survey(work: Callable[[], T]) -> T:
        return await service.run("lists", client.get(), work)

    async def cut(work: Callable[[], T]) -> T:
        return await service.run("clips", client.get(), work)

    return Desk(service.memory, ask, draw, survey, cut)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        fault = Fault(
            405, "usage", f"this address is not asked with {request.method}", headers=dict(error.headers or {})
        )
    else:
        fault = Fault(error.status_code, "not_found", "there is nothing at this address")
    return refused(fault)
