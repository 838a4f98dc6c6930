"""What may be asked where: paths, methods and sizes of bodies, before any route is looked up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .refusals import Refusal

MAX_TARGET = 8 << 10
"""Maximum length in bytes of a path with its query."""
MAX_HEADERS = 32 << 10
"""Maximum size in bytes of the headers."""
MAX_FIELDS = 100
"""Maximum number of headers."""
MAX_PICTURE = 20 << 20
"""Maximum size in bytes of a picture that is uploaded."""
_MAX_JOB = 64 << 10
_MAX_AGENT = 1 << 20

_PATH = re.compile(r"(/[A-Za-z0-9_~@:=+,.-]*)+")
_SIMPLE = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data")


@dataclass(frozen=True, slots=True)
class Rule:
    """A part of the server.

    Attributes:
        path: What its paths look like.
        methods: What it may be asked with.
        body: Maximum size in bytes of the body of a POST.
        cost: The name of the rate that bounds it; empty for none. Of GET only clips are bounded.
    """

    path: re.Pattern[str]
    methods: tuple[str, ...] = ("GET", "HEAD")
    body: int = 0
    cost: str = ""


RULES: Sequence[Rule] = (
    Rule(re.compile(r"/api/v1/pictures"), ("POST",), MAX_PICTURE, "uploads"),
    Rule(re.compile(r"/api/v1/jobs"), ("GET", "HEAD", "POST"), _MAX_JOB, "jobs"),
    Rule(re.compile(r"/api/v1/jobs/[^/]+"), ("GET", "HEAD", "DELETE")),
    Rule(re.compile(r"/api/v1/clips/.*"), cost="clips"),
    Rule(re.compile(r"/mcp"), ("POST",), _MAX_AGENT),
)
_REST = Rule(re.compile(".*"))


def rule_for(method: str, path: str) -> Rule:
    """The rule of a path. Raises Refusal for a method that it does not have."""
    rule = next((rule for rule in RULES if rule.path.fullmatch(path)), _REST)
    if method not in rule.methods:
        allowed = ", ".join(rule.methods)
        raise Refusal(405, "usage", f"this address is asked with {allowed}", {"allow": allowed})
    return rule


def is_expensive(rule: Rule, method: str) -> bool:
    """Return True for a request that its rule's rate counts."""
    return bool(rule.cost) and (method == "POST" or "POST" not in rule.methods)


def check_path(path: str) -> None:
    """Raise Refusal for a path that no route has: dots that lead out, escapes in escapes, control characters.

    path: with its escapes decoded once. Nothing that the server names needs more than letters, digits and a few signs.
    """
    if not _PATH.fullmatch(path) or "//" in path or ".." in path or "." in path.split("/"):
        raise Refusal(404, "not_found", "there is nothing at this address")


def check_size(target: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Raise Refusal for a longer path and query, or more headers, than anyone needs. target: length in bytes."""
    if target > MAX_TARGET:
        raise Refusal(414, "too_large", f"an address may have {MAX_TARGET >> 10} KB", {"connection": "close"})
    if len(headers) > MAX_FIELDS or sum(len(name) + len(value) for name, value in headers) > MAX_HEADERS:
        message = f"a request may have {MAX_FIELDS} headers of {MAX_HEADERS >> 10} KB in all"
        raise Refusal(431, "too_large", message, {"connection": "close"})


def check_kind(headers: dict[bytes, bytes]) -> None:
    """Raise Refusal for a POST of a kind that forms of any page can send."""
    kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    if kind in _SIMPLE:
        raise Refusal(415, "media", "send a picture as image/jpeg or the like, and JSON as application/json")
