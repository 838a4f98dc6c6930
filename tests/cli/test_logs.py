"""Logs from end to end: topics, clocks, answers in the terms of the log, exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from media import make, make_logs
from media.make_logs import SKEW, START, STEP, Log, add_pose, times

from vidmem.memory import Memory
from vidmem.timecode import NS

from .conftest import Run

SQUARES = [("red", 0, 3, 8), ("blue", 1, 6, 60), ("red", 8, 11, 112)]
DAY = "2023-11-14 22:13:"
"""Of START, which is 20 s past."""


def drive(log: Log, t: int, seconds: float) -> None:
    add_pose(log, t, seconds / 2, 0.4)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_logs.scene(tmp_path_factory.mktemp("logs") / "run.mcap", SQUARES, 12, poses=drive)


@pytest.fixture
def log(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / "run.mcap"))


def index(run: Run, *args: object) -> Any:
    return run("index", *args, "--encoder", "colours")


def test_index_and_ask(run: Run, log: Path) -> None:
    result = index(run, log)
    assert result.exit_code == 0, result.stderr
    answer = run("where", "red", "--json")
    (sighting,) = json.loads(answer.stdout)["sightings"]
    assert sighting["source"] == f"{log}#/cam/front"
    assert (sighting["start_s"], sighting["end_s"]) == pytest.approx((8, 10.8))
    last = sighting["last"]
    assert (last["topic"], last["clock"]) == ("/cam/front", "log")
    assert int(last["time_ns"]) == int(last["log_ns"]) == START + int(sighting["end_ns"])
    assert int(last["stamp_ns"]) == int(last["log_ns"]) - SKEW
    assert last["sequence"] == 1001 + round(sighting["end_s"] * 10)
    assert last["pose"]["frame"] == "map"
    assert (last["pose"]["x"], last["pose"]["y"]) == pytest.approx((5.4, 0.4))
    assert 4 <= sighting["seen"]["pose"]["x"] <= 5.4
    table = run("where", "red").stdout
    assert f"{DAY}30.800 UTC, message 1109, at x=5.4 y=0.4 map" in table


def test_answers_need_no_log(run: Run, log: Path) -> None:
    index(run, log)
    log.unlink()
    (sighting,) = json.loads(run("where", "blue", "--json").stdout)["sightings"]
    assert sighting["last"]["topic"] == "/cam/front"
    result = run("where", "blue", "--save", log.parent / "sheet.png")
    assert result.exit_code == 4
    assert "no longer there" in result.stderr
    assert json.loads(run("info", "run.mcap", "--json").stdout)["at_hand"] is False


def test_pictures_and_clips_of_a_log(run: Run, log: Path) -> None:
    index(run, log)
    sheet, clip = log.parent / "sheet.png", log.parent / "clip.mp4"
    assert run("where", "blue", "--save", sheet, "--clip", clip).exit_code == 0
    assert sheet.stat().st_size > 1000
    assert clip.stat().st_size > 1000


def test_a_box_by_time_since_the_epoch(run: Run, log: Path) -> None:
    index(run, log)
    when = START + 9 * NS
    for name in ("run.mcap", "run.mcap#/cam/front", log):
        answer = json.loads(run("where", "--crop", f"{name}@{when}ns:112,32,32,32", "--json").stdout)
        assert answer["sightings"][0]["start_s"] == pytest.approx(8)


def test_the_clock_of_the_header(run: Run, log: Path) -> None:
    assert index(run, log, "--clock", "header").exit_code == 0
    (sighting,) = json.loads(run("where", "red", "--json").stdout)["sightings"]
    assert sighting["source"] == f"{log}#header:/cam/front"
    last = sighting["last"]
    assert last["clock"] == "header"
    assert int(last["time_ns"]) == int(last["stamp_ns"]) == START - SKEW + int(sighting["end_ns"])
    assert int(last["log_ns"]) == int(last["stamp_ns"]) + SKEW


def test_several_topics_take_turns(run: Run, tmp_path: Path) -> None:
    log = Log(tmp_path / "run.mcap", chunk_size=20_000)
    log.close()
    front = make_logs.scene(tmp_path / "front.mcap", [("red", 0, 2, 8), ("red", 8, 10, 8)], 12, ["/front"])
    rear = make_logs.scene(tmp_path / "rear.mcap", [("red", 4, 6, 8), ("red", 11, 12, 8)], 12, ["/rear"])
    assert index(run, front, rear).exit_code == 0
    found = json.loads(run("where", "red", "--all", "--json").stdout)["sightings"]
    assert [s["last"]["topic"] for s in found] == ["/rear", "/front", "/rear", "/front"]


def test_topics_are_chosen(run: Run, tmp_path: Path) -> None:
    path = make_logs.scene(tmp_path / "run.mcap", SQUARES, 2, ["/cam/front", "/cam/rear"])
    result = index(run, path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "/cam/front (sensor_msgs/msg/CompressedImage, 20 messages), /cam/rear" in result.stderr
    assert index(run, path, "--topic", "/cam/left").exit_code == 2
    assert index(run, path, "--clock", "sun").exit_code == 2
    assert index(run, path, "--topic", "/cam/*").exit_code == 0
    assert len(json.loads(run("ls", "--json").stdout)) == 2
    again = index(run, path, "--topic", "/cam/front", "--topic", "/cam/rear")
    assert "2 sources indexed before, skipped" in again.stderr
    result = run("info", "run.mcap")
    assert result.exit_code == 2
    assert "2 sources are called 'run.mcap'" in result.stderr
    assert run("rm", "run.mcap#/cam/rear", "--yes").exit_code == 0
    with Memory.open(read_only=True) as m:
        (row,) = m.sources()
        assert row.uri == f"{path}#/cam/front"


def test_a_log_that_breaks_off_is_partly_done(run: Run, tmp_path: Path) -> None:
    path = make_logs.scene(tmp_path / "run.mcap", SQUARES, 6, poses=drive, close=False)
    result = index(run, path)
    assert result.exit_code == 3
    assert "not closed properly" in result.stderr
    assert json.loads(run("where", "blue", "--json").stdout)["found"]


def _mixed(log: Log) -> Path:
    for i, t in enumerate(times(20)):
        if i % 2:
            log.image("/cam", "bgr8", make.picture(i), t)
        else:
            log.compressed("/cam", i, t, format="16UC1; compressedDepth png" if i == 8 else "png")
    return log.close()


def _jumping(log: Log) -> Path:
    for i, t in enumerate(times(20)):
        log.compressed("/cam", i, t, stamp=t - 5 * STEP if 10 <= i < 13 else t)
    return log.close()


def _doubled(log: Log) -> Path:
    for i, t in enumerate(times(20)):
        log.compressed("/cam", i, t, stamp=times(20)[9] if i == 10 else t)
    return log.close()


def _cut(log: Log) -> Path:
    path = _mixed(log)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


def _unknown(log: Log) -> Path:
    for i, t in enumerate(times(20)):
        log.compressed("/cam", i, t)
    log.json("/cam", "my_msgs/Temperature", {"celsius": 20}, times(21)[20])
    return log.close()


@pytest.mark.parametrize(
    ("write", "options", "frames", "told"),
    [
        (
            _mixed,
            (),
            19,
            "1 packets or frames left out of run.mcap /cam: a depth picture (16UC1; compressedDepth png) has",
        ),
        (_jumping, ("--clock", "header"), 17, "the clock of /cam jumps back; try --clock log"),
        (_doubled, ("--clock", "header"), 19, "pictures in /cam with the same time as the one before; try --clock log"),
        (_cut, (), None, "the log was not closed properly (no index at its end); it is read as far as it goes"),
        (_unknown, (), 20, "messages of schema my_msgs/Temperature in /cam are not pictures"),
    ],
)
def test_bad_logs_are_partly_done(
    run: Run, tmp_path: Path, write: Any, options: tuple[str, ...], frames: int | None, told: str
) -> None:
    result = index(run, write(Log(tmp_path / "run.mcap")), "--fps", "all", "--json", *options)
    assert result.exit_code == 3
    assert told in result.stderr, result.stderr
    (row,) = json.loads(result.stdout)
    assert row["damaged"] >= 1
    assert row["frames"] == frames or (frames is None and 0 < row["frames"] < 20)
    again = index(run, tmp_path / "run.mcap", *options)  # as damaged as it was
    assert again.exit_code == 3


def test_the_pose_is_taken_from_the_topic_that_is_chosen(run: Run, tmp_path: Path) -> None:
    log = Log(tmp_path / "run.mcap")
    for i, t in enumerate(times(10)):
        log.compressed("/cam", i, t)
        add_pose(log, t, i, 0)
        add_pose(log, t, 100 + i, 0, topic="/other")
    path = log.close()

    def topic() -> str:
        with Memory.open(read_only=True) as m:
            trail = m.store.trail(m.sources()[0].id)
            assert trail is not None
            return trail.topic

    wrong = index(run, path, "--pose", "/odom")
    assert wrong.exit_code == 2
    assert "there are no poses in '/odom'; there are in: /other, /pose" in wrong.stderr
    with Memory.open(read_only=True) as m:
        assert m.sources() == []
    assert index(run, path, "--pose", "/pose").exit_code == 0
    assert topic() == "/pose"
    again = index(run, path, "--pose", "/other")  # done before: only the poses are read anew
    assert (again.exit_code, topic()) == (0, "/other")
    assert "1 source indexed before, skipped" in again.stderr
    assert index(run, path, "--pose", "tf").exit_code == 2


def test_poses_of_a_video_fail(run: Run, walk: Path) -> None:
    result = index(run, walk, "--pose", "/pose")
    assert result.exit_code == 2
    assert "the source has no poses, only logs have" in result.stderr


def test_a_log_without_pictures_fails_beside_one_that_has_some(run: Run, log: Path, tmp_path: Path) -> None:
    other = Log(tmp_path / "other.mcap")
    other.json("/chatter", "std_msgs/String", {"data": ""}, START)
    result = index(run, other.close(), log)
    assert result.exit_code == 3
    assert "other.mcap" in result.stderr
    assert index(run, tmp_path / "other.mcap").exit_code == 4


def test_topics_of_a_video_fail(run: Run, walk: Path) -> None:
    result = index(run, walk, "--topic", "/cam")
    assert result.exit_code == 2
    assert "--topic is for logs" in result.stderr


def test_nothing_of_a_log_stays_behind(run: Run, log: Path) -> None:
    index(run, log)
    assert run("rm", "run.mcap", "--yes").exit_code == 0
    with Memory.open(read_only=True) as m, m.store._use() as conn:
        for table in ("marks", "trails", "sources", "tracks", "regions"):
            assert conn.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_interrupted_and_resumed_is_the_same(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vidmem.config import IndexConfig

    config = IndexConfig(checkpoint_frames=8)
    dumps = []
    for name, stop in (("whole", None), ("parts", 24)):
        with Memory.open(tmp_path / name, encoder="colours") as m:
            seen = 0

            def progress(t_ns: int, frames: int, stop: int | None = stop) -> None:
                if stop is not None and frames >= stop:
                    raise KeyboardInterrupt

            if stop is not None:
                with pytest.raises(KeyboardInterrupt):
                    m.index(log, config=config, on_source=lambda path, source: progress)
                seen = m.sources()[0].frames
                assert 0 < seen < 60
            m.index(log, config=config)
            (row,) = m.sources()
            trail = m.store.trail(row.id)
            assert trail is not None
            dumps.append(
                (
                    m.store.marks(row.id, 0, 1 << 62),
                    row.frames,
                    row.damaged,
                    trail.t_ns.tolist(),
                    [(t.ordinal, t.start_ns, t.end_ns) for t in m.store.source_tracks(row.id)],
                )
            )
    assert dumps[0] == dumps[1]
    assert len(dumps[0][0]) == 60


def test_a_log_keeps_its_clock(run: Run, log: Path) -> None:
    refused = index(run, log, "--recorded", "name")
    assert refused.exit_code == 2
    assert f"a log source has a clock of its own, which its times are on; leave it as it is: {log}" in refused.stderr
    assert index(run, log).exit_code == 0
    (row,) = json.loads(run("ls", "--json").stdout)
    assert (row["start_ns"], row["recorded_by"]) == (str(START), "log")
    assert run("recorded", "run.mcap", "yesterday").exit_code == 2
    sighting = json.loads(run("where", "red", "--json").stdout)["sightings"][0]
    assert (sighting["recorded_by"], sighting["recorded"][:4]) == ("log", "2023")
    crop = f"{log}@{START + 9 * NS}ns:112,32,32,32"  # in the log's own terms
    assert run("where", "--crop", crop).exit_code == 0
