"""Where the camera was: pose topics, transforms, and what lies between two samples."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from media.make_logs import START, STEP, Log, add_odometry, add_pose, add_transform, header, times

from vidmem.media import open_source
from vidmem.records import Trail
from vidmem.timecode import NS

HALF = math.sqrt(0.5)
QUARTER = (0.0, 0.0, HALF, HALF)
"""A quarter turn to the left around z."""


def trail(log: Log) -> Trail | None:
    log.compressed("/cam", 0, START + 10 * NS)
    with open_source(f"{log.close()}#/cam") as source:
        return source.trail()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "run.mcap")


def test_a_pose_topic(log: Log) -> None:
    for i, t in enumerate(times(20)):
        add_pose(log, t, i, -i)
    found = trail(log)
    assert found is not None
    assert (found.topic, found.frame, len(found.t_ns)) == ("/pose", "map", 20)
    at = found.at(STEP * 7 + STEP // 4)
    assert at is not None
    assert (at.x, at.y, at.z) == pytest.approx((7.25, -7.25, 0))
    assert (at.qx, at.qy, at.qz, at.qw) == pytest.approx((0, 0, 0, 1))


def test_the_map_comes_before_odometry(log: Log) -> None:
    for i, t in enumerate(times(5)):
        add_odometry(log, t, 100 + i, 0)
        add_pose(log, t, i, 0, topic="/slam/pose")
        add_pose(log, t, i, 9, frame="odom", topic="/a_pose")
    found = trail(log)
    assert found is not None
    assert found.topic == "/slam/pose"


def test_odometry_alone(log: Log) -> None:
    for i, t in enumerate(times(5)):
        add_odometry(log, t, 100 + i, 0)
    found = trail(log)
    assert found is not None
    assert (found.topic, found.frame) == ("/odom", "odom")
    assert found.values[:, 0].tolist() == [100, 101, 102, 103, 104]


def test_transforms_lead_to_the_camera(log: Log) -> None:
    add_transform(log, START, "base", "camera", (1, 0, 0.5), topic="/tf_static")
    for i, t in enumerate(times(5)):
        add_pose(log, t, 50, 50)
        add_transform(log, t, "map", "odom", (10, 0, 0))
        add_transform(log, t, "odom", "base", (i, 0, 0), QUARTER)
    found = trail(log)
    assert found is not None
    assert (found.topic, found.frame) == ("tf", "map")
    at = found.at(4 * STEP)
    assert at is not None
    assert (at.x, at.y, at.z) == pytest.approx((10 + 4, 1, 0.5))  # one metre ahead, which is left
    assert (at.qx, at.qy, at.qz, at.qw) == pytest.approx(QUARTER)


def test_transforms_that_never_move_or_go_in_circles_are_no_pose(log: Log) -> None:
    add_transform(log, START, "base", "camera", (1, 0, 0.5), topic="/tf_static")
    add_transform(log, START, "b", "a", (1, 0, 0))
    add_transform(log, START, "a", "b", (1, 0, 0))
    assert trail(log) is None


def test_foxglove_transforms(log: Log) -> None:
    from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform

    for i, t in enumerate(times(3)):
        link = FrameTransform(parent_frame_id="map", child_frame_id="camera")
        link.timestamp.FromNanoseconds(t)
        link.translation.x, link.rotation.w = i, 1
        log.protobuf("/tf", link, t)
    found = trail(log)
    assert found is not None
    assert found.values[:, 0].tolist() == [0, 1, 2]


def test_ten_poses_a_second_are_kept(log: Log) -> None:
    for i in range(1000):
        add_pose(log, START + i * 2_000_000, i, 0)
    found = trail(log)
    assert found is not None
    assert len(found.t_ns) == 20


def test_poses_that_are_no_numbers_are_left_out(log: Log) -> None:
    for i, t in enumerate(times(4)):
        add_pose(log, t, math.nan if i == 2 else i, 0)
    found = trail(log)
    assert found is not None
    assert found.values[:, 0].tolist() == [0, 1, 3]


def test_poses_by_the_clock_of_the_header(log: Log) -> None:
    for i, t in enumerate(times(3)):
        log.compressed("/cam", i, t, stamp=5 * NS + i * STEP)
        value = {
            "header": header(5 * NS + i * STEP, "map"),
            "pose": {"position": {"x": i, "y": 0, "z": 0}, "orientation": {"x": 0, "y": 0, "z": 0, "w": 1}},
        }
        log.ros2("/pose", "geometry_msgs/msg/PoseStamped", __import__("media.make_logs").make_logs.POSE, value, t)
    with open_source(f"{log.close()}#header:/cam") as source:
        found = source.trail()
        assert found is not None
        assert found.t_ns.tolist() == [0, STEP, 2 * STEP]


def test_a_log_without_poses(log: Log) -> None:
    assert trail(log) is None


def test_between_samples() -> None:
    t = np.array([0, NS, 10 * NS], np.int64)
    turn = [HALF, HALF]
    values = np.array([[0, 0, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, *(-v for v in turn)], [9, 0, 0, 0, 0, *turn]], np.float64)
    found = Trail("/pose", "map", t, values)
    middle = found.at(NS // 2)
    assert middle is not None
    assert middle.x == pytest.approx(1)
    assert abs(middle.qz) == pytest.approx(math.sin(math.pi / 8))  # the short way round
    near = found.at(2 * NS)
    assert near is not None
    assert near.x == 2  # too far apart to lie between
    assert found.at(5 * NS) is None
    assert found.at(-3 * NS) is None
    assert Trail("/pose", "map", t[:0], values[:0]).at(0) is None
