"""`vidmem mcp`: a memory for agents, over stdin and stdout."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from ..encoders.extras import needing
from ..errors import UsageError
from .messages import say
from .options import AskedMemoryOption, DeviceOption, EncoderOption, WeightsOption


def mcp(
    folder_of_memory: Annotated[
        str | None,
        typer.Argument(metavar="MEMORY", help="Folder of the memory, or fleet:CATALOGUE.", show_default=False),
    ] = None,
    allow_write: Annotated[
        bool, typer.Option("--allow-write", help="Let agents index, annotate and forget videos.")
    ] = False,
    folder: Annotated[
        list[str] | None,
        typer.Option("--folder", metavar="DIR", help="With --allow-write: agents name files only in here. Repeatable."),
    ] = None,
    skill: Annotated[
        bool, typer.Option("--skill", help="Print a SKILL.md that tells agents how to use vidmem, and end.")
    ] = False,
    memory: AskedMemoryOption = None,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    weights: WeightsOption = None,
) -> None:
    """Let agents ask the memory, over MCP.

    It speaks the Model Context Protocol on stdin and stdout. An agent starts this command itself; docs/mcp.md says what
    to write into the settings of Claude Desktop, VS Code and others. Agents can ask questions and see frames of the
    indexed videos; with --allow-write they can also index, annotate and forget. It needs the extra `serve`.

    \b
    Examples:
      vidmem mcp ~/house.memory
      vidmem mcp --allow-write --folder ~/Videos
      vidmem mcp --skill
    """
    if folder_of_memory is not None and memory not in (None, os.environ.get("VIDMEM_MEMORY")):
        raise UsageError("MEMORY and --memory are the same; give one of them")
    if folder and not allow_write:
        raise UsageError("--folder says which files may be named; give --allow-write, too")
    with needing("serve", "`vidmem mcp`"):
        from ..serve.agents.skill import text
        from ..serve.agents.stdio import serve_memory
        from ..serve.opening import open_memory
    if skill:
        print(text(), end="")
        return
    path = folder_of_memory or memory
    opening: dict[str, Any] = {"encoder": encoder, "device": device, "weights": weights}
    with open_memory(path, allow_write=allow_write, **opening) as m:
        say(f"agents are served on stdin and stdout; Ctrl-C stops it: {m.store.folder}")
        given = {name: value for name, value in opening.items() if value is not None}
        serve_memory(m, folders=folder or () if allow_write else None, opening=given)
