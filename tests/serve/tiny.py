"""A small server for tests of connections: `python tiny.py LIMITS`, with the fields of `Limits` as JSON.

It prints its port, and ends when stdin does. / answers at once, /big sends 64 MB, /waits answers when it is cancelled,
POST /api/v1/pictures says how large the body was.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from typing import Any

import uvicorn

from vidmem.serve.bodies import Bodies
from vidmem.serve.guard import Guard, GuardSettings
from vidmem.serve.names import ServerNames
from vidmem.serve.protocol import Limits, Watchdog, protocol_class

CHUNK = 256 << 10


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/big":
        for _ in range((64 << 20) // CHUNK):
            await send({"type": "http.response.body", "body": bytes(CHUNK), "more_body": True})
    if scope["path"] == "/waits":
        await asyncio.sleep(60)
    await send({"type": "http.response.body", "body": str(len(body)).encode()})


def main() -> None:
    limits = json.loads(sys.argv[1])
    body_s = limits.pop("body_s", 30.0)
    plain = limits.pop("plain", False)
    sock = socket.create_server(("127.0.0.1", 0), backlog=512)
    port = sock.getsockname()[1]
    watchdog = Watchdog(Limits(**limits))
    config = uvicorn.Config(
        Guard(app, GuardSettings(ServerNames("127.0.0.1", port), bodies=Bodies(body_s=body_s))),
        http="h11" if plain else protocol_class(watchdog),
        ws="none",
        lifespan="off",
        log_config=None,
        proxy_headers=False,
    )
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    print(port, flush=True)
    uvicorn.Server(config).run([sock])


if __name__ == "__main__":
    main()
