"""Running the server until it is told to stop."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn

from ..errors import UsageError
from .access import AccessLog
from .app import build
from .guard import Guard, GuardSettings
from .names import ServerNames, is_loopback, listening_address, parse_name
from .protocol import Limits, Watchdog, protocol_class
from .settings import Settings
from .tokens import given_token, new_token

if TYPE_CHECKING:
    from ..memory import Memory
    from .service import Service

_GRACE_S = 2
_BACKLOG = 512
_MAX_HEAD = 64 << 10
_FILES_A_CONNECTION = 3
"""Open files that a connection may need: itself, a video, a connection of the database."""


def run(
    memory: Memory,
    settings: Settings,
    started: Callable[[str], None],
    *,
    login: Callable[[str], None] | None = None,
    log: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, which raises KeyboardInterrupt.

    Args:
        memory: Opened with `read_only`.
        settings: What the server was started with.
        started: Called with the address of the page when the server answers.
        login: Called then, too, if clients need a token that was made for this run: with an address that holds it.
        log: Prints a line about a request. A thread of its own calls it.

    Raises:
        UsageError: The address cannot be listened on, or a name, a folder or the token of the environment is malformed.
    """
    address = listening_address(settings.host)
    given = given_token()
    with listening(address, settings.port) as sock:
        port = int(sock.getsockname()[1])
        names = ServerNames(address, port, frozenset(parse_name(name, port) for name in settings.allow_hosts))
        made = new_token() if given is None and not names.local else None
        app = build(memory, settings)
        lines = None if log is None else AccessLog(log, queries=settings.log_queries)
        guard = Guard(app, GuardSettings(names, given or made, None if lines is None else lines.add))
        limits = Limits(connections=_connections(Limits().connections))
        config = uvicorn.Config(
            guard,
            http=protocol_class(Watchdog(limits)),
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(limits.idle_s),
            timeout_graceful_shutdown=_GRACE_S,
            h11_max_incomplete_event_size=_MAX_HEAD,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # the guard logs what matters, in one line

        def ready() -> None:
            page = _page(names)
            started(page)
            if made is not None and login is not None:
                others = f"{min(names.others)}/" if names.others else page
                login(f"{others}login#token={made}")

        service: Service = app.state.service
        try:
            _Server(config, ready, service.events.close).run([sock])
        finally:
            service.close()
            if lines is not None:
                lines.close()


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises UsageError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(_BACKLOG)
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


def _page(names: ServerNames) -> str:
    """The address of the page, at which it listens."""
    address = names.address
    if not is_loopback(address) and names.origin(_authority(address, names.port)) is None:
        address = _outward()  # it listens on all addresses
    return f"http://{_authority(address, names.port)}/"


def _authority(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _outward() -> str:
    """The address of this machine that others most likely reach; loopback without a network. Nothing is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("192.0.2.1", 9))  # an address of documentation, RFC 5737
            return str(sock.getsockname()[0])
    except OSError:
        return "127.0.0.1"


def _connections(most: int) -> int:
    """How many connections fit the number of files that this process may open, at most `most`."""
    try:
        import resource
    except ImportError:  # Windows
        return most
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return most if allowed < 0 else max(32, min(most, allowed // _FILES_A_CONNECTION))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._started, self._stopping = started, stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()  # streams of events would otherwise keep it waiting
        await super().shutdown(sockets)
