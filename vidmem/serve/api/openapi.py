"""The OpenAPI document, made from the table of routes and the classes of their documents."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from ... import __version__
from .route import BASE, JSON, Parameter, Route, json_bytes
from .table import ROUTES

ERROR_KINDS = (
    *(
        "usage",
        "unknown_word",
        "not_found",
        "forbidden",
        "locked",
        "busy",
        "too_large",
        "media",
        "store",
        "model",
        "bug",
    ),
)
ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["kind", "message"],
            "properties": {
                "kind": {"type": "string", "enum": list(ERROR_KINDS)},
                "message": {"type": "string"},
                "near": {"type": "array", "items": {"type": "string"}},
            },
        }
    },
}
_STATUSES = {
    "400": "A parameter is wrong, or a word is not known.",
    "403": "The server was started without the right to write, or another page asks.",
    "404": "There is nothing with this id.",
    "409": "The file is not the one that was indexed, or the memory is locked.",
    "413": "The body or the answer is too large.",
    "415": "The file is gone, damaged, or gives no such picture.",
    "429": "The client asks too much.",
    "503": "The server is busy, or the memory or the model cannot be read.",
}

_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of an earlier answer.",
    "schema": {"type": "string"},
}
_RANGE = {
    "name": "Range",
    "in": "header",
    "required": False,
    "description": "One range of bytes, such as bytes=0-99999.",
    "schema": {"type": "string"},
}


@functools.cache
def openapi() -> dict[str, Any]:
    """The OpenAPI document."""
    classes = list(dict.fromkeys(route.result for route in ROUTES if isinstance(route.result, type)))
    inputs: Any = [(cls, "serialization", TypeAdapter(cls)) for cls in classes]
    schemas, definitions = TypeAdapter.json_schemas(
        inputs, ref_template="#/components/schemas/{model}", schema_generator=GenerateJsonSchema
    )
    components = dict(definitions.get("$defs", {}))
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        schema = schemas.get((route.result, "serialization")) if isinstance(route.result, type) else None
        paths.setdefault(BASE + route.path, {})[route.method.lower()] = _operation(route, schema)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vidmem",
            "version": __version__,
            "description": "When and where a thing was last seen, in a memory of videos and photos.",
        },
        "paths": paths,
        "components": {"schemas": {**components, "Error": ERROR}},
    }


def _operation(route: Route, schema: Any) -> dict[str, Any]:
    content = {JSON: {"schema": schema}} if schema is not None else {str(route.result): {}}
    answers: dict[str, Any] = {"200": {"description": route.summary, "content": content}}
    fault = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    answers |= {status: {"description": text, "content": fault} for status, text in _STATUSES.items()}
    if route.method == "GET":
        answers["304"] = {"description": "Nothing has changed since the answer with the tag in If-None-Match."}
    headers = [_IF_NONE_MATCH] if route.method == "GET" else []
    if route.ranges:
        answers["206"] = {"description": "The bytes of the range.", "content": content}
        answers["416"] = {"description": "The file has no such bytes; Content-Range gives its size."}
        headers.append(_RANGE)
    out: dict[str, Any] = {
        "summary": route.summary,
        "operationId": ("" if route.method == "GET" else f"{route.method.lower()}_")
        + route.path.strip("/").split(".")[0].replace("/", "_").replace("{", "").replace("}", ""),
        "parameters": [
            {
                "name": parameter.name,
                "in": "path" if parameter.in_path else "query",
                "required": parameter.required or parameter.in_path,
                "description": parameter.help,
                "schema": _schema(parameter),
            }
            for parameter in route.parameters
        ]
        + headers,
        "responses": dict(sorted(answers.items())),
    }
    if route.body:
        taken: dict[str, Any] = {"image/*": {"schema": {"type": "string", "format": "binary"}}}
        if route.takes is not None:
            taken = {JSON: {"schema": dict(route.takes)}}
        out["requestBody"] = {"required": True, "description": route.body, "content": taken}
    return out


def _schema(parameter: Parameter) -> Mapping[str, Any]:
    if not parameter.repeat:
        return parameter.schema
    most = {} if parameter.most is None else {"maxItems": parameter.most}
    return {"type": "array", "items": parameter.schema, **most}


def openapi_route() -> StarletteRoute:
    """The route of the document."""

    async def endpoint(request: Request) -> Response:
        body = json_bytes(openapi())
        return Response(b"" if request.method == "HEAD" else body, media_type=JSON)

    return StarletteRoute(f"{BASE}/openapi.json", endpoint)
