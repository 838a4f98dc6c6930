"""MCP over stdin and stdout, until stdin ends or the process is interrupted.

The SDK reads stdin in a thread that nothing can interrupt, so Ctrl-C would have no effect until the client closes the
pipe. Here a thread passes stdin on through a socket, whose end can be closed at any time. While the SDK serves, it
points file descriptor 1 at stderr, so what handlers print never gets into the protocol.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

import anyio

from ...memory import Memory
from ..folders import checked_folder
from ..jobs import Jobs, JobSettings
from .desk import Desk
from .server import AgentServer, build
from .writing import writing_tools

_PART = 1 << 16
_GRACE_S = 5.0
"""Seconds after an interrupt in which a client may take the answers that wait. One that does not would hold the process
forever, since a write into a full pipe cannot be interrupted."""


def serve_memory(
    memory: Memory, *, folders: Sequence[str] | None = None, opening: Mapping[str, str] | None = None
) -> None:
    """Serve a memory to one client, as `serve_stdio`.

    Args:
        memory: Opened with `read_only`.
        folders: Offer the tools that write; files may be named only below these folders. None for tools that read.
        opening: Further arguments of `Memory.open` for what writes.

    Raises:
        UsageError: One of `folders` is none.
    """
    desk = Desk(memory)
    if folders is None:
        serve_stdio(build(desk))
        return
    checked = tuple(checked_folder(folder) for folder in folders)
    jobs = Jobs(JobSettings(str(memory.store.folder.absolute()), True, checked, dict(opening or {})))
    try:
        serve_stdio(build(desk, writing_tools(desk, jobs, checked)))
    finally:
        jobs.close()


def serve_stdio(server: AgentServer) -> None:
    """Serve one client until it closes stdin. Raises KeyboardInterrupt after SIGINT or SIGTERM ended it."""
    if os.name == "nt":  # a socket is no file descriptor there
        anyio.run(server.run_stdio_async)
        return
    interrupted = False
    with _stdin_through_a_socket() as end:

        def interrupt(number: int, frame: FrameType | None) -> None:
            nonlocal interrupted
            interrupted = True
            _shut(end)
            signal.signal(number, signal.SIG_DFL)
            last.args = (number,)
            if not last.is_alive():
                last.start()

        last = threading.Timer(_GRACE_S, signal.raise_signal)
        last.daemon = True

        before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            anyio.run(server.run_stdio_async)
        finally:
            last.cancel()
            for number, handler in before.items():
                signal.signal(number, handler)
    if interrupted:
        raise KeyboardInterrupt


@contextmanager
def _stdin_through_a_socket() -> Iterator[socket.socket]:
    """Put a socket in place of file descriptor 0 and pass stdin on to it; give the end that is written to."""
    kept, passed_on = os.dup(0), os.dup(0)
    ours, theirs = socket.socketpair()
    with theirs:
        os.dup2(theirs.fileno(), 0)
    threading.Thread(target=_pass_on, args=(passed_on, ours), name="vidmem-stdin", daemon=True).start()
    try:
        yield ours
    finally:
        _shut(ours)
        os.dup2(kept, 0)
        os.close(kept)


def _pass_on(stdin: int, end: socket.socket) -> None:
    """Copy stdin into the socket. The thread may still wait for input when the server has ended."""
    try:
        while part := os.read(stdin, _PART):
            end.sendall(part)
    except OSError:  # the server has ended
        pass
    finally:
        _shut(end)
        os.close(stdin)


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_WR)
    except OSError:
        return
