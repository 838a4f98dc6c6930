"""Logs of robots, their messages, and LeRobot datasets."""

from __future__ import annotations

import json
import shutil
import struct
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from ..mutate import binary, either, json_tree, text
from ..target import Ready, Target

PICTURES = 12
"""Pictures of a log that are decoded."""


def look(path: Path) -> None:
    """Read a log as `vidmem index` does: its topics, the pictures of each, one picture, and the poses."""
    from vidmem.address import Address
    from vidmem.errors import VidmemError
    from vidmem.media import open_source
    from vidmem.media.base import Damage
    from vidmem.media.logs import open_log

    with open_log(str(path)) as reader:
        topics = reader.topics()
        for message, _ in zip(reader.messages([t.name for t in topics], 0, Damage()), range(50), strict=False):
            if hasattr(message, "decode"):
                with suppress(Exception):  # by its contract it may raise anything; those who call it know
                    message.decode()
    refused: list[VidmemError] = []
    shown = [topic for topic in topics if topic.pictures][:4]
    for topic in shown:
        for clock in ("log", "header"):
            try:
                with open_source(Address(str(path), topic.name, clock)) as source:
                    for _ in zip(source.frames(0), range(PICTURES), strict=False):
                        pass
                    source.frame_at(150_000_000)
                    source.trail()
            except VidmemError as error:
                refused.append(error)
    if refused and len(refused) == 2 * len(shown):
        raise refused[0]


def log_file(folder: Path, name: str) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        path = folder / name
        path.write_bytes(data)
        look(path)

    return run


def _logs(folder: Path) -> list[Path]:
    from mcap.writer import CompressionType
    from media import make_logs

    def poses(log: Any, t: int, _: float) -> None:
        make_logs.add_odometry(log, t, 0.5, 0.25)
        make_logs.add_transform(log, t, "odom", "camera", (0, 0, 1))

    small = make_logs.Log(folder / "mixed.mcap", chunk_size=400, compression=CompressionType.LZ4)
    for i, t in enumerate(make_logs.times(3)):
        poses(small, t, 0)
        make_logs.add_pose(small, t, i, 2)
        small.image("/raw", "bgr8", np.full((4, 6, 3), 9, np.uint8), t, pad=2)
        small.compressed("/cam/front", i, t)
    small.close()
    make_logs.ros2_compressed(folder / "zstd.mcap", 3)
    make_logs.ros2_compressed(folder / "plain.mcap", 3, compression=CompressionType.NONE)
    make_logs.foxglove(folder / "json.mcap", 2, "CompressedImage", "json")
    make_logs.foxglove(folder / "protobuf.mcap", 2, "CompressedImage", "protobuf")
    make_logs.video(folder / "video.mcap", 4, "libx264")
    return sorted(folder.glob("*.mcap"))


MCAP_WORDS = [
    b"\x89MCAP0\r\n", *(bytes([opcode]) for opcode in range(1, 16)), b"zstd", b"lz4", b"cdr", b"ros2msg", b"json",
    b"\xff" * 8, b"\x7f" + b"\xff" * 7, struct.pack("<Q", 1 << 63), struct.pack("<Q", 1 << 40),
]  # fmt: skip


def mcap(folder: Path) -> Ready:
    """MCAP files with an index."""
    seeds = folder / "seeds"
    seeds.mkdir()
    return Ready(log_file(folder, "a.mcap"), [path.read_bytes() for path in _logs(seeds)])


def mcap_walk(folder: Path) -> Ready:
    """MCAP files without an index, as a recorder that was killed leaves them, or without chunks."""
    from media import make_logs

    seeds = folder / "seeds"
    seeds.mkdir()
    found = []
    for number, chunks in enumerate((True, False)):
        log = make_logs.Log(seeds / f"{number}.mcap", chunk_size=1500, use_chunking=chunks)
        for i, t in enumerate(make_logs.times(3)):
            log.compressed("/cam/front", i, t)
        found.append(log.crash().read_bytes())
    found += [path.read_bytes()[:-200] for path in _logs(seeds)]
    return Ready(log_file(folder, "a.mcap"), found)


