"""Events to a command of the user, one at a time."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress

from ..errors import UsageError
from .event import StandingEvent
from .sink import Sink, Undelivered

TIMEOUT_S = 30.0
"""Time for one run in seconds; then the command and what it started are killed."""
MAX_OUTPUT = 1 << 20
"""How many bytes of what one run prints are passed on; a command that prints without end must not fill a disk."""
_STDERR = 2


class RunCommand(Sink):
    """Runs a command for each event, with the event as JSON on its stdin.

    There is no shell, and nothing of the event is an argument. The environment has VIDMEM_EVENT_ID,
    VIDMEM_EVENT_TIME_NS and VIDMEM_EVENT_PROBABILITY ("" if there is none). What the command prints goes to stderr, up
    to a megabyte. Exit code 0 is success; all else is tried again. `close` kills a command that still runs.

    Args:
        command: The command line, split as a shell splits words, and nothing else that shells do.
        timeout_s: Time for one run in seconds.

    Raises:
        UsageError: The command cannot be split, or there is no such program.
    """

    def __init__(self, command: str, *, timeout_s: float = TIMEOUT_S) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"the command of `exec` cannot be split ({error}); check its quotes") from None
        if not self._words or "\0" in command:
            raise UsageError("the command of `exec` is empty; name a program, such as notify-send")
        program = shutil.which(self._words[0])
        if program is None:
            raise UsageError(f"there is no program of that name to run; check `exec`: {self._words[0][:80]}")
        self.name, self._timeout_s = os.path.basename(self._words[0]), timeout_s
        self._running: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._changed = threading.Lock()

    def send(self, event: StandingEvent) -> None:
        """Run the command and wait for its end."""
        environment = os.environ | {
            "VIDMEM_EVENT_ID": event.id,
            "VIDMEM_EVENT_TIME_NS": event.time_ns,
            "VIDMEM_EVENT_PROBABILITY": "" if event.probability is None else str(event.probability),
        }
        reader, writer = os.pipe()
        try:
            process = self._started(environment, writer)
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        output = threading.Thread(target=_pass_on, args=(reader, self.name), name="vidmem-exec", daemon=True)
        output.start()
        try:
            process.communicate(event.to_json().encode() + b"\n", timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise Undelivered(f"it did not end within {self._timeout_s:g} s and was killed", again=True) from None
        except BaseException:
            _kill(process)
            raise
        finally:
            with self._changed:
                self._running = None
            output.join(1)  # not for ever: what the command started may hold its output open
        if process.returncode:
            raise Undelivered(f"exit code {process.returncode}", again=True)

    def close(self) -> None:
        """Kill the command that runs, and what it started: nobody would end it later."""
        with self._changed:
            self._closed = True
            if self._running is not None:
                _kill_group(self._running)

    def _started(self, environment: dict[str, str], output: int) -> subprocess.Popen[bytes]:
        with self._changed:
            if self._closed:
                raise Undelivered("the session has ended", again=True)
            try:
                self._running = subprocess.Popen(
                    self._words,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    env=environment,
                    start_new_session=True,  # Ctrl-C is for us, and the whole group can be killed
                )
            except OSError as error:
                raise Undelivered(f"it cannot be started ({error.strerror})", again=True) from None
            return self._running


def _pass_on(reader: int, name: str) -> None:
    """Pass what a command prints on to stderr, up to MAX_OUTPUT, and read the rest, so that it does not wait."""
    left = MAX_OUTPUT
    with open(reader, "rb", buffering=0) as output, suppress(OSError):
        while data := output.read(1 << 16):
            if left > 0:
                os.write(_STDERR, data[:left])
                if len(data) >= left:
                    os.write(_STDERR, f"\n{name} prints more; it is left out\n".encode())
            left -= len(data)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the command and what it started, and take note of its end, so that no zombie is left."""
    _kill_group(process)
    with suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()
    process.wait()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
