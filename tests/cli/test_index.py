from __future__ import annotations

import json
import os
import pty
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import fakes
import pytest

from vidmem.config import IndexConfig
from vidmem.errors import StoreError
from vidmem.store import Store
from vidmem.store.files import DATABASE_NAME

from .conftest import SCENE, Run, process

COLOURS = ("--encoder", "colours")


def tracks(folder: Path) -> list[Any]:
    with Store.open(folder) as store:
        return [
            (t.ordinal, t.start_ns, t.end_ns, t.frames, t.visual.tobytes(), t.text.tobytes(), t.best_ns, t.best_box)
            for row in store.sources()
            for t in store.source_tracks(row.id)
        ]


def frames(folder: Path) -> int:
    try:
        with Store.open(folder) as store:
            return sum(row.frames for row in store.sources())
    except StoreError:
        return 0  # not made yet


@pytest.fixture
def short(tmp_path: Path) -> Path:
    return fakes.squares(tmp_path / "short.mp4", [("red", 0, 2, 8)], 2)


def test_index_ends_with_a_summary(run: Run, walk: Path, short: Path, tmp_path: Path) -> None:
    result = run("index", walk, short, *COLOURS)
    assert (result.exit_code, result.stdout) == (0, "")
    done, spared, memory, knows = result.stderr.splitlines()
    assert done.startswith("indexed 2 sources: 70 frames in ")
    assert re.search(r" s \(\d+\.\d fps, \d+\.\dx real time\), 5 tracks$", done)
    assert (n := re.fullmatch(r"encoded (\d+) frames in \d+ calls; (\d+) showed nothing new", spared))
    assert int(n[1]) + int(n[2]) == 70
    assert int(n[2]) > 35
    assert re.fullmatch(r"memory: 2 sources, 5 tracks, [\d.]+ kB, [\d.]+ MB per hour of video", memory)
    assert knows == (
        "`colours` knows eight colours by name; for any phrase: `vidmem reembed --encoder clip` "
        "(its weights: `vidmem models pull clip`)"
    )
    assert run("where", "red").exit_code == 0


def test_what_each_source_came_to_as_json(run: Run, walk: Path, short: Path, tmp_path: Path) -> None:
    run("index", short, *COLOURS)
    result = run("index", walk, short, "--json")
    assert result.exit_code == 0
    long, again = json.loads(result.stdout)
    assert (long["source"], long["frames"], long["new_frames"], long["tracks"]) == (str(walk), 60, 60, 4)
    assert long["encoded"] + long["still"] == 60
    assert 0 < long["encoder_calls"] <= long["encoded"] < 30
    assert (again["skipped"], again["frames"], again["new_frames"], again["encoder_calls"]) == (True, 10, 0, 0)
    assert run("index", walk, "--json", "--csv").exit_code == 2


def test_every_frame_is_encoded_when_asked_for(run: Run, short: Path, tmp_path: Path) -> None:
    for options in (("--every-frame",), ("--preset", "paper")):
        folder = tmp_path / options[-1]
        (row,) = json.loads(run("index", short, *COLOURS, *options, "--json", "-m", folder).stdout)
        assert (row["frames"], row["encoded"], row["still"]) == (10, 10, 0)
    (row,) = json.loads(run("index", short, *COLOURS, "--json", "-m", tmp_path / "new").stdout)
    assert row["still"] >= 8
    (row,) = json.loads(
        run("index", short, *COLOURS, "--preset", "paper", "--skip-still", "--json", "-m", tmp_path / "both").stdout
    )
    assert row["still"] >= 8


def test_done_is_skipped(run: Run, short: Path, walk: Path) -> None:
    run("index", short, *COLOURS)
    again = run("index", short)
    assert again.exit_code == 0
    assert again.stderr.startswith("1 source indexed before, skipped\nmemory: 1 source, ")
    more = run("index", short, walk)
    assert more.stderr.startswith("1 source indexed before, skipped\nindexed 1 source: 60 frames")


