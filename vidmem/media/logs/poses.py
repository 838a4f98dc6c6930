"""Where the camera or the robot was: poses from PoseStamped, Odometry, foxglove.PoseInFrame, or from tf.

The best poses of a log are taken: the camera's own pose through tf, if a chain of transforms leads from its frame to a
root and some of them move; else a pose topic, in the frame map, then odom, then others, by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import UsageError
from ...records import Trail
from ...timecode import NS
from ..base import Damage
from .base import Gap, LogReader, Message, MessageKind, seconds_nanoseconds, stamp_ns

CELL_NS = NS // 10
"""One pose is kept in each span of this many ns, the first."""
MAX_POSES = 1_500_000
"""Maximum number of poses that are kept, of 41 hours; what comes after is left out."""
_MAX_FRAMES = 10_000  # of coordinates, in the tree of transforms
TF = "tf"
"""The name for the transforms of all topics."""
_RANKS = {"map": 0, "odom": 1}
_MAX_LINKS = 64  # of a chain; more are a loop

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
"""x, y, z, w."""
Rigid = tuple[Vector, Quaternion]


def rotate(q: Quaternion, v: Vector) -> Vector:
    """Rotate a vector by a unit quaternion."""
    x, y, z, w = q
    tx, ty, tz = 2 * (y * v[2] - z * v[1]), 2 * (z * v[0] - x * v[2]), 2 * (x * v[1] - y * v[0])
    return (v[0] + w * tx + y * tz - z * ty, v[1] + w * ty + z * tx - x * tz, v[2] + w * tz + x * ty - y * tx)


def compose(a: Rigid, b: Rigid) -> Rigid:
    """The transform that applies b, then a."""
    (ta, (x, y, z, w)), (tb, (i, j, k, r)) = a, b
    turned = rotate(a[1], tb)
    q = (
        w * i + x * r + y * k - z * j,
        w * j - x * k + y * r + z * i,
        w * k + x * j - y * i + z * r,
        w * r - x * i - y * j - z * k,
    )
    return (ta[0] + turned[0], ta[1] + turned[1], ta[2] + turned[2]), q


@dataclass(slots=True)
class _Samples:
    frame: str = ""
    times: list[int] = field(default_factory=list)
    values: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, t_ns: int, frame: str, pose: Rigid) -> None:
        """Add a pose if it is the first of its cell, later than those before, and in the same frame.

        Of several at the same time, as with transforms, the last one is kept: it has the most links.
        """
        numbers = (*pose[0], *pose[1])
        if not all(map(math.isfinite, numbers)):
            return
        if not self.times:
            self.frame = frame
        elif frame == self.frame and t_ns == self.times[-1]:
            self.values[-1] = numbers
            return
        elif frame != self.frame or t_ns // CELL_NS <= self.times[-1] // CELL_NS:
            return
        if len(self.times) >= MAX_POSES:
            return
        self.times.append(t_ns)
        self.values.append(numbers)


@dataclass(slots=True)
class _Tree:
    """The transforms so far: child -> (parent, transform, whether it moves)."""

    links: dict[str, tuple[str, Rigid, bool]] = field(default_factory=dict)

    def pose(self, frame: str) -> tuple[str, Rigid] | None:
        """The root above `frame` and the pose of the frame in it; None if nothing between them moves."""
        pose: Rigid = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
        moves = False
        for _ in range(_MAX_LINKS):
            if frame not in self.links:
                return (frame, pose) if moves else None
            frame, link, moving = self.links[frame]
            pose, moves = compose(link, pose), moves or moving
        return None


def read_trail(reader: LogReader, camera: str, *, header: bool, zero_ns: int, topic: str | None = None) -> Trail | None:
    """Read the poses of a log, on a source's clock; None if it has none.

    Args:
        reader: The log.
        camera: frame_id of the pictures.
        header: Times are stamps, else log times.
        zero_ns: Subtracted from times.
        topic: Take the poses of this topic, or TF, instead of the best ones.

    Raises:
        UsageError: the log has no poses in that topic, or none that can be read.
    """
    wanted = _wanted(reader, topic)
    if not wanted:
        return None
    tree, by_tf, topics = _Tree(), _Samples(), dict[str, _Samples]()
    camera = camera.lstrip("/")
    for item in reader.messages(wanted, reader.start_ns, Damage()):
        if isinstance(item, Gap):
            continue
        try:
            value = item.decode()
            if item.kind is MessageKind.POSE:
                t_ns, frame, pose = _pose(item, value, header)
                topics.setdefault(item.topic, _Samples()).add(t_ns - zero_ns, frame, pose)
            elif item.kind is MessageKind.TRANSFORMS:
                t_ns = _add_transforms(tree, item, value, header)
                if (found := tree.pose(camera)) is not None:
                    by_tf.add(t_ns - zero_ns, *found)
        except Exception:  # one pose of ten a second is lost; a damaged chunk is counted with the pictures
            continue
    if by_tf.times:
        return _trail(TF, by_tf)
    if topic is not None and not any(samples.times for samples in topics.values()):
        cause = f"no transforms lead to its camera's frame {camera!r}" if topic == TF else "none of them can be read"
        raise UsageError(f"there are no poses in {topic}: {cause}; choose another `pose`: {reader.path}")
    named = [(name, samples) for name, samples in topics.items() if samples.times]
    if not named:
        return None
    return _trail(*min(named, key=lambda pair: (_RANKS.get(pair[1].frame, len(_RANKS)), pair[0])))


def _wanted(reader: LogReader, topic: str | None) -> list[str]:
    """Names of the topics to read for the wanted poses."""
    posed = {t.name: t.kinds for t in reader.topics() if t.kinds & {MessageKind.POSE, MessageKind.TRANSFORMS}}
    if topic is None:
        return list(posed)
    if topic == TF:
        found = [name for name, kinds in posed.items() if MessageKind.TRANSFORMS in kinds]
    else:
        found = [name for name, kinds in posed.items() if name == topic and MessageKind.POSE in kinds]
    if not found:
        known = [name for name, kinds in posed.items() if MessageKind.POSE in kinds]
        known += [TF] if any(MessageKind.TRANSFORMS in kinds for kinds in posed.values()) else []
        raise UsageError(
            f"there are no poses in {topic!r}; there are in: {', '.join(known) or 'no topic'}: {reader.path}"
        )
    return found


def _trail(topic: str, samples: _Samples) -> Trail:
    return Trail(topic, samples.frame, np.array(samples.times, np.int64), np.array(samples.values, np.float64))


def _pose(message: Message, value: Any, header: bool) -> tuple[int, str, Rigid]:
    pose = value.pose
    pose = getattr(pose, "pose", pose)  # with covariance
    frame = value.header.frame_id if hasattr(value, "header") else value.frame_id
    return (
        _time(message, stamp_ns(value), header),
        str(frame).lstrip("/"),
        (_vector(pose.position), _quaternion(pose.orientation)),
    )


def _add_transforms(tree: _Tree, message: Message, value: Any, header: bool) -> int:
    """Add the message's transforms to the tree, and return the time of the last one."""
    t_ns = message.log_ns
    moving = not message.topic.endswith("tf_static")
    for link in _links(value):
        if hasattr(link, "header"):  # ROS
            parent, child, stamp = link.header.frame_id, link.child_frame_id, stamp_ns(link)
            rigid = _vector(link.transform.translation), _quaternion(link.transform.rotation)
        else:
            parent, child = link.parent_frame_id, link.child_frame_id
            stamp = seconds_nanoseconds(link.timestamp)
            rigid = _vector(link.translation), _quaternion(link.rotation)
        name = str(child).lstrip("/")
        if name in tree.links or len(tree.links) < _MAX_FRAMES:
            tree.links[name] = (str(parent).lstrip("/"), rigid, moving)
        t_ns = _time(message, stamp, header)
    return t_ns


def _links(value: Any) -> Iterator[Any]:
    yield from getattr(value, "transforms", None) or ([value] if hasattr(value, "child_frame_id") else [])


def _time(message: Message, stamp: int | None, header: bool) -> int:
    return stamp if header and stamp is not None else message.log_ns


def _vector(value: Any) -> Vector:
    return float(value.x), float(value.y), float(value.z)


def _quaternion(value: Any) -> Quaternion:
    x, y, z, w = float(value.x), float(value.y), float(value.z), float(value.w)
    length = math.sqrt(x * x + y * y + z * z + w * w)
    if not length:
        return 0.0, 0.0, 0.0, 1.0  # all zeros: never set
    return x / length, y / length, z / length, w / length
