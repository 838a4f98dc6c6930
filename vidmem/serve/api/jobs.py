"""Jobs and events over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route as StarletteRoute
from starlette.types import Receive, Scope, Send

from ...errors import UsageError, VidmemError
from ...text_files import parse_json
from ..faults import fault_of
from ..job_documents import JobDocument, JobsDocument
from .route import BASE, refused

if TYPE_CHECKING:
    from ..events import Events, Listener
    from ..service import Service
    from .route import Given

REQUEST: Mapping[str, object] = {
    "type": "object",
    "required": ["action"],
    "additionalProperties": False,
    "properties": {
        "action": {"enum": ["index", "forget"]},
        "paths": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Index these files and folders, absolute or from one of the server's folders down.",
        },
        "sources": {
            "type": "array",
            "items": {"type": "integer"},
            "description": "Index these again, or forget them. Ids of sources.",
        },
        "before": {"type": "string", "description": "Forget only what was seen before this time, such as 30d."},
        "thing": {"type": "string", "description": "Forget this thing in words, for all times."},
        "dry_run": {"type": "boolean", "description": "Only report what would be forgotten."},
    },
}
"""JSON schema of a request for a job."""
_STREAM = {"cache-control": "no-store", "x-accel-buffering": "no"}


def jobs(service: Service, given: Given) -> JobsDocument:
    """All jobs that are remembered."""
    return JobsDocument(service.jobs.all())


def job(service: Service, given: Given) -> JobDocument:
    """One job."""
    return service.jobs.get(given["job"])


def post(service: Service, given: Given) -> JobDocument:
    """Take a job."""
    try:
        document = parse_json(given["body"])
    except ValueError as error:
        raise UsageError(f"the body is not JSON ({str(error)[:80]})") from None
    return service.jobs.post(document, service.source)


def cancel(service: Service, given: Given) -> JobDocument:
    """Cancel a job."""
    return service.jobs.cancel(given["job"])


class EventStream(StreamingResponse):
    """The stream of events to one listener. However it ends, the listener is gone then."""

    def __init__(self, events: Events, listener: Listener) -> None:
        super().__init__(events.stream(listener), 200, _STREAM, "text/event-stream")
        self._events, self._listener = events, listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._events.leave(self._listener)


def events_route(service: Service) -> StarletteRoute:
    """The route of the events: changes of jobs and of the memory."""

    def now() -> Iterable[tuple[str, Mapping[str, Any]]]:
        generation = service.watch.generation()
        if generation is not None:
            yield "memory", {"generation": generation}
        for one in reversed(service.jobs.all()):
            yield "job", asdict(one)

    async def endpoint(request: Request) -> Response:
        if request.method == "HEAD":
            return Response(None, 200, _STREAM, "text/event-stream")
        try:
            service.events.check_room()
            state = await service.run("questions", service.client(request), lambda: list(now()))
            listener = service.events.listen(request.headers.get("last-event-id", "")[:100], lambda: state)
        except VidmemError as error:
            return refused(fault_of(error))
        service.watch.start()
        return EventStream(service.events, listener)

    return StarletteRoute(f"{BASE}/events", endpoint)
