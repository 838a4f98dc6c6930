"""Clients of the MCP server for tests: in this process, over stdio, and over HTTP."""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import anyio
import fakes
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ImageContent, ResourceLink, TextContent
from PIL import Image

T = TypeVar("T")
TESTS = Path(fakes.__file__).parent


def talk(server: Any, work: Callable[[Client], Awaitable[T]], **options: Any) -> T:
    """Connect a client, let `work` use it, and return what that returns. Raises the MCPError that it raises."""
    raised: list[MCPError] = []

    async def run() -> T | None:
        async with Client(server, **options) as client:
            with anyio.fail_after(240):
                try:
                    return await work(client)
                except MCPError as error:  # within, it would end up in a group
                    raised.append(error)
        return None

    found = anyio.run(run)
    if raised:
        raise raised[0]
    return cast("T", found)


def call(server: Any, tool: str, /, **arguments: Any) -> CallToolResult:
    """Call one tool of a server in this process."""
    return talk(server, lambda client: client.call_tool(tool, arguments))


def stdio(memory: Path, *options: str) -> StdioServerParameters:
    """`vidmem mcp` in a process that knows the encoder `colours`."""
    code = (
        f"import sys; sys.path.insert(0, {str(TESTS)!r}); import fakes; fakes.register(); "
        "from vidmem.cli import main; main()"
    )
    return StdioServerParameters(
        command=sys.executable, args=["-c", code, "mcp", str(memory), *options], env=dict(os.environ)
    )


def text(result: CallToolResult) -> str:
    """The text of a result."""
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


def document(result: CallToolResult) -> dict[str, Any]:
    """The structured part of a result that is no error."""
    assert not result.is_error, text(result)
    found: dict[str, Any] = result.structured_content
    return found


def problem(result: CallToolResult) -> str:
    """The message of an error."""
    assert result.is_error, text(result)
    assert result.structured_content is None
    return text(result)


def picture(result: CallToolResult) -> Image.Image | None:
    """The picture of a result; None if it has none."""
    blocks = [block for block in result.content if isinstance(block, ImageContent)]
    if not blocks:
        return None
    assert len(blocks) == 1
    assert blocks[0].mime_type == "image/jpeg"
    return Image.open(io.BytesIO(base64.b64decode(blocks[0].data)))


def uris(result: CallToolResult) -> list[str]:
    """The resources that a result links to."""
    return [block.uri for block in result.content if isinstance(block, ResourceLink)]
