"""A `vidmem serve` of its own for tests: started, stopped, killed and started again on the same port."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Self

START_S = 60.0


class Server:
    """One server process. url: its address without a slash at the end."""

    def __init__(self, memory: Path, *options: str) -> None:
        self._memory, self._options = memory, options
        self._process: subprocess.Popen[str] | None = None
        self._said: list[str] = []
        self._ready = threading.Event()
        self.url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, on any free port, or on the port that it had before."""
        port = self.url.rpartition(":")[2] or "0"
        command = [sys.executable, "-m", "vidmem.cli", "serve", str(self._memory), "--port", port, *self._options]
        self._ready.clear()
        self._process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env={**os.environ, "NO_COLOR": "1"}
        )
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        assert self._ready.wait(START_S), f"no address after {START_S} s: {self.said()}"
        assert self.url, f"the server ended: {self.said()}"

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it and wait until it is gone."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the server did not end at {how.name}: {self.said()}") from None
        finally:
            self._process = None

    def said(self) -> str:
        """What it wrote on stderr."""
        return "".join(self._said)

    def get(self, path: str) -> bytes:
        """The body of an answer."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return bytes(answer.read())

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self._said.append(line)
                found = re.search(r"http://[\w.:\[\]-]+", line)
                if found and not self._ready.is_set():
                    self.url = found[0].rstrip("/.")
                    self._ready.set()
        self._ready.set()
