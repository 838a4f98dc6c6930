"""A connection to a Milvus server, or to a file of milvus-lite. Errors are one line and show no secret."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..address import shown
from ..encoders.extras import needing
from ..errors import StoreError, UsageError

TOKEN = "MILVUS_TOKEN"
"""Variable with the token, or user:password, of a server that asks for one."""
TIMEOUT_S = 10.0
"""Of a connection, and of a call that reads little."""

_SERVER = re.compile(r"https?://[^/\s@?#]+/?", re.IGNORECASE)


def check_uri(uri: str) -> None:
    """Raise UsageError for what is neither http://HOST:PORT, https://HOST:PORT, nor a file that ends in .db."""
    if "@" in uri and "://" in uri:
        raise UsageError(f"an address with a password is kept by shells; put the password into {TOKEN}: {shown(uri)}")
    if "://" not in uri and uri.endswith(".db"):
        if not Path(uri).absolute().parent.is_dir():
            raise UsageError(f"there is no such folder for a file of milvus-lite: {shown(uri)}")
        if os.path.lexists(uri) and not os.path.isdir(uri):
            raise UsageError(f"something else lies here, which milvus-lite did not make: {shown(uri)}")
        return
    if not _SERVER.fullmatch(uri):
        raise UsageError(
            "Milvus is http://HOST:19530, https://HOST:19530, or a file of milvus-lite that ends in .db; got "
            f"{shown(uri)[:200]}"
        )


def connect(uri: str) -> Any:
    """Return a MilvusClient. The token is taken from the variable TOKEN.

    Raises:
        UsageError: as `check_uri`.
        ModelError: the library is not installed.
        StoreError: the server is down, or refuses the token.
    """
    check_uri(uri)
    with needing("milvus", "Milvus"):
        import pymilvus
    for name in ("pymilvus", "milvus_lite"):  # they print the traceback of every error that they raise
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if uri.endswith(".db"):
        with needing("milvus", "a file of milvus-lite"):
            import milvus_lite  # noqa: F401
    with errors(uri):
        return pymilvus.MilvusClient(uri, token=os.environ.get(TOKEN, ""), timeout=TIMEOUT_S)


@contextmanager
def errors(uri: str) -> Iterator[None]:
    """Turn what pymilvus raises into a StoreError that names the server."""
    import grpc
    import pymilvus

    try:
        yield
    except (pymilvus.MilvusException, grpc.RpcError, grpc.FutureTimeoutError, ValueError) as error:
        cause = str(getattr(error, "message", "") or error).splitlines()[0][:200]
        raise StoreError(
            f"Milvus does not answer as it should ({shown(cause)}); start it, or check {TOKEN}: {shown(uri)}"
        ) from None
