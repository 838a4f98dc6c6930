"""`vidmem watch`: a stream on stdin, and what is refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import fakes
import pytest

from vidmem.media.camera import plain_name

from .conftest import Run, process


def test_a_stream_on_stdin(run: Run, tmp_path: Path) -> None:
    path = fakes.squares(tmp_path / "walk.ts", [("red", 0, 2, 8), ("blue", 1, 4, 60)], 4)
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as cat:  # a pipe, since a file is paced
        done = process(
            "watch",
            "-",
            "--name",
            "cam0",
            "--encoder",
            "colours",
            "--depth",
            "1000",
            memory=tmp_path / "memory",
            wait=False,
            stdin=cat.stdout,
            stdout=subprocess.PIPE,
        )
        out, err = done.communicate(timeout=400)
    assert (done.returncode, out) == (0, ""), err
    assert "cam0: 40 frames received, 20 indexed, 0 dropped" in err
    (row,) = json.loads(run("ls", "--json", "-m", tmp_path / "memory").stdout)
    assert (row["source"], row["kind"], row["state"]) == ("cam0", "live", "done")
    (sighting,) = json.loads(run("where", "red", "--json", "-m", tmp_path / "memory").stdout)["sightings"]
    assert (sighting["start_s"], sighting["end_s"]) == pytest.approx((0, 1.8), abs=0.01)


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("rtsp://user:secret@camera.local/stream",), 2, "only with --network"),
        (("gopher://camera.local/stream", "--network"), 2, "no such kind of address; there are rtsp"),
        (("/dev/video987",), 4, "cannot be opened"),
        (("/dev/video0", "--drop", "some"), 2, "--drop is oldest or newest"),
        (("/dev/video0", "--depth", "0"), 2, "a depth above 0"),
    ],
)
def test_what_is_refused(run: Run, args: tuple[str, ...], code: int, told: str) -> None:
    result = run("watch", *args, "--encoder", "colours")
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr
    assert "secret" not in result.stderr


def test_what_is_no_video_fails(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "text.ts"
    path.write_text("not a video\n" * 100)
    result = run("watch", path, "--encoder", "colours")
    assert result.exit_code == 4
    assert result.stderr.count("\n") == 1


def test_playlists_are_not_followed(tmp_path: Path) -> None:
    video = fakes.squares(tmp_path / "walk.ts", [("red", 0, 1, 8)], 1)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{video}\n#EXT-X-ENDLIST\n"
    done = process("watch", "-", "--encoder", "colours", memory=tmp_path / "memory", wait=False, stdin=subprocess.PIPE)
    out, err = done.communicate(playlist, timeout=400)
    assert (done.returncode, out) == (4, "")
    assert "the source cannot be opened" in err


def test_names_hide_passwords() -> None:
    assert plain_name("rtsp://user:secret@camera.local/stream") == "rtsp://camera.local/stream"
    assert plain_name("rtsp://camera.local/a@b") == "rtsp://camera.local/a@b"
    assert plain_name("-") == "stdin"
    assert plain_name("/dev/video0") == "/dev/video0"
