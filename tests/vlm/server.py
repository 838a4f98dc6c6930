"""A server with OpenAI's chat completions that answers as a test wants, in a thread."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Served:
    """What the server answers, and what it was asked. drip: seconds between the bytes of the reply."""

    url: str = ""
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    drip: float = 0
    endless: bool = False
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)

    def says(self, text: Any, *, finish: str = "stop", tokens: int | None = 7) -> None:
        """Answer 200 with a text."""
        usage = {} if tokens is None else {"usage": {"completion_tokens": tokens}}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        self.status, self.body = 200, json.dumps({"choices": [choice], **usage}).encode()


@contextmanager
def serving() -> Iterator[Served]:
    """A server on this machine while the context lasts."""
    served, stopped = Served(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            served.requests.append((self.path, dict(self.headers), json.loads(content)))
            stopped.wait(served.delay)
            try:
                self.send_response(served.status)
                for name, value in served.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if served.endless:
                    while not stopped.is_set():
                        self.wfile.write(b"x" * 65536)
                elif served.drip:
                    for byte in served.body:
                        self.wfile.write(bytes((byte,)))
                        self.wfile.flush()
                        time.sleep(served.drip)
                else:
                    self.wfile.write(served.body)
            except OSError:  # the client left
                pass

        do_GET = do_POST

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield served
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
