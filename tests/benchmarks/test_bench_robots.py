"""The benchmarks for robots: the log they write is what it says, and their sums are right."""

from __future__ import annotations

from pathlib import Path

import fakes
import numpy as np
import pytest

from benchmarks import adaptive, biglog, live
from vidmem.media import open_source
from vidmem.timecode import NS


def test_the_large_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    video = fakes.squares(tmp_path / "walk.mp4", [("red", 0, 4, 8)], 4)
    facts = biglog.write_log(tmp_path / "big.mcap", video, 6e6, packed=False)
    seconds = facts["seconds_of_log"]
    assert facts["bytes"] >= 6e6
    assert facts["messages"] == {
        biglog.RAW: seconds,
        biglog.JPEG: seconds,
        biglog.LASER: 5 * seconds,
        biglog.POSE: 10 * seconds,
    }
    with open_source(video) as source:
        first = next(iter(source.frames(1))).image
    with open_source(f"{tmp_path / 'big.mcap'}#{biglog.RAW}") as source:
        frames = list(source.frames(0))
        assert [frame.t_ns for frame in frames] == [i * NS for i in range(seconds)]
        assert np.array_equal(frames[0].image, first)
        trail = source.trail()
        assert trail is not None
        assert (trail.topic, trail.frame) == (biglog.POSE, "map")
        assert not source.damage
    with open_source(f"{tmp_path / 'big.mcap'}#{biglog.JPEG}") as source:
        assert len(list(source.frames(0))) == seconds


def row(encoded: int, right: list[bool], false: list[bool]) -> dict[str, object]:
    return {
        "frames": 10,
        "encoded": encoded,
        "calls": encoded // 2,
        "seconds": 1.0 * encoded,
        "right": right,
        "false": false,
    }


def test_both_ways_are_compared_over_all_rows() -> None:
    plain, sparing = adaptive.WAYS
    rows = [
        {plain: row(10, [True, True], [False]), sparing: row(2, [True, False], [False])},
        {plain: row(10, [True, False], [False]), sparing: row(3, [True, False], [True])},
    ]
    out = adaptive.compare(rows)
    assert (out["frames"], out["encoded"], out["times_fewer"]) == ([20, 20], [20, 5], 4.0)
    assert (out["right_rate"], out["loss"], out["false_rate"]) == ([0.75, 0.5], 0.25, [0.0, 0.5])


def test_a_part_of_a_source_is_what_lies_between(tmp_path: Path) -> None:
    video = fakes.squares(tmp_path / "walk.mp4", [("red", 0, 4, 8)], 4)
    with open_source(video) as source:
        part = adaptive.Part(source, 1, 2)
        assert [frame.t_ns for frame in part.frames(5)] == [i * NS // 5 for i in range(5, 10)]
        assert part.info.fingerprint != source.info.fingerprint
        assert part.trail() is None


@pytest.mark.parametrize(("points", "wanted"), [([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)], 2.0), ([(1.0, 4.0)], 0.0)])
def test_slope(points: list[tuple[float, float]], wanted: float) -> None:
    assert live.slope(points) == pytest.approx(wanted)
