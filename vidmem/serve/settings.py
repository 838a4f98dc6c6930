"""What the server was started with."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    host: str = HOST
    port: int = PORT
    allow_write: bool = False
    folders: tuple[str, ...] = ()
    log_queries: bool = False
