"""What the server was started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

HOST, PORT = "127.0.0.1", 8077


@dataclass(frozen=True, slots=True)
class Settings:
    """What the server was started with.

    Attributes:
        host: The address that it listens on.
        port: Its port; 0 for any that is free.
        allow_write: Videos may be indexed and forgotten over HTTP.
        folders: Folders below which paths may be indexed.
        log_queries: The log has the questions.
        allow_hosts: Further names that it is asked under; see `names.parse_name`.
        opening: Arguments of `Memory.open` by name with which the memory was opened, such as its encoder.
    """

    host: str = HOST
    port: int = PORT
    allow_write: bool = False
    folders: tuple[str, ...] = ()
    log_queries: bool = False
    allow_hosts: tuple[str, ...] = ()
    opening: Mapping[str, str] = field(default_factory=dict)
