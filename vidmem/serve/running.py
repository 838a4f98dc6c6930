"""Running the server until it is told to stop."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn

from ..errors import UsageError
from .app import build
from .settings import Settings

if TYPE_CHECKING:
    from ..memory import Memory

MAX_CONNECTIONS = 512
_GRACE_S = 2
_KEEP_ALIVE_S = 30
_MAX_HEAD = 64 << 10


def run(memory: Memory, settings: Settings, started: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM, which raises KeyboardInterrupt.

    Args:
        memory: Opened with `read_only`.
        settings: What the server was started with.
        started: Called with the address of the page when the server answers.

    Raises:
        UsageError: The address cannot be listened on.
    """
    with listening(settings.host, settings.port) as sock:
        port = int(sock.getsockname()[1])
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        config = uvicorn.Config(
            build(memory, settings),
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACE_S,
            h11_max_incomplete_event_size=_MAX_HEAD,
        )
        _Server(config, lambda: started(f"http://{host}:{port}/")).run([sock])


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises UsageError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(128)
        except BaseException:
            sock.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        code = error.errno if isinstance(error, OSError) else None
        if code == errno.EADDRINUSE:
            raise UsageError(f"port {port} is in use; give another `port`, or 0 for any that is free") from None
        cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(f"the server cannot listen on {host} port {port} ({cause}); give another `host`") from None
    return sock


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._started()
