"""A route of the API: its parameters, its document and its handler, in one place; and how requests reach it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from ...address import shown
from ...errors import UsageError, VidmemError
from ...query.documents import public
from ..faults import Fault, fault_of
from .files import FileBody, FileResponse

if TYPE_CHECKING:
    from ..service import Service

_log = logging.getLogger(__name__)
BASE = "/api/v1"
JSON = "application/json"
STRING: Mapping[str, object] = {"type": "string"}
_PRIVATE = {"cache-control": "private, no-cache"}
_MOST_TAGS = 32

Given = Mapping[str, Any]
"""The parameters of a request by name, each in the form that its `Parameter` reads; `body` is the body of a POST."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a route.

    Attributes:
        name: Its name.
        help: What it means.
        read: Reads it; raises UsageError.
        schema: JSON schema of one value.
        repeat: It may be given several times, and the handler gets a list.
        most: How often at most, if it is costly.
        required: It has to be given.
        default: What the handler gets when it is not given.
        in_path: It is a part of the path.
    """

    name: str
    help: str
    read: Callable[[str], Any] = str
    schema: Mapping[str, object] = field(default_factory=lambda: STRING)
    repeat: bool = False
    most: int | None = None
    required: bool = False
    default: Any = None
    in_path: bool = False


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that a handler can make. tag: the same for the same bytes. make: called if the client has not got them."""

    tag: str
    media_type: str
    make: Callable[[], bytes]


Handler = Callable[["Service", Given], Any]
"""Returns a document (a dataclass or a dict), a Blob, or a FileBody. It runs in a thread."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the API.

    Attributes:
        path: Below BASE, with parameters of the path in braces.
        summary: What it does, in one sentence.
        handler: Answers it.
        result: The class of its document, or a media type.
        parameters: Its parameters.
        method: GET, which includes HEAD, POST or DELETE.
        body: What the body of a POST is.
        takes: JSON schema of that body; None for the bytes of a picture.
        pool: The threads that it runs in: questions, pictures, lists or clips.
        ranges: It gives one range of bytes if it is asked for with the header Range.
    """

    path: str
    summary: str
    handler: Handler
    result: type[Any] | str
    parameters: tuple[Parameter, ...] = ()
    method: str = "GET"
    body: str = ""
    takes: Mapping[str, object] | None = None
    pool: str = "questions"
    ranges: bool = False


def mounted(route: Route, service: Service) -> StarletteRoute:
    """The route as Starlette has it."""

    async def endpoint(request: Request) -> Response:
        try:
            given = dict(_given(route, request))
            if route.method == "POST":
                given["body"] = await request.body()
            tags = _tags(request.headers.get("if-none-match", ""))
            done = await service.run(route.pool, service.client(request), partial(_answer, route, service, given, tags))
            if isinstance(done, FileBody):
                return FileResponse(done, request, tags, _PRIVATE)
            if request.method == "HEAD":
                done.headers["content-length"] = str(len(done.body))
                done.body = b""
            return done
        except VidmemError as error:
            return refused(fault_of(error))

    return StarletteRoute(BASE + route.path, endpoint, methods=[route.method])


def refused(fault: Fault) -> Response:
    """The answer that tells an error."""
    return Response(json.dumps(fault.document()), fault.status, dict(fault.headers), JSON)


def _answer(route: Route, service: Service, given: Given, tags: Sequence[str]) -> Response | FileBody:
    """Call the handler and make the response. Runs in a thread."""
    result = route.handler(service, given)
    if isinstance(result, FileBody):
        return result
    if isinstance(result, Blob):
        tag, media_type = result.tag, result.media_type
        body = None if _has(tags, tag) else service.drawn.get(tag)
        if body is None and not _has(tags, tag):
            body = result.make()
            service.drawn.put(tag, body)
    else:
        media_type = JSON
        body = json_bytes(result)
        tag = hashlib.sha256(body).hexdigest()[:32]
    headers = {**_PRIVATE, "etag": f'"{tag}"'}
    if route.method == "GET" and _has(tags, tag):
        return Response(None, 304, headers)
    return Response(body, 200, headers, media_type)


def json_bytes(document: Any) -> bytes:
    """A document as JSON, without what may be secret in the addresses in it."""
    value = public(document) if is_dataclass(document) or isinstance(document, dict) else document
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _given(route: Route, request: Request) -> Mapping[str, Any]:
    """Read the parameters of a request. Raises UsageError for one that is unknown, missing, given twice, or wrong."""
    values: dict[str, list[str]] = {name: [str(value)] for name, value in request.path_params.items()}
    asked = [parameter.name for parameter in route.parameters if not parameter.in_path]
    for name, text in request.query_params.multi_items():
        if name not in asked:
            there = f"there are: {', '.join(asked)}" if asked else "there are none here"
            raise UsageError(f"there is no parameter {shown(name)[:40]!r}; {there}")
        values.setdefault(name, []).append(text)
    out: dict[str, Any] = {}
    for parameter in route.parameters:
        texts = values.get(parameter.name, [])
        if len(texts) > 1 and not parameter.repeat:
            raise UsageError(f"`{parameter.name}` is given {len(texts)} times; give it once")
        if parameter.most is not None and len(texts) > parameter.most:
            raise UsageError(f"`{parameter.name}` is given {len(texts)} times; give it up to {parameter.most} times")
        if not texts and parameter.required:
            raise UsageError(f"`{parameter.name}` is missing; {parameter.help[0].lower()}{parameter.help[1:]}")
        if any("\0" in text for text in texts):
            raise UsageError(f"`{parameter.name}` has a null character; leave it out")
        if parameter.repeat:
            out[parameter.name] = [parameter.read(text) for text in texts]
        else:
            out[parameter.name] = parameter.read(texts[0]) if texts else parameter.default
    return out


def _tags(header: str) -> list[str]:
    """The tags in If-None-Match."""
    return [tag.strip().removeprefix("W/").strip('"') for tag in header[:4096].split(",")[:_MOST_TAGS] if tag.strip()]


def _has(tags: Sequence[str], tag: str) -> bool:
    return tag in tags or "*" in tags