def messages(folder: Path) -> Ready:
    """Messages in ROS 2's CDR: the fields are changed, the log around them is sound."""
    from mcap_ros2._dynamic import serialize_dynamic
    from media import make_logs

    cdr: dict[int, tuple[str, str, dict[str, Any]]] = {
        0: ("sensor_msgs/msg/CompressedImage", make_logs.COMPRESSED,
            {"header": make_logs.header(make_logs.START), "format": "png", "data": make_logs.encoded(1)}),
        1: ("sensor_msgs/msg/Image", make_logs.IMAGE,
            {"header": make_logs.header(make_logs.START), "height": 4, "width": 6, "encoding": "bgr8",
             "is_bigendian": 0, "step": 18, "data": bytes(72)}),
        2: ("nav_msgs/msg/Odometry", make_logs.ODOMETRY,
            {"header": make_logs.header(make_logs.START, "odom"), "child_frame_id": "base",
             "pose": {"pose": make_logs.pose(1, 2), "covariance": [0.0] * 36}}),
        3: ("geometry_msgs/msg/PoseStamped", make_logs.POSE,
            {"header": make_logs.header(make_logs.START, "map"), "pose": make_logs.pose(1, 2)}),
        4: ("tf2_msgs/msg/TFMessage", make_logs.TF,
            {"transforms": [{"header": make_logs.header(make_logs.START, "map"), "child_frame_id": "camera",
                             "transform": {"translation": {"x": 1.0, "y": 0.0, "z": 0.0},
                                           "rotation": {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0}}}]}),
    }  # fmt: skip
    made = [bytes([i]) + serialize_dynamic(name, text)[name](value) for i, (name, text, value) in cdr.items()]

    def run(data: bytes) -> None:
        kind, body = (data[0] % len(cdr), data[1:]) if data else (0, b"")
        name, definition, _ = cdr[kind]
        log = make_logs.Log(folder / "a.mcap")
        for i, t in enumerate(make_logs.times(2)):
            log.compressed("/cam", i, t)
            log.add("/x", name, "cdr", "ros2msg", definition.encode(), body, t)
        look(log.close())

    return Ready(run, made)


def json_log(folder: Path) -> tuple[Callable[[bytes], Path], list[bytes]]:
    """A function that writes a log with a message in every schema of Foxglove, and sound messages."""
    from media import make_logs

    stamp = {"sec": 1_700_000_000, "nsec": 5}
    still = {
        "timestamp": stamp,
        "frame_id": "camera",
        "format": "png",
        "data": b64encode(make_logs.encoded(1)).decode(),
    }
    raw = {"timestamp": stamp, "frame_id": "c", "encoding": "rgb8", "width": 4, "height": 2, "step": 12,
           "data": b64encode(bytes(24)).decode()}  # fmt: skip
    ros = {"header": {"stamp": {"sec": 1, "nanosec": 2}, "seq": 7, "frame_id": "c"}, **raw}
    pose = {"timestamp": "2026-01-31T08:30:12.5Z", "frame_id": "map", "pose": make_logs.pose(1, 2)}
    link = {"timestamp": stamp, "parent_frame_id": "map", "child_frame_id": "camera",
            "translation": {"x": 1, "y": 2, "z": 3}, "rotation": {"x": 0, "y": 0, "z": 0, "w": 1}}  # fmt: skip
    video = {"timestamp": stamp, "frame_id": "c", "format": "h264", "data": b64encode(b"\0\0\x01\x65abc").decode()}
    schemas = ["CompressedImage", "RawImage", "PoseInFrame", "FrameTransform", "FrameTransforms", "CompressedVideo"]

    def write(data: bytes) -> Path:
        log = make_logs.Log(folder / "a.mcap")
        for i, t in enumerate(make_logs.times(2)):
            log.json("/cam", "foxglove.CompressedImage", still, t)
            for schema in schemas:
                log.add(f"/{schema}", f"foxglove.{schema}", "json", "jsonschema", b"{}", data, t + i)
        return log.close()

    return write, [json.dumps(one).encode() for one in (still, raw, ros, pose, link, {"transforms": [link]}, video)]


def json_messages(folder: Path) -> Ready:
    """Messages in JSON, as Foxglove writes them, for pictures, video and poses."""
    write, seeds = json_log(folder)
    return Ready(lambda data: look(write(data)), seeds)


def protobuf_messages(folder: Path) -> Ready:
    """Messages in protobuf: bytes of the message or of its schema are changed."""
    from mcap_protobuf.schema import build_file_descriptor_set
    from media import make_logs

    bodies = [
        make_logs._message("CompressedImage", make_logs.START, make_logs.encoded(1), {"format": "png"}),
        make_logs._message(
            "RawImage", make_logs.START, bytes(24), {"width": 4, "height": 2, "encoding": "rgb8", "step": 12}
        ),
        make_logs._message(
            "CompressedVideo", make_logs.START, make_logs.video_packets(1, "libx264")[0], {"format": "h264"}
        ),
    ]
    names = [one.DESCRIPTOR.full_name for one in bodies]
    made = []
    for i, one in enumerate(bodies):
        schema = build_file_descriptor_set(type(one)).SerializeToString()
        made.append(struct.pack("<BI", i, len(schema)) + schema + one.SerializeToString())

    def run(data: bytes) -> None:
        number, length = struct.unpack("<BI", data[:5].ljust(5, b"\0"))
        schema, body = data[5 : 5 + length], data[5 + length :]
        log = make_logs.Log(folder / "a.mcap")
        for i, t in enumerate(make_logs.times(2)):
            log.compressed("/cam", i, t)
            log.add("/x", names[number % len(names)], "protobuf", "protobuf", schema, body, t)
        look(log.close())

    return Ready(run, made)


