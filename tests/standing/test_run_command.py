"""Events to a command: its input, its limits, and what is left of it."""

from __future__ import annotations

import json
import os
import shlex
import sys
import threading
import time
from pathlib import Path

import pytest

from vidmem.errors import UsageError
from vidmem.standing import RunCommand, Undelivered
from vidmem.standing.run_command import MAX_OUTPUT

from .stage import event

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the commands are those of Unix")


def python(code: str, *args: object) -> str:
    return shlex.join([sys.executable, "-c", code, *map(str, args)])


def children() -> set[str]:
    """Processes whose parent is this one, zombies too."""
    own = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            own.add(stat.parent.name)
    return own


def test_the_event_is_on_stdin(tmp_path: Path) -> None:
    code = "import os, sys; open(sys.argv[1], 'w').write(repr((sys.stdin.read(), dict(os.environ), sys.argv)))"
    RunCommand(python(code, tmp_path / "out")).send(one := event(5, "YWJj"))
    text, environment, argv = eval((tmp_path / "out").read_text())
    assert json.loads(text) == json.loads(one.to_json())
    assert environment["VIDMEM_EVENT_ID"] == one.id
    assert (environment["VIDMEM_EVENT_TIME_NS"], environment["VIDMEM_EVENT_PROBABILITY"]) == ("5", "0.9")
    assert one.question not in " ".join(argv)


def test_there_is_no_shell(tmp_path: Path) -> None:
    RunCommand(f"touch '{tmp_path}/a;b' {tmp_path}/$HOME").send(event())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["$HOME", "a;b"]


def test_a_failure_is_tried_again() -> None:
    with pytest.raises(Undelivered, match="exit code 3") as caught:
        RunCommand(python("raise SystemExit(3)")).send(event())
    assert caught.value.again


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    before = children()
    code = (
        "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60']); "
        "open(sys.argv[1], 'w').write(str(p.pid)); time.sleep(60)"
    )
    began = time.monotonic()
    with pytest.raises(Undelivered, match="did not end within 1 s and was killed") as caught:
        RunCommand(python(code, tmp_path / "pid"), timeout_s=1).send(event())
    assert caught.value.again
    assert time.monotonic() - began < 5
    assert children() == before
    grandchild = int((tmp_path / "pid").read_text())
    stat = Path(f"/proc/{grandchild}/stat")
    deadline = time.monotonic() + 5
    while stat.exists() and ") Z" not in stat.read_text():
        assert time.monotonic() < deadline, "it was not killed"
        time.sleep(0.01)


def test_the_end_of_a_session_kills_a_command_that_still_runs() -> None:
    before = children()
    command = RunCommand("sh -c 'trap \"\" TERM INT; sleep 60 & sleep 60'")
    caught: list[Undelivered] = []

    def send() -> None:
        try:
            command.send(event())
        except Undelivered as error:
            caught.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    deadline = time.monotonic() + 5
    while children() == before:
        assert time.monotonic() < deadline, "it was not started"
        time.sleep(0.01)
    command.close()
    thread.join(5)
    assert not thread.is_alive()
    assert children() == before
    assert [error.again for error in caught] == [True]  # the next session runs it again
    with pytest.raises(Undelivered, match="has ended"):
        command.send(event())
    assert children() == before


def test_a_command_that_does_not_read(capfd: pytest.CaptureFixture[str]) -> None:
    RunCommand("true").send(event(1, "x" * 1_000_000))
    with pytest.raises(Undelivered, match="killed"):
        RunCommand("sleep 60", timeout_s=0.3).send(event(1, "x" * 1_000_000))


def test_output_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    before = children()
    RunCommand(python("import sys; sys.stdout.write('o' * 300000); sys.stderr.write('e' * 200000)")).send(event())
    out, err = capfd.readouterr()
    assert (out, err.count("o"), err.count("e")) == ("", 300_000, 200_000)
    assert children() == before


def test_endless_output_is_read_and_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    before = children()
    RunCommand(python("import sys; sys.stdout.write('o' * 30_000_000)")).send(event())
    with pytest.raises(Undelivered, match="killed"):
        RunCommand("yes", timeout_s=0.3).send(event())
    out, err = capfd.readouterr()
    assert out == ""
    assert MAX_OUTPUT < err.count("o") < MAX_OUTPUT + 100
    assert len(err) < 2 * MAX_OUTPUT + 300
    assert err.count("prints more; it is left out") == 2
    assert children() == before


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("'open", "check its quotes"),
        ("no-such-program-1 x", "no program of that"),
    ],
)
def test_what_is_no_command(command: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        RunCommand(command)
