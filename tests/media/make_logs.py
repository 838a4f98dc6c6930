"""Small logs whose pictures say which frame they are, made with the libraries' own writers when the tests run."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import fakes
import numpy as np
from mcap.writer import CompressionType, Writer
from media import make
from PIL import Image

START = 1_700_000_000_000_000_000
"""log time of the first message, ns since the epoch."""
STEP = 100_000_000
SKEW = 40_000_000
"""The stamp is this much before the log time."""

HEADER = """
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
"""
COMPRESSED = "std_msgs/Header header\nstring format\nuint8[] data\n" + HEADER
IMAGE = (
    """std_msgs/Header header
uint32 height
uint32 width
string encoding
uint8 is_bigendian
uint32 step
uint8[] data
"""
    + HEADER
)
ODOMETRY = (
    """std_msgs/Header header
string child_frame_id
geometry_msgs/PoseWithCovariance pose
================================================================================
MSG: geometry_msgs/PoseWithCovariance
geometry_msgs/Pose pose
float64[36] covariance
"""
    + """================================================================================
MSG: geometry_msgs/Pose
geometry_msgs/Point position
geometry_msgs/Quaternion orientation
================================================================================
MSG: geometry_msgs/Point
float64 x
float64 y
float64 z
================================================================================
MSG: geometry_msgs/Quaternion
float64 x
float64 y
float64 z
float64 w
"""
    + HEADER
)
POSE = (
    "std_msgs/Header header\ngeometry_msgs/Pose pose\n"
    + ODOMETRY[ODOMETRY.index("=" * 80 + "\nMSG: geometry_msgs/Pose\n") :]
)
TF = (
    """geometry_msgs/TransformStamped[] transforms