def test_fps_and_preset(run: Run, short: Path, tmp_path: Path) -> None:
    assert "20 frames" in run("index", short, "--fps", "all", *COLOURS, "-m", tmp_path / "all").stderr
    assert "4 frames" in run("index", short, "--fps", "2", *COLOURS, "-m", tmp_path / "two").stderr
    assert run("index", short, "--preset", "paper", *COLOURS, "-m", tmp_path / "paper").exit_code == 0
    with Store.open(tmp_path / "paper") as store:
        model = store.model()
        assert model is not None
        assert IndexConfig.from_dict(model.config).track.max_gap == 0


def test_a_memory_keeps_its_settings(run: Run, short: Path, walk: Path) -> None:
    run("index", short, "--fps", "2", *COLOURS)
    assert "24 frames" in run("index", walk).stderr
    other = run("index", walk, "--fps", "3")
    assert other.exit_code == 4
    assert "fps (2.0 in the memory, 3.0 asked for)" in other.stderr


@pytest.mark.parametrize(
    "args",
    [("--fps", "0"), ("--fps", "x"), ("--fps", "nan"), ("--fps", "-5"), ("--preset", "fast"), ("--decoder", "vlc")],
)
def test_bad_options_fail(run: Run, short: Path, args: tuple[str, str]) -> None:
    result = run("index", short, *COLOURS, *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert args[1] in result.stderr


def test_an_unknown_encoder_fails_with_a_hint(run: Run, short: Path, tmp_path: Path) -> None:
    result = run("index", short, "--encoder", "colour")
    assert result.exit_code == 4
    assert "did you mean 'colours'?" in result.stderr
    assert not (tmp_path / "memory").exists()


# Bad input: each with its exit code, one line, and no traceback.


def test_zero_bytes_fail(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    check_refused(run, tmp_path / "a.mp4")


def test_text_named_mp4_fails(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("dear diary\n" * 100)
    check_refused(run, tmp_path / "a.mp4")


def test_no_moov_fails(run: Run, walk: Path, tmp_path: Path) -> None:
    data = walk.read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: data.index(b"moov") - 4])
    check_refused(run, tmp_path / "a.mp4")


def test_audio_only_fails(run: Run, tmp_path: Path) -> None:
    import av
    import numpy as np

    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    check_refused(run, tmp_path / "a.mp4")


def test_a_missing_file_fails(run: Run, tmp_path: Path) -> None:
    check_refused(run, tmp_path / "a.mp4")


def check_refused(run: Run, path: Path) -> None:
    result = run("index", path, *COLOURS)
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("vidmem: ")
    assert result.stderr.count("\n") == 1
    assert result.stderr.rstrip().endswith(str(path))


def test_the_good_ones_among_bad_ones_are_indexed(run: Run, short: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").touch()
    result = run("index", tmp_path / "bad.mp4", short, tmp_path / "missing.mp4", *COLOURS)
    assert result.exit_code == 3
    lines = result.stderr.splitlines()
    assert sum(line.startswith("vidmem: ") for line in lines) == 2
    assert any("missing.mp4" in line for line in lines)
    assert any("bad.mp4" in line for line in lines)
    assert any(line.startswith("indexed 1 source") for line in lines)
    assert run("where", "red").exit_code == 0


def test_a_truncated_video_is_partly_done(run: Run, tmp_path: Path) -> None:
    path = fakes.squares(tmp_path / "cut.mp4", [("red", 0, 8, 8)], 8)
    move_index_to_front(path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2])
    result = run("index", path, *COLOURS)
    assert result.exit_code == 3
    assert re.search(r"^damaged: \d+ packets or frames left out of cut.mp4: ", result.stderr, re.MULTILINE)
    assert run("where", "red").exit_code == 0
    assert run("index", path).exit_code == 3  # it is as damaged as before


def move_index_to_front(path: Path) -> None:
    import av

    with av.open(str(path)) as source, av.open(f"{path}.mp4", "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    os.replace(f"{path}.mp4", path)


def test_a_name_that_starts_with_a_dash(run: Run, short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short.rename(short.parent / "-name.mp4")
    monkeypatch.chdir(short.parent)
    assert run("index", "-name.mp4", *COLOURS).exit_code == 2
    assert run("index", *COLOURS, "--", "-name.mp4").exit_code == 0
    assert run("info", "--", "-name.mp4").exit_code == 0


def test_an_url_fails_before_anything_is_done(run: Run, short: Path, tmp_path: Path) -> None:
    result = run("index", short, "http://example.com/a.mp4", *COLOURS)
    assert result.exit_code == 2
    assert "http://example.com/a.mp4" in result.stderr
    assert not (tmp_path / "memory").exists()


def test_another_encoders_memory_fails(run: Run, short: Path) -> None:
    run("index", short, *COLOURS)
    for command in (("index", short), ("where", "red")):
        result = run(*command, "--encoder", "tiny")
        assert (result.exit_code, result.stdout) == (4, "")
        assert "use --encoder colours" in result.stderr


def test_a_newer_memory_fails(run: Run, short: Path, copy: Path) -> None:
    with closing(sqlite3.connect(copy / DATABASE_NAME)) as conn, conn:
        conn.execute("INSERT INTO migrations VALUES (9999, 'of_the_future', 0)")
    for command in (("index", short), ("where", "red"), ("ls",), ("doctor",)):
        result = run(*command, "-m", copy)
        assert result.exit_code == 4
        assert "newer" in result.stderr


def test_a_second_writer_fails(run: Run, short: Path, copy: Path) -> None:
    with Store.open(copy, write=True):
        result = run("index", short, "-m", copy)
    assert result.exit_code == 4
    assert f"process {os.getpid()} is writing" in result.stderr


def test_a_read_only_folder_fails(run: Run, short: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("index", short, *COLOURS, "-m", tmp_path / "file")
    assert result.exit_code == 4
    assert result.stderr.count("\n") == 1


def test_a_name_that_is_no_text_is_left_out(run: Run, short: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    short.rename(folder / os.fsdecode(b"\xff.mp4"))
    fakes.squares(folder / "good.mp4", SCENE, 2)
    result = run("index", folder, *COLOURS)
    assert result.exit_code == 3
    assert "not valid UTF-8" in result.stderr
    assert "indexed 1 source" in result.stderr


# Interrupted, and watched.


def test_ctrl_c_is_resumed_to_the_same_result(
    run: Run, walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, whole, gate = tmp_path / "begun", tmp_path / "whole", tmp_path / "gate"
    monkeypatch.setenv(fakes.GATE, str(gate))
    every = ("--fps", "all", "--every-frame")
    # It cannot get to its end before the signal comes, however long a busy machine takes to send it.
    child = process("index", walk, "--encoder", "colours:gated", *every, memory=begun, wait=False)
    deadline = time.monotonic() + 120
    while frames(begun) == 0 and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    gate.touch()
    out, err = child.communicate(timeout=120)
    assert (child.returncode, out) == (130, "")
    assert err == "interrupted; finished checkpoints are kept, run the same command again to resume\n"
    assert 0 < frames(begun) < 120
    missed = run("where", "brown", "-m", begun)
    assert "1 of 1 sources are only partly indexed" in missed.stderr
    resumed = run("index", walk, *every, "-m", begun)
    assert resumed.exit_code == 0
    run("index", walk, *every, *COLOURS, "-m", whole)
    assert tracks(begun) == tracks(whole)
    asked = [json.loads(run("where", "red", "--all", "--json", "-m", folder).stdout) for folder in (begun, whole)]
    assert asked[0] == asked[1]


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)


def test_a_terminal_sees_one_bar_with_a_true_total(terminal: tuple[int, int], walk: Path, tmp_path: Path) -> None:
    ours, theirs = terminal
    other = fakes.squares(tmp_path / "b.mp4", SCENE[:1], 3)
    child = process("index", walk, other, *COLOURS, memory=tmp_path / "m", wait=False, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            seen += os.read(ours, 65536)
        except OSError:  # the other side was closed
            break
    child.communicate(timeout=30)
    assert child.returncode == 0
    text = seen.decode()
    assert "of 0:15.0" in text  # 12 s and 3 s, from the start
    assert text.count("0:15.0 of 0:15.0") >= 1
    assert "indexed 2 sources" in text
