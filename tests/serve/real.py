"""`vidmem serve` in a process of its own, with the encoder of `fakes`, and all that it says on stderr."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import fakes

TESTS = Path(fakes.__file__).parent


@dataclass
class Reply:
    """An answer. headers: in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The JSON in it."""
        return json.loads(self.body)


class Server:
    """A server until the end of a `with` block. said: its lines on stderr."""

    def __init__(self, memory: Path, *options: str, environment: Mapping[str, str] | None = None) -> None:
        plugin = tempfile.mkdtemp(prefix="vidmem-plugin-")
        info = Path(plugin) / "colours-1.dist-info"  # makes the encoder known to the processes of jobs, too
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: colours\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[vidmem.encoders]\ncolours = fakes:SPEC\n")
        self._plugin = plugin
        paths = os.pathsep.join((plugin, str(TESTS), str(TESTS.parent)))
        command = [sys.executable, "-m", "vidmem.cli", "serve", str(memory), "--port", "0", *options]
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": paths, **(environment or {})},
            start_new_session=True,
        )
        self.said: list[str] = []
        self.port = 0
        self._ready = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()
        assert self._ready.wait(60), self.said
        assert self.port, self.said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._plugin, ignore_errors=True)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Ask it something. Host is its own name unless `headers` say otherwise."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def post(self, document: Any) -> Reply:
        """Post a job."""
        return self.ask("/api/v1/jobs", "POST", json.dumps(document).encode(), {"content-type": "application/json"})

    def ended(self, job: str, seconds: float = 60) -> Any:
        """Wait for the end of a job; return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.ask(f"/api/v1/jobs/{job}").document
            if found["state"] not in ("waiting", "running"):
                return found
            time.sleep(0.05)
        raise AssertionError(found)

    def says(self, text: str, seconds: float = 10) -> str:
        """Wait for a line on stderr that holds a text; return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := next((line for line in list(self.said) if text in line), None):
                return found
            time.sleep(0.02)
        raise AssertionError(self.said)

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip("\n"))
            if match := re.search(r"serving https?://\S+?(?::(\d+))?/", line):
                self.port = int(match[1] or 0)
                self._ready.set()
        self._ready.set()
