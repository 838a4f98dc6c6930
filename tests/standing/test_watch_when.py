"""`vidmem watch --when` and `vidmem standing`: processes that are interrupted, killed and started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import fakes
import pytest
from cli.conftest import process
from typer.testing import CliRunner

from vidmem.cli import app
from vidmem.media.base import Damage
from vidmem.media.camera import watch
from vidmem.store import Store

from .stage import wait_until
from .test_webhook import serving

pytestmark = pytest.mark.usefixtures("colours")
FILM = Path(str(fakes.__file__)).parents[1] / "vidmem" / "cli" / "demo_data" / "film.mp4"


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    """Red from 0 to 1 s, blue from 1.5 to 3 s."""
    return fakes.squares(tmp_path / "walk.ts", [("red", 0, 1, 8), ("blue", 1.5, 3, 60)], 3)


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "memory"


def started(source: Path | None, *args: object, memory: Path, **more: Any) -> Any:
    """`vidmem watch -` with a film through a pipe, which stays open without a film."""
    stdin: Any = subprocess.PIPE
    if source is not None:  # a pipe, since a file is paced
        stdin = subprocess.Popen(["cat", str(source)], stdout=subprocess.PIPE).stdout
    streams = {"stdin": stdin, "stdout": subprocess.PIPE, **more}
    base = ("watch", "-", "--name", "cam", "--encoder", "colours", "--depth", 1000, "--every", 0.1)
    return process(*base, *args, memory=memory, wait=False, **streams)


def call(*args: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in args])


def test_events_are_lines_on_stdout(walk: Path, memory: Path) -> None:
    done = started(walk, "--when", "red", "--when", "blue", "--when", "green", memory=memory)
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, err
    events = [json.loads(line) for line in out.splitlines()]
    assert sorted(event["question"] for event in events) == ["blue", "red"]
    assert "2 events, 2 deliveries confirmed" in err
    assert "cam: 30 frames received" in err


def test_two_receivers_get_each_event(walk: Path, memory: Path, tmp_path: Path) -> None:
    command = f"{sys.executable} -c 'import sys; open(sys.argv[1], \"a\").write(sys.stdin.read())' {tmp_path}/events"
    with serving() as server:
        done = started(
            walk, "--when", "red", "--when", "blue", "--exec", command, "--webhook", server.url, memory=memory
        )
        out, err = done.communicate(timeout=60)
    assert (done.returncode, out) == (0, ""), err
    posted = sorted((json.loads(body) for _, body in server.got), key=lambda row: str(row["id"]))
    run = sorted(map(json.loads, (tmp_path / "events").read_text().splitlines()), key=lambda row: str(row["id"]))
    assert posted == run
    assert len(run) == 2
    assert "2 events, 4 deliveries confirmed" in err


def test_kill_9_loses_no_event_and_tells_none_anew(walk: Path, memory: Path, tmp_path: Path) -> None:
    options = ("--when", "red", "--when", "blue", "--again-after", 3600)
    with serving(200, "hang") as server:
        one = started(walk, *options, "--webhook", server.url, memory=memory)
        wait_until(lambda: len(server.got) == 2)
        one.send_signal(signal.SIGKILL)
        one.communicate()
        ids = [headers["Idempotency-Key"] for headers, _ in server.got]
        for told in (
            "1 event, 1 delivery confirmed, 1 event of an earlier run",
            "0 events, 0 deliveries confirmed",
        ):
            again = started(walk, *options, "--webhook", server.url, memory=memory)
            _, err = again.communicate(timeout=60)
            assert again.returncode == 0, err
            assert told in err
    posted = [headers["Idempotency-Key"] for headers, _ in server.got]
    assert posted == [*ids, ids[1]]
    assert json.loads(server.got[2][1])["crop"] is None


def test_lost_events_are_exit_code_3(walk: Path, memory: Path) -> None:
    with serving(404, 404) as server:
        done = started(walk, "--when", "red", "--when", "blue", "--webhook", server.url, memory=memory)
        _, err = done.communicate(timeout=60)
    assert done.returncode == 3, err
    assert "2 events, 0 deliveries confirmed, 2 given up" in err
    assert "an event is not delivered (it answers 404); this one is given up: http://127.0.0.1" in err


def test_a_closed_stdout_ends_no_camera(walk: Path, memory: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = started(walk, "--when", "red", memory=memory, stdout=writer)
    os.close(writer)
    _, err = done.communicate(timeout=60)
    assert (done.returncode, "30 frames received, 15 indexed" in err, "1 given up" in err) == (3, True, True), err


def test_ctrl_c_before_the_first_frame(memory: Path) -> None:
    done = started(None, "--when", "red", memory=memory)
    wait_until(lambda: (memory / "memory.sqlite").exists())
    time.sleep(0.5)
    done.send_signal(signal.SIGINT)
    out, err = done.communicate(timeout=60)
    assert (done.returncode, out) == (130, ""), err


def test_ctrl_c_before_a_network_camera_answers(memory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        done = process("watch", url, "--network", "--encoder", "colours", memory=memory, wait=False)
        connection, _ = silent.accept()
        time.sleep(0.5)
        began = time.monotonic()
        done.send_signal(signal.SIGINT)
        _, err = done.communicate(timeout=60)
        assert done.returncode == 130, err
        assert time.monotonic() - began < 8
        connection.close()


def test_ctrl_c_writes_what_was_seen(tmp_path: Path, memory: Path) -> None:
    film = fakes.squares(tmp_path / "long.ts", [("red", 0, 20, 8)], 20)  # FFmpeg looks at 5 s before it begins
    done = started(None, "--when", "red", memory=memory)
    watchdog = threading.Timer(60, done.kill)
    watchdog.start()
    done.stdin.buffer.write(film.read_bytes())
    done.stdin.flush()
    assert json.loads(done.stdout.readline())["question"] == "red"
    done.send_signal(signal.SIGINT)
    _, err = done.communicate(timeout=60)
    watchdog.cancel()
    assert done.returncode == 0, err
    assert "stopped; everything seen so far is written" in err
    assert "1 event, 1 delivery confirmed" in err


def test_a_file_is_watched_at_the_speed_at_which_it_plays(tmp_path: Path, memory: Path) -> None:
    film = fakes.squares(tmp_path / "short.ts", [("red", 0, 1, 8)], 1.5)
    for source, stdin in ((film, None), ("-", film.open("rb"))):
        began = time.monotonic()
        done = process(
            "watch", source, "--encoder", "colours", "--name", source, memory=memory, wait=False, stdin=stdin
        )
        _, err = done.communicate(timeout=60)
        assert done.returncode == 0, err
        assert time.monotonic() - began > 1.4
        assert "15 frames received, 8 indexed, 0 dropped" in err
        assert "a file is watched at the speed at which it plays; `vidmem index` is faster" in err


def test_a_stream_that_is_not_live_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fakes.squares(tmp_path / "long.ts", [("red", 0, 1, 8)], 14, fps=2)
    cat = subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE)
    assert cat.stdout is not None
    said: list[str] = []
    with os.fdopen(cat.stdout.fileno(), "rb", closefd=False) as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert len(list(watch("-", Damage(), say=said.append))) == 28
    cat.wait()
    assert said == ["this stream comes faster than it plays, so frames may be dropped; slow it, as ffmpeg -re"]


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("--when", "kettle"), 2, "cannot read 'kettle'"),
        (("--when", " "), 2, "--when is empty"),
        (("--when", "red", "--min-probability", "0.8"), 2, "so --min-probability has no meaning; `vidmem calibrate"),
        (("--when", "red", "--min-probability", "7"), 2, "a probability, between 0 and 1"),
        (("--when", "red", "--again-after", "-1"), 2, "a number of seconds, 0 or more"),
        (("--webhook", "http://127.0.0.1:1/x"), 2, "nothing to tell of; give --when"),
        (("--min-probability", "0.8"), 2, "nothing to tell of; give --when"),
        (("--when", "red", "--webhook", "keys"), 2, "--webhook is http://HOST/PATH"),
        (("--when", "red", "--webhook", "http://127.0.0.1:1/secret"), 4, "of --webhook cannot be reached"),
        (("--when", "red", "--mqtt", "mqtt://me:secret@127.0.0.1:1/x"), 4, "of --mqtt cannot be used"),
        (("--when", "red", "--mqtt", "mqtt://me:secret@127.0.0.1/"), 2, "--mqtt ends in a topic"),
        (("--when", "red", "--exec", "no-such-program-1"), 2, "no program of that name to run; check --exec"),
        (("--when-list", "empty.txt"), 2, "there is no label"),
        (("--when-list", "no.txt"), 4, "no.txt"),
        (("--when-image", "no.png"), 4, "no such picture"),
    ],
)
def test_what_is_refused(
    args: tuple[str, ...], code: int, told: str, memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n")
    result = call("watch", "/dev/video987", "--encoder", "colours", "-m", memory, *args)
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert told in result.stderr
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.stderr.replace("a secret goes into", "")


def test_an_unknown_word_has_near_names(memory: Path) -> None:
    result = call("watch", "/dev/video987", "--when", "cupp", "-m", memory)
    assert (result.exit_code, "near:" in result.stderr) == (2, True), result.stderr


def test_names_that_are_kept(walk: Path, memory: Path, tmp_path: Path) -> None:
    assert call("standing", "-m", memory).exit_code == 4  # there is no memory
    (tmp_path / "names.txt").write_text("green\nblue\n")
    kept = call("standing", "-m", memory, "--encoder", "colours", "--add", "red", "--add-list", tmp_path / "names.txt")
    assert (kept.exit_code, kept.stderr) == (0, "3 names kept\n")
    assert call("standing", "-m", memory, "--encoder", "colours", "--rm", "green").stderr == "2 names kept\n"
    rows = json.loads(call("standing", "-m", memory, "--encoder", "colours", "--json").stdout)
    assert [(row["text"], row["min_probability"]) for row in rows] == [("red", None), ("blue", None)]
    done = started(walk, "--when", "blue", memory=memory)
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, err
    assert sorted(json.loads(line)["question"] for line in out.splitlines()) == ["blue", "red"]
    assert "also asked, as `vidmem standing` keeps them: red" in err
    for args, told in (
        (("--rm", "dog"), "no standing question 'dog'; there are: red, blue"),
        (("--add", "dog"), "cannot read 'dog'"),
        (("--add", "red", "--min-probability", "0.9"), "--min-probability has no meaning"),
        (("--min-probability", "0.9"), "give --add"),
    ):
        result = call("standing", "-m", memory, "--encoder", "colours", *args)
        assert (result.exit_code, told in result.stderr) == (2, True), result.stderr
    with Store.open(memory) as store:
        assert len(store.standing()) == 2


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """The first 14 s of the demo film, as a stream that can be piped: a person comes at 3 s, a cat at 8.5 s."""
    path = tmp_path / "film.ts"
    with av.open(str(FILM)) as source, av.open(str(path), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream("libx264", rate=5, options={"preset": "ultrafast", "crf": "18"})
        copy.width, copy.height, copy.pix_fmt = stream.width, stream.height, "yuv420p"
        copy.codec_context.time_base = Fraction(1, 1000)
        last = -1.0
        for frame in source.decode(stream):
            assert frame.time is not None
            if frame.time > 14:
                break
            if frame.time - last < 0.199:
                continue
            last, frame.pts, frame.time_base = frame.time, round(frame.time * 1000), Fraction(1, 1000)
            out.mux(copy.encode(frame))
        out.mux(copy.encode())
    return path


@pytest.mark.slow
def test_tiny_tells_of_what_is_in_the_film(film: Path, memory: Path) -> None:
    cat = subprocess.Popen(["cat", str(film)], stdout=subprocess.PIPE)
    names = ("--when", "cat", "--when", "person", "--when", "airplane")
    done = process("watch", "-", "--name", "cam", "--depth", 1000, *names, memory=memory, wait=False, stdin=cat.stdout)
    out, err = done.communicate(timeout=300)
    assert done.returncode == 0, err
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["question"] for event in events] == ["person", "cat"], err
    _, event = events
    assert event["probability"] >= 0.8
    assert event["crop"] is not None
    found = json.loads(call("where", "cat", "--json", "--all", "--min-probability", "0.8", "-m", memory).stdout)
    assert [row["start_ns"] for row in found["sightings"]] == [event["sighting"]["start_ns"]]
    assert set(event["sighting"]["tracks"]) <= set(found["sightings"][0]["tracks"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--mqtt", "localhost/keys"), ("--mqtt is mqtt://HOST/TOPIC", "USER:PASSWORD@", "as %40")),
        (("--mqtt", "mqtt://localhost"), ("--mqtt ends in a topic", "USER:PASSWORD@", ":PORT")),
        (("--again-after", "-1"), ("--again-after is a number of seconds",)),
    ],
)
def test_a_typo_is_told_whole(memory: Path, options: tuple[str, ...], told: tuple[str, ...]) -> None:
    """What is left out of messages for safety, users and passwords, must not take the remedy with it."""
    done = call("watch", "-", "--encoder", "colours", "-m", memory, "--when", "red", *options)
    assert done.exit_code == 2
    assert all(part in done.stderr for part in told), done.stderr