def _bag(folder: Path, kind: str) -> Path:
    from media import make_logs

    return make_logs.bag(folder / (f"seed-{kind}" + (".bag" if kind == "ros1" else "")), 3, kind)


def rosbag2(folder: Path) -> Ready:
    """rosbag2 folders: metadata.yaml, and the database."""
    first = _bag(folder, "sqlite3")
    bag = folder / "bag"
    shutil.copytree(first, bag)
    (database,) = bag.glob("*.db3")
    sound = {path: path.read_bytes() for path in (bag / "metadata.yaml", database)}

    def run(data: bytes) -> None:
        chosen = database if data[:6] == b"SQLite" else bag / "metadata.yaml"
        for path, content in sound.items():
            path.write_bytes(data if path == chosen else content)
        look(bag)

    return Ready(run, list(sound.values()))


def rosbag1(folder: Path) -> Ready:
    """ROS 1 bags."""
    return Ready(log_file(folder, "a.bag"), [_bag(folder, "ros1").read_bytes()])


def rrd(folder: Path) -> Ready:
    """Recordings of Rerun."""
    import rerun as rr
    from media import make_logs

    made = []
    for static in (False, True):
        path = folder / f"seed-{static}.rrd"
        stream = rr.RecordingStream("fuzz", recording_id="a")
        stream.save(path)
        for i in range(3):
            stream.set_time("time", timestamp=1_700_000_000 + i / 10)
            if static:
                stream.log("raw", rr.Image(np.full((4, 6, 3), 9, np.uint8)))
            else:
                stream.log("cam", rr.EncodedImage(contents=make_logs.encoded(i), media_type="image/png"))
        stream.flush()
        stream.disconnect()
        made.append(path.read_bytes())
    return Ready(log_file(folder, "a.rrd"), made)


def _dataset(folder: Path, version: int) -> Path:
    """A dataset of one short episode."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from media import make

    top = folder / f"v{version}"
    number = "{episode_index}" if version == 2 else "{chunk_index}-{file_index}"
    data, video = f"data/{number}.parquet", f"videos/{{video_key}}/{number}.mp4"
    for part in ("meta/episodes", "data", "videos/top"):
        (top / part).mkdir(parents=True)
    info = {
        "codebase_version": f"v{version}.0", "fps": 10, "chunks_size": 1000, "data_path": data, "video_path": video,
        "features": {"top": {"dtype": "video", "shape": [32, 32, 3]}, "action": {"dtype": "float32"}},
    }  # fmt: skip
    (top / "meta/info.json").write_text(json.dumps(info))
    (top / "meta/episodes.jsonl").write_text('{"episode_index": 0, "length": 4}\n')
    rows = {"timestamp": np.arange(4) / 10, "frame_index": np.arange(4), "episode_index": np.zeros(4, np.int64)}
    stem = "0" if version == 2 else "0-0"
    pq.write_table(pa.table(rows), top / f"data/{stem}.parquet")
    episodes = {"episode_index": [0], "length": [4], "data/chunk_index": [0], "data/file_index": [0]}
    episodes |= {"videos/top/chunk_index": [0], "videos/top/file_index": [0], "videos/top/from_timestamp": [0.0]}
    pq.write_table(pa.table(episodes), top / "meta/episodes/0.parquet")
    make.video(top / f"videos/top/{stem}.mp4", range(4), make.Fraction(1, 10), size=(32, 32))
    return top


def open_dataset(top: Path) -> None:
    """Read a dataset as `vidmem index` does."""
    from vidmem.address import Address
    from vidmem.media import discover, open_source
    from vidmem.media.parts import parts

    discover([str(top)])
    for address in parts(Address(str(top)), ["*"])[:3]:
        with open_source(address) as source:
            for _ in zip(source.frames(0), range(10), strict=False):
                pass
            source.frame_at(150_000_000)


def lerobot_json(folder: Path) -> Ready:
    """LeRobot's info.json and episodes.jsonl."""
    tops = {version: _dataset(folder, version) for version in (2, 3)}
    sound = {v: (top / "meta/info.json").read_bytes() for v, top in tops.items()}
    lines = b'{"episode_index": 0, "length": 4}\n{"episode_index": 1}\n'

    def run(data: bytes) -> None:
        listed = data.startswith(b'{"episode_index"')
        version = 2 if listed or b'"v2' in data else 3
        (tops[version] / "meta/info.json").write_bytes(sound[version] if listed else data)
        (tops[version] / "meta/episodes.jsonl").write_bytes(data if listed else lines)
        open_dataset(tops[version])

    return Ready(run, [*sound.values(), lines.split(b"\n")[0]])


