"""`vidmem serve`: a page to look with, and an API to build on."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..encoders.extras import needing
from ..errors import UsageError
from .messages import say, warn
from .options import AskedMemoryOption, DeviceOption, EncoderOption, WeightsOption


def serve(
    folder_of_memory: Annotated[
        str | None,
        typer.Argument(metavar="MEMORY", help="Folder of the memory, or fleet:CATALOGUE.", show_default=False),
    ] = None,
    host: Annotated[
        str,
        typer.Option("--host", metavar="ADDRESS", help="Address to listen on. One that others reach needs a token."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port to listen on; 0 for any that is free.")
    ] = 8077,
    allow_write: Annotated[
        bool, typer.Option("--allow-write", help="Let the page and programs index and forget videos.")
    ] = False,
    folder: Annotated[
        list[str] | None,
        typer.Option("--folder", metavar="DIR", help="With --allow-write: index only what is in here. Repeatable."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Answer under this name, too: NAME, NAME:PORT, or https://NAME of a proxy. Repeatable.",
        ),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    log_queries: Annotated[bool, typer.Option("--log-queries", help="Write questions into the log, too.")] = False,
    memory: AskedMemoryOption = None,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    weights: WeightsOption = None,
) -> None:
    """Show the memory as a page, and answer programs over HTTP.

    Listens on this machine only, until Ctrl-C. It needs the extra `serve`. With another --host, or with --allow-host,
    clients show a token, which is printed once or comes from VIDMEM_SERVE_TOKEN. A log of requests goes to stderr.

    \b
    Examples:
      vidmem serve
      vidmem serve house.memory --port 0 --open
      vidmem serve --allow-write --folder ~/Videos
    """
    place = folder_of_memory or memory
    if folder and not allow_write:
        raise UsageError("--folder says what may be indexed; give --allow-write, too")
    with needing("serve", "`vidmem serve`"):
        from ..serve.opening import open_memory
        from ..serve.running import run
        from ..serve.settings import Settings

    given = {"encoder": encoder, "device": device, "weights": weights}
    opening = {name: value for name, value in given.items() if value is not None}
    settings = Settings(host, port, allow_write, tuple(folder or ()), log_queries, tuple(allow_host or ()), opening)

    def started(address: str) -> None:
        warn(f"serving {address}")
        say("Ctrl-C stops it")
        if open_page:
            import webbrowser

            webbrowser.open(address)

    def login(address: str) -> None:
        print(f"log in once with {address}", file=sys.stderr, flush=True)  # `warn` would leave the token out

    with open_memory(place, allow_write=allow_write, encoder=encoder, device=device, weights=weights) as m:
        try:
            run(m, settings, started, login=login, log=say)
        except KeyboardInterrupt:
            say("stopped")
