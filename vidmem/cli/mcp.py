"""`vidmem mcp`: a memory for agents, over stdin and stdout."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ..encoders.extras import needing
from ..errors import UsageError
from ..memory import Memory
from .messages import say
from .options import DeviceOption, EncoderOption, MemoryOption, WeightsOption


def mcp(
    folder_of_memory: Annotated[
        str | None, typer.Argument(metavar="MEMORY", help="Folder of the memory.", show_default=False)
    ] = None,
    skill: Annotated[
        bool, typer.Option("--skill", help="Print a SKILL.md that tells agents how to use vidmem, and end.")
    ] = False,
    memory: MemoryOption = None,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    weights: WeightsOption = None,
) -> None:
    """Let agents ask the memory, over MCP.

    It speaks the Model Context Protocol on stdin and stdout. An agent starts this command itself; docs/mcp.md says what
    to write into the settings of Claude Desktop, VS Code and others. Agents can ask questions and see frames of the
    indexed videos. It needs the extra `serve`.

    \b
    Examples:
      vidmem mcp ~/house.memory
      vidmem mcp --skill
    """
    if folder_of_memory is not None and memory not in (None, os.environ.get("VIDMEM_MEMORY")):
        raise UsageError("MEMORY and --memory are the same; give one of them")
    with needing("serve", "`vidmem mcp`"):
        from ..serve.agents.desk import Desk
        from ..serve.agents.server import build
        from ..serve.agents.skill import text
        from ..serve.agents.stdio import serve_stdio
    if skill:
        print(text(), end="")
        return
    path = folder_of_memory or memory
    with Memory.open(path, encoder=encoder, device=device, weights=weights, read_only=True) as m:
        say(f"agents are served on stdin and stdout; Ctrl-C stops it: {m.store.folder}")
        serve_stdio(build(Desk(m)))
