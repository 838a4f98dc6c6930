"""The MCP server of a memory: its tools, resources and prompt, and errors that a model can mend."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mcp.server import MCPServer
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ToolError, UnexpectedToolError
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolResult,
    Completion,
    CompletionArgument,
    CompletionContext,
    GetPromptResult,
    InputRequiredResult,
    PromptReference,
    Resource,
    ResourceTemplateReference,
)
from pydantic import AnyUrl, ValidationError

from ... import __version__
from ...errors import VidmemError
from . import faults
from .completing import completed
from .desk import Desk
from .look import look_tool
from .offers import Offer
from .prompts import PROMPT
from .resources import add_resources, listed
from .tools import reading_tools

INSTRUCTIONS = """This is a memory of videos and photos that were watched once. It remembers every thing that it
followed: when it was in view, where in the picture, and what it looks like. It does not remember sound, speech, actions
or text, and it knows only what was indexed.

Ask `where` for the last place of a thing, `timeline` for all sightings, `things` for what there is, `haystack` for one
of many photos, `sources` for the videos. Check what matters with `look` before you rely on it: names are guesses with
a probability. "Not found" means not seen or not recognized. Report the video, the time in it, the date if it is known,
and how sure you are."""


class AgentServer(MCPServer[None]):
    """An MCP server whose errors say what was wrong, what is allowed, and how to ask instead."""

    def __init__(self, desk: Desk, offers: Iterable[Offer]) -> None:
        self.desk = desk
        self._offers = {one.tool.name: one for one in offers}
        with _logging_left_alone():
            super().__init__(
                name="vidmem",
                title="vidmem: a memory for long video",
                instructions=" ".join(INSTRUCTIONS.split()),
                version=__version__,
                tools=[one.tool for one in self._offers.values()],
                log_level="WARNING",
            )
        add_resources(self, desk)
        self.add_prompt(PROMPT)

        async def complete(
            ref: PromptReference | ResourceTemplateReference,
            argument: CompletionArgument,
            context: CompletionContext | None,
        ) -> Completion:
            try:
                return await desk.ask(lambda: completed(desk, ref, argument))
            except VidmemError as error:
                raise MCPError(INVALID_PARAMS, self._told(error)) from None

        completion: Any = self.completion  # the SDK gives it no types
        completion()(complete)

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[None, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """As the base class; wrong arguments and refusals of vidmem become a ToolError that says how to mend them."""
        known = self._offers.get(name)
        if known is None:
            raise ToolError(faults.unknown_tool(name, self._offers))
        schema = known.tool.parameters
        if (problem := faults.unknown_arguments(name, arguments, schema)) is not None:
            raise ToolError(f"{problem}. Example: {known.example}")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            cause = error.__cause__
            if isinstance(cause, ValidationError) and not isinstance(error, UnexpectedToolError):
                raise ToolError(faults.wrong_arguments(name, cause, schema, known.example)) from None
            if isinstance(cause, VidmemError | OSError):
                raise ToolError(self._told(cause)) from None
            raise

    async def list_resources(self) -> list[Resource]:
        """The list of sources, and the newest of them."""
        fixed = await super().list_resources()
        try:
            return [*fixed, *await self.desk.ask(lambda: listed(self.desk))]
        except VidmemError as error:
            raise MCPError(INVALID_PARAMS, self._told(error)) from None

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[None, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        """As the base class; what cannot be read is an error of the request."""
        try:
            return await super().read_resource(uri, context)
        except ResourceError as error:
            cause = error.__cause__
            if isinstance(cause, ValidationError):
                raise MCPError(INVALID_PARAMS, "the URI has parts that are not understood; see the templates") from None
            if isinstance(cause, VidmemError | OSError):
                raise MCPError(INVALID_PARAMS, self._told(cause)) from None
            raise

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[None, Any] | None = None
    ) -> GetPromptResult | InputRequiredResult:
        """As the base class; wrong arguments are an error of the request."""
        try:
            return await super().get_prompt(name, arguments, context)
        except ValueError as error:
            problem = " ".join(str(error).split())[:300]
            raise MCPError(INVALID_PARAMS, f"{problem}; the prompt is find_a_thing(thing, when)") from None

    def _told(self, error: VidmemError | OSError) -> str:
        return faults.told(error, self.desk.store.folder)


def build(desk: Desk, writing: Iterable[Offer] = ()) -> AgentServer:
    """The server of a memory.

    Args:
        desk: The memory, and where work runs.
        writing: The tools that write; none by default.
    """
    return AgentServer(desk, [*reading_tools(desk), look_tool(desk), *writing])


@contextmanager
def _logging_left_alone() -> Iterator[None]:
    """Keep the SDK from giving the root logger a handler, which belongs to the program."""
    root, level = logging.getLogger(), logging.getLogger().level
    placeholder = logging.NullHandler()
    root.addHandler(placeholder)
    try:
        yield
    finally:
        root.removeHandler(placeholder)
        root.setLevel(level)
