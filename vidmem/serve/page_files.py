"""The page: a fixed list of files that come with the package. No folder is ever served."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .api.route import refused
from .faults import Fault

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".json": "application/json",
}
"""Media types by suffix; other files are not served."""
INDEX = "index.html"


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page. tag: of its content."""

    data: bytes
    media_type: str
    tag: str


@functools.cache
def page_files() -> dict[str, PageFile]:
    """The files of the page by their names below its folder, such as "js/app.js"; two levels, as in the package."""
    top = files(__package__).joinpath("page")
    found: dict[str, PageFile] = {}
    if top.is_dir():
        for entry in top.iterdir():
            inner = entry.iterdir() if entry.is_dir() else ()
            found |= {name: file for one in (entry, *inner) if (file := _file(one)) and (name := _name(entry, one))}
    return found


def _name(entry: Traversable, one: Traversable) -> str:
    return one.name if one is entry else f"{entry.name}/{one.name}"


def _file(entry: Traversable) -> PageFile | None:
    media_type = KINDS.get("." + entry.name.rpartition(".")[2])
    if media_type is None or not entry.is_file():
        return None
    data = entry.read_bytes()
    return PageFile(data, media_type, hashlib.sha256(data).hexdigest()[:32])


def _response(request: Request, name: str) -> Response:
    file = page_files().get(name)
    if file is None:
        return refused(Fault(404, "not_found", "there is nothing at this address"))
    headers = {"etag": f'"{file.tag}"', "cache-control": "no-cache"}
    if f'"{file.tag}"' in request.headers.get("if-none-match", "")[:4096]:
        # With its type: from that the guard knows the policy, and a browser takes the headers of a 304 for its own.
        return Response(None, 304, headers, file.media_type)
    response = Response(file.data, 200, headers, file.media_type)
    if request.method == "HEAD":
        response.body = b""
    return response


async def _index(request: Request) -> Response:
    return _response(request, INDEX)


async def _static(request: Request) -> Response:
    return _response(request, request.path_params["name"])


def page_routes() -> list[Route]:
    """The routes of the page: / and /static/NAME."""
    return [Route("/", _index), Route("/static/{name:path}", _static)]