def lerobot_tables(folder: Path) -> Ready:
    """LeRobot's Parquet tables: of the rows, and of the episodes."""
    top = _dataset(folder, 3)
    files = [top / "data/0-0.parquet", top / "meta/episodes/0.parquet"]
    sound = [path.read_bytes() for path in files]

    def run(data: bytes) -> None:
        chosen = int(b"from_timestamp" in data)
        for i, path in enumerate(files):
            path.write_bytes(data if i == chosen else sound[i])
        open_dataset(top)

    return Ready(run, sound)


def lerobot_values(folder: Path) -> Ready:
    """Values in LeRobot's tables: the Parquet is sound, what it says is not."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    top = _dataset(folder, 3)
    files = [top / "data/0-0.parquet", top / "meta/episodes/0.parquet"]
    sound = [path.read_bytes() for path in files]
    tables = [pq.read_table(path).to_pydict() for path in files]

    def run(data: bytes) -> None:
        try:
            given = json.loads(data)
            made = pa.table({name: pa.array(values) for name, values in given.items()})
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError, pa.ArrowException):
            return
        chosen = int("timestamp" not in given)
        for i, path in enumerate(files):
            path.write_bytes(sound[i])
        try:
            pq.write_table(made, files[chosen])
        except pa.ArrowException:  # a type that Parquet does not have
            return
        open_dataset(top)

    return Ready(run, [json.dumps(table).encode() for table in tables])


YAML = text(
    [
        "version:",
        "files:",
        "path:",
        "- ",
        "\n",
        "  ",
        "&a",
        "*a",
        "!!python/object:os.system",
        "[",
        "{",
        "sqlite3",
        "zstd",
    ]
)


def sqlite_or_yaml(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """The metadata as text, or the database as bytes."""
    yaml, database = seeds[0], next(s for s in seeds if s[:6] == b"SQLite")
    return YAML(rng, [yaml]) if rng.random() < 0.6 else b"SQLite" + binary()(rng, [database])[6:]


ROBOTS = ("mcap", "mcap_ros2", "mcap_protobuf", "rosbags", "pyarrow")
TARGETS = [
    Target("mcap", mcap, binary(MCAP_WORDS), 0.6, needs=ROBOTS),
    Target("mcap-without-index", mcap_walk, binary(MCAP_WORDS), 0.6, needs=ROBOTS),
    Target(
        "cdr-messages",
        messages,
        binary([b"\0\1\0\0", b"png\0", b"bgr8\0", b"mono16\0", b"\xff\xff\xff\x7f"]),
        0.5,
        needs=ROBOTS,
    ),
    Target(
        "json-messages",
        json_messages,
        json_tree(["data", "format", "timestamp", "sec", "nsec", "header"]),
        0.4,
        needs=ROBOTS,
    ),
    Target(
        "protobuf-messages", protobuf_messages, binary([b"\x0a", b"\x12", b"\xff\xff\xff\xff\x07"]), 0.5, needs=ROBOTS
    ),
    Target("rosbag2", rosbag2, sqlite_or_yaml, 0.3, needs=ROBOTS),
    Target(
        "rosbag1",
        rosbag1,
        binary([b"#ROSBAG V2.0\n", b"op=", b"conn=", b"size=", b"chunk_pos=", b"bz2", b"lz4"]),
        0.4,
        needs=ROBOTS,
    ),
    # Its SDK takes what the metadata of a message claim, and that is a number of 31 bits; see SECURITY.md.
    Target("rerun", rrd, binary([b"RRF2", b"ARROW1"]), 0.3, megabytes=2200, needs=("rerun",)),
    Target(
        "lerobot-json",
        lerobot_json,
        either(
            json_tree(["fps", "data_path", "video_path", "features", "dtype"]),
            text(["{", "}", "{episode_index:9999999d}", "{0}", "..", "/"]),
        ),
        0.4,
        needs=ROBOTS,
    ),
    Target("lerobot-tables", lerobot_tables, binary([b"PAR1"]), 0.3, needs=ROBOTS),
    Target(
        "lerobot-values", lerobot_values, json_tree(["timestamp", "frame_index", "episode_index"]), 0.3, needs=ROBOTS
    ),
]
