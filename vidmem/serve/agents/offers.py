"""How a tool is made of a function and the dataclass of its result."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, ContentBlock, TextContent, ToolAnnotations
from pydantic import TypeAdapter

from .results import structured

READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool, and an example of a call, which errors show."""

    tool: Tool
    example: str


def offer(
    function: Callable[..., Any], result: type, title: str, example: str, annotations: ToolAnnotations = READ_ONLY
) -> Offer:
    """A tool that calls `function`; its docstring is the description that models read.

    Args:
        function: The tool, with described arguments. It returns a CallToolResult.
        result: The dataclass of the structured result.
        title: What people read.
        example: A call.
        annotations: What the tool may do.
    """
    described = inspect.cleandoc(function.__doc__ or "")
    tool = Tool.from_function(
        function, title=title, description=described, annotations=annotations, structured_output=False
    )
    # The SDK would make a model of its own of a dataclass, and take its slots for defaults.
    tool.fn_metadata.output_model = result
    tool.fn_metadata.output_schema = TypeAdapter(result).json_schema(mode="serialization")
    return Offer(tool, example)


def answered(text: str, result: object, *more: ContentBlock | None) -> CallToolResult:
    """The result of a tool: text, whatever else a model can see, and the structured part."""
    content: list[ContentBlock] = [TextContent(text=text), *(block for block in more if block is not None)]
    return CallToolResult(content=content, structured_content=structured(result))
