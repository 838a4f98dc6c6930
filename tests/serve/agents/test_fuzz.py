"""Whatever is asked, the answer is an answer or an error that can be mended; never a fault of the server."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.server.mcpserver.exceptions import ResourceNotFoundError, ToolError, UnexpectedToolError
from mcp.shared.exceptions import MCPError

from vidmem.errors import UsageError
from vidmem.query.documents import read_sighting_id

TOOLS = {
    "where": ("text", "like", "source", "after", "before", "near", "min_probability", "top", "picture"),
    "timeline": ("text", "like", "source", "after", "near", "alike", "top", "sightings", "picture"),
    "things": ("source", "after", "before", "newest", "min_probability", "top", "offset", "picture"),
    "look": ("id", "source", "time", "box", "view", "moments"),
    "haystack": ("question", "anchor", "target", "rule", "picture"),
    "sources": ("top", "offset"),
}
WORDS = st.sampled_from(
    [
        *(
            "red",
            "blue and red",
            "",
            " ",
            "magenta",
            "1",
            "2",
            "walk.mp4",
            "a.png",
            "12.5s",
            "0:01",
            "3ns",
            "yesterday",
        ),
        *("2h", "frame", "close", "moments", "1@1s:0,0,50,50", "1@1s:0,0,-1,9", "@:,", "1-0-1-0-1", "2-0-5-0-0"),
        *("default", "\x00", "\x1b[31m", "\u202e", "\ud800", "null", "true", "[1]", "{}", "/etc/passwd", "../.."),
        *("a" * 5000, "9" * 400),
    ]
)
NUMBERS = st.one_of(
    st.integers(-3, 60),
    st.sampled_from([10**30, -(10**30), 2**63, math.nan, math.inf, -math.inf, 1e308, -0.0, 0.5, 1e-300]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)


def outcome(function: Callable[..., Awaitable[Any]], *arguments: Any) -> tuple[Any, Exception | None]:
    """What it returns, or what it raises."""
    try:
        return anyio.run(function, *arguments), None
    except Exception as error:
        return None, error


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    tool = draw(st.sampled_from(sorted(TOOLS)))
    names = draw(st.lists(st.sampled_from(TOOLS[tool]), unique=True, max_size=5))
    arguments = {name: draw(VALUES) for name in names}
    if "picture" in TOOLS[tool]:  # drawing takes most of the time
        arguments.setdefault("picture", False)
    return tool, arguments


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=calls())
def test_any_arguments(server: Any, asked: tuple[str, dict[str, Any]]) -> None:
    tool, arguments = asked
    result, error = outcome(server.call_tool, tool, arguments)
    if error is None:
        assert result.structured_content
        assert all(block.type != "text" or block.text.strip() for block in result.content)
        return
    assert isinstance(error, ToolError)
    assert not isinstance(error, UnexpectedToolError), (asked, error.__cause__)
    message = str(error)
    assert len(message) < 2100
    assert message.isprintable()
    assert "Traceback" not in message


PARTS = st.one_of(
    st.sampled_from(["1", "2", "0", "-1", "9" * 30, "..", "%2F", "0-5", "5-0", "nan", "é", "1.5", "x"]),
    st.text(max_size=8),
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["sources", "sightings", "frames", "crops", "clips", "odd"]),
    parts=st.lists(PARTS, max_size=3),
    box=st.one_of(st.none(), st.text("0123456789,.-naif", max_size=12)),
)
def test_any_uri(server: Any, kind: str, parts: list[str], box: str | None) -> None:
    uri = "/".join([f"vidmem://{kind}", *parts]) + ("" if box is None else f"?box={box}")

    async def read() -> None:
        (content,) = await server.read_resource(uri)
        assert content.content

    _, error = outcome(read)
    assert error is None or isinstance(error, ResourceNotFoundError | MCPError), (uri, error.__cause__)


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=60), st.from_regex(r"[0-9.-]{1,50}", fullmatch=True)))
def test_any_id(text: str) -> None:
    try:
        place = read_sighting_id(text)
    except UsageError:
        return
    assert place.start_ns <= place.end_ns


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(max_size=20), arguments=st.dictionaries(st.sampled_from(["thing", "when", "x"]), VALUES, max_size=3)
)
def test_any_prompt(server: Any, name: str, arguments: dict[str, Any]) -> None:
    for prompt in ("find_a_thing", name):
        _, error = outcome(server.get_prompt, prompt, arguments)
        assert error is None or (isinstance(error, MCPError) and error.error.code == -32602)