================================================================================
MSG: geometry_msgs/TransformStamped
std_msgs/Header header
string child_frame_id
geometry_msgs/Transform transform
================================================================================
MSG: geometry_msgs/Transform
geometry_msgs/Vector3 translation
geometry_msgs/Quaternion rotation
================================================================================
MSG: geometry_msgs/Vector3
float64 x
float64 y
float64 z
================================================================================
MSG: geometry_msgs/Quaternion
float64 x
float64 y
float64 z
float64 w
"""
    + HEADER
)


def header(t_ns: int, frame: str = "camera") -> dict[str, Any]:
    return {"stamp": {"sec": t_ns // 10**9, "nanosec": t_ns % 10**9}, "frame_id": frame}


def encoded(number: int, form: str = "PNG", size: tuple[int, int] = (make.WIDTH, make.HEIGHT)) -> bytes:
    out = io.BytesIO()
    Image.fromarray(make.picture(number, *size)).save(out, form, quality=95)
    return out.getvalue()


class Log:
    """An MCAP file being written. Small chunks, so that few messages are in each."""

    def __init__(
        self, path: Path, *, chunk_size: int = 2000, compression: CompressionType = CompressionType.ZSTD, **options: Any
    ) -> None:
        self.path = path
        self._file = path.open("wb")
        self.writer = Writer(self._file, chunk_size=chunk_size, compression=compression, **options)
        self.writer.start(profile="ros2")
        self._schemas: dict[str, int] = {}
        self._channels: dict[tuple[str, str, str], int] = {}
        self._counts: dict[str, int] = {}

    def add(
        self, topic: str, schema: str, encoding: str, schema_encoding: str, definition: bytes, data: bytes, t_ns: int
    ) -> None:
        if schema not in self._schemas:
            self._schemas[schema] = self.writer.register_schema(schema, schema_encoding, definition) if schema else 0
        key = (topic, schema, encoding)
        if key not in self._channels:
            self._channels[key] = self.writer.register_channel(topic, encoding, self._schemas[schema])
        count = self._counts[topic] = self._counts.get(topic, 0) + 1
        self.writer.add_message(self._channels[key], t_ns, data, t_ns, sequence=1000 + count)

    def ros2(self, topic: str, schema: str, definition: str, value: dict[str, Any], t_ns: int) -> None:
        from mcap_ros2._dynamic import serialize_dynamic

        data = serialize_dynamic(schema, definition)[schema](value)
        self.add(topic, schema, "cdr", "ros2msg", definition.encode(), data, t_ns)

    def compressed(self, topic: str, number: int, t_ns: int, stamp: int | None = None, **more: Any) -> None:
        value = {
            "header": header(t_ns - SKEW if stamp is None else stamp),
            "format": "png",
            "data": encoded(number),
            **more,
        }
        self.ros2(topic, "sensor_msgs/msg/CompressedImage", COMPRESSED, value, t_ns)

    def image(
        self, topic: str, encoding: str, pixels: np.ndarray[Any, Any], t_ns: int, pad: int = 0, **more: Any
    ) -> None:
        height, width = pixels.shape[:2]
        rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(height, -1)
        rows = np.pad(rows, ((0, 0), (0, pad)), constant_values=77)
        value = {
            "header": header(t_ns - SKEW),
            "height": height,
            "width": width,
            "encoding": encoding,
            "is_bigendian": 0,
            "step": rows.shape[1],
            "data": rows.tobytes(),
            **more,
        }
        self.ros2(topic, "sensor_msgs/msg/Image", IMAGE, value, t_ns)

    def protobuf(self, topic: str, message: Any, t_ns: int) -> None:
        from mcap_protobuf.schema import build_file_descriptor_set

        definition = build_file_descriptor_set(type(message)).SerializeToString()
        self.add(
            topic, message.DESCRIPTOR.full_name, "protobuf", "protobuf", definition, message.SerializeToString(), t_ns
        )

    def json(self, topic: str, schema: str, value: dict[str, Any], t_ns: int) -> None:
        self.add(topic, schema, "json", "jsonschema", b"{}", json.dumps(value).encode(), t_ns)

    def close(self) -> Path:
        self.writer.finish()
        self._file.close()
        return self.path

    def crash(self) -> Path:
        """As a recorder that is killed leaves it: no footer, the open chunk lost."""
        self.writer.flush()
        self._file.close()
        return self.path


def times(n: int) -> list[int]:
    return [START + STEP * i for i in range(n)]


def ros2_compressed(path: Path, n: int, **options: Any) -> Path:
    log = Log(path, **options)
    for i, t in enumerate(times(n)):
        log.compressed("/cam/front", i, t)
    return log.close()


def foxglove(path: Path, n: int, schema: str, encoding: str) -> Path:
    """CompressedImage or RawImage, protobuf or json."""
    log = Log(path)
    for i, t in enumerate(times(n)):
        stamp, data = t - SKEW, encoded(i) if schema == "CompressedImage" else make.picture(i).tobytes()
        raw = {"width": make.WIDTH, "height": make.HEIGHT, "encoding": "rgb8", "step": 3 * make.WIDTH}
        fields: dict[str, Any] = {"format": "png"} if schema == "CompressedImage" else raw
        if encoding == "json":
            time = {"sec": stamp // 10**9, "nsec": stamp % 10**9}
            log.json(
                "/cam",
                f"foxglove.{schema}",
                {"timestamp": time, "frame_id": "camera", "data": b64encode(data).decode(), **fields},
                t,
            )
        else:
            log.protobuf("/cam", _message(schema, stamp, data, fields), t)
    return log.close()


def _message(schema: str, stamp: int, data: bytes, fields: dict[str, Any]) -> Any:
    from importlib import import_module

    kind = getattr(import_module(f"foxglove_schemas_protobuf.{schema}_pb2"), schema)
    message = kind(frame_id="camera", data=data, **fields)
    message.timestamp.FromNanoseconds(stamp)
    return message


def video_packets(n: int, codec: str, gop: int = 10) -> list[bytes]:
    """One Annex B picture per item, a keyframe with its parameter sets every `gop`."""
    make.require_encoder(codec)
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = make.WIDTH, make.HEIGHT, "yuv420p"
    context.time_base = context.framerate = Fraction(1, 10)
    context.framerate = Fraction(10)
    quiet = ":log-level=none:repeat-headers=1" if codec == "libx265" else ""
    params = "x265-params" if codec == "libx265" else "x264-params"
    context.options = {
        "g": str(gop),
        "bf": "0",
        "tune": "zerolatency",
        "crf": "10",
        params: f"bframes=0:keyint={gop}:scenecut=0:repeat-headers=1{quiet}",
    }
    out: list[bytes] = []
    for i in range(n):
        frame = av.VideoFrame.from_ndarray(make.picture(i), "rgb24").reformat(format="yuv420p")
        frame.pts = i
        out += [bytes(packet) for packet in context.encode(frame)]
    out += [bytes(packet) for packet in context.encode(None)]
    assert len(out) == n
    return out


def video(
    path: Path,
    n: int,
    codec: str,
    drop: Sequence[int] = (),
    change: Callable[[int, bytes], bytes] | None = None,
    chunk_size: int = 2000,
) -> Path:
    """foxglove.CompressedVideo in protobuf. drop: messages left out. change: what is written for a message."""
    log = Log(path, chunk_size=chunk_size)
    name = "h264" if codec == "libx264" else "h265"
    for i, (t, data) in enumerate(zip(times(n), video_packets(n, codec), strict=True)):
        if i not in drop:
            data = change(i, data) if change else data
            log.protobuf("/cam", _message("CompressedVideo", t - SKEW, data, {"format": name}), t)
    return log.close()


def scene(
    path: Path,
    squares: fakes.Scene,
    seconds: float,
    topics: Sequence[str] = ("/cam/front",),
    fps: int = 10,
    poses: Callable[[Log, int, float], None] | None = None,
    close: bool = True,
) -> Path:
    """Coloured squares, as `fakes.squares` has them, in sensor_msgs/msg/CompressedImage on each topic. poses: called
    with the log, the log time and the seconds before each picture."""
    log = Log(path, chunk_size=20_000)
    for number in range(round(seconds * fps)):
        t = START + number * 10**9 // fps
        if poses:
            poses(log, t, number / fps)
        image = np.full((fakes.HEIGHT, fakes.WIDTH, 3), fakes.GROUND, np.uint8)
        for colour, start, end, x in squares:
            if start <= number / fps < end:
                image[32:64, x : x + 32] = fakes.COLOURS[colour]
        out = io.BytesIO()
        Image.fromarray(image).save(out, "PNG")
        for topic in topics:
            log.compressed(topic, 0, t, data=out.getvalue())
    return log.close() if close else log.crash()


def pose(x: float, y: float, z: float = 0.0) -> dict[str, Any]:
    return {"position": {"x": x, "y": y, "z": z}, "orientation": {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0}}


def add_pose(log: Log, t: int, x: float, y: float, frame: str = "map", topic: str = "/pose") -> None:
    value = {"header": header(t, frame), "pose": pose(x, y)}
    log.ros2(topic, "geometry_msgs/msg/PoseStamped", POSE, value, t)


def add_odometry(log: Log, t: int, x: float, y: float, frame: str = "odom") -> None:
    value = {
        "header": header(t, frame),
        "child_frame_id": "base",
        "pose": {"pose": pose(x, y), "covariance": [0.0] * 36},
    }
    log.ros2("/odom", "nav_msgs/msg/Odometry", ODOMETRY, value, t)


def add_transform(
    log: Log,
    t: int,
    parent: str,
    child: str,
    xyz: tuple[float, float, float],
    q: tuple[float, float, float, float] = (0, 0, 0, 1),
    topic: str = "/tf",
) -> None:
    transform = {
        "translation": dict(zip("xyz", map(float, xyz), strict=True)),
        "rotation": dict(zip("xyzw", map(float, q), strict=True)),
    }
    link = {"header": header(t, parent), "child_frame_id": child, "transform": transform}
    log.ros2(topic, "tf2_msgs/msg/TFMessage", TF, {"transforms": [link]}, t)


def bag(path: Path, n: int, kind: str) -> Path:
    """A rosbag2 folder (kind sqlite3 or mcap; file or message for a packed one) or a ROS 1 bag (kind ros1) of n
    compressed pictures."""
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC if kind == "ros1" else Stores.ROS2_HUMBLE)
    types = store.types
    name = "sensor_msgs/msg/CompressedImage"

    def message(i: int, t: int) -> Any:
        stamp = types["builtin_interfaces/msg/Time"](sec=(t - SKEW) // 10**9, nanosec=(t - SKEW) % 10**9)
        seq = {"seq": 500 + i} if kind == "ros1" else {}
        head = types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera", **seq)
        return types[name](header=head, format="png", data=np.frombuffer(encoded(i), np.uint8))

    if kind == "ros1":
        from rosbags.rosbag1 import Writer as Writer1

        with Writer1(path) as writer1:
            connection1 = writer1.add_connection("/cam/front", name, typestore=store)
            for i, t in enumerate(times(n)):
                writer1.write(connection1, t, store.serialize_ros1(message(i, t), name))
        return path
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
    from rosbags.rosbag2 import Writer as Writer2

    plugin = StoragePlugin.MCAP if kind == "mcap" else StoragePlugin.SQLITE3
    writer2 = Writer2(path, version=9, storage_plugin=plugin)
    if kind in ("file", "message"):
        writer2.set_compression(CompressionMode[kind.upper()], CompressionFormat.ZSTD)
    with writer2:
        connection2 = writer2.add_connection("/cam/front", name, typestore=store)
        for i, t in enumerate(times(n)):
            writer2.write(connection2, t, store.serialize_cdr(message(i, t), name))
    return path
