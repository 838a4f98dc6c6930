"""Memory use for a large log: `python -m benchmarks.biglog --out FILE.json [--gb 5]`.

Writes an MCAP of raw camera pictures (sensor_msgs/Image, one a second), JPEG pictures of a second camera, a laser's
blobs and poses, as recorders write them (chunks of 4 MB, not packed, or zstd with --packed), then indexes one topic in
a process of its own, which tells the most memory that it held. Wanted: 1 GB at most, however large the log. With
--times a log of so many times the size is indexed too, to see whether memory grows.
"""

from __future__ import annotations

import io
import os
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.common import OUT, machine, model, parser_for, say, skip, table, write_json
from benchmarks.growth import index_apart
from benchmarks.speed import SEED
from benchmarks.worlds import ensure
from vidmem.media import open_source
from vidmem.timecode import NS

TARGETS = {"peak_rss": 1.0e9}
START_NS = 1_700_000_000 * NS
RAW, JPEG, LASER, POSE = "/cam/raw", "/cam/jpeg", "/laser", "/pose"
HEADER = (
    "=" * 80
    + """
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
"""
)
SCHEMAS = {
    "sensor_msgs/msg/Image": "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\n"
    "uint8 is_bigendian\nuint32 step\nuint8[] data\n" + HEADER,
    "sensor_msgs/msg/CompressedImage": "std_msgs/Header header\nstring format\nuint8[] data\n" + HEADER,
    "geometry_msgs/msg/PoseStamped": "std_msgs/Header header\ngeometry_msgs/Pose pose\n"
    + "=" * 80
    + "\nMSG: geometry_msgs/Pose\ngeometry_msgs/Point position\n"
    "geometry_msgs/Quaternion orientation\n"
    + "=" * 80
    + "\nMSG: geometry_msgs/Point\nfloat64 x\nfloat64 y\nfloat64 z\n"
    + "=" * 80
    + "\nMSG: geometry_msgs/Quaternion\nfloat64 x\nfloat64 y\nfloat64 z\nfloat64 w\n"
    + HEADER,
    "example_msgs/msg/Blob": "std_msgs/Header header\nuint8[] data\n" + HEADER,
}
LASER_BYTES = 500_000


class Cdr:
    """A message in little-endian CDR, with its encapsulation header."""

    def __init__(self, t_ns: int, frame: str) -> None:
        self._out = bytearray()
        self.pack("iI", t_ns // NS, t_ns % NS).text(frame)

    def pack(self, form: str, *values: float) -> Cdr:
        for letter, value in zip(form, values, strict=True):
            step = struct.calcsize(letter)
            self._out += bytes(-len(self._out) % step) + struct.pack(f"<{letter}", value)
        return self

    def text(self, value: str) -> Cdr:
        self.pack("I", len(value) + 1)
        self._out += value.encode() + b"\0"
        return self

    def data(self, value: bytes) -> bytes:
        """The whole message, with these bytes at its end."""
        self.pack("I", len(value))
        return b"\0\1\0\0" + bytes(self._out) + value

    def done(self) -> bytes:
        return b"\0\1\0\0" + bytes(self._out)


def pictures(video: Path) -> Iterator[Image.Image]:
    """Pictures of a walk, repeated from the start without end."""
    while True:
        with open_source(video) as source:
            for frame in source.frames(1):
                yield Image.fromarray(frame.image)


def write_log(path: Path, video: Path, size: float, packed: bool) -> dict[str, Any]:
    """Write an MCAP of at least `size` bytes, holding only a few messages in memory."""
    from mcap.writer import CompressionType, Writer

    blob = os.urandom(LASER_BYTES)
    counts = dict.fromkeys((RAW, JPEG, LASER, POSE), 0)
    written, second, began = 0, 0, time.perf_counter()
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=4 << 20, compression=CompressionType.ZSTD if packed else CompressionType.NONE)
        writer.start(profile="ros2")
        ids = {name: writer.register_schema(name, "ros2msg", text.encode()) for name, text in SCHEMAS.items()}
        channels = {
            topic: writer.register_channel(topic, "cdr", schema)
            for topic, schema in zip((RAW, JPEG, POSE, LASER), ids.values(), strict=True)
        }

        def add(topic: str, t_ns: int, data: bytes) -> None:
            nonlocal written
            counts[topic] += 1
            written += len(data)
            writer.add_message(channels[topic], t_ns, data, t_ns, counts[topic])

        for picture in pictures(video):
            t_ns = START_NS + second * NS
            raw = Cdr(t_ns, "camera").pack("II", picture.height, picture.width).text("rgb8")
            add(RAW, t_ns, raw.pack("BI", 0, 3 * picture.width).data(picture.tobytes()))
            out = io.BytesIO()
            picture.save(out, "JPEG", quality=85)
            add(JPEG, t_ns + NS // 3, Cdr(t_ns, "camera2").text("jpeg").data(out.getvalue()))
            for step in range(5):
                add(LASER, t_ns + NS // 2 + step, Cdr(t_ns, "laser").data(blob))
            for step in range(10):
                at = t_ns + NS * 6 // 10 + step * NS // 100
                pose = Cdr(at, "map").pack("ddddddd", second + step / 10, 0, 0, 0, 0, 0, 1)
                add(POSE, at, pose.done())
            second += 1
            if written >= size:
                break
        writer.finish()
    return {
        "bytes": path.stat().st_size,
        "seconds_of_log": second,
        "messages": counts,
        "written_in_s": round(time.perf_counter() - began, 1),
    }


def bench(folder: Path, video: Path, gb: float, topic: str, packed: bool) -> dict[str, Any]:
    log = folder / "big.mcap"
    try:
        facts = write_log(log, video, gb * 1e9, packed)
        say(f"wrote {facts['bytes'] / 1e9:.2f} GB in {facts['written_in_s']:.0f} s")
        run = index_apart(Path(f"{log}#{topic}"), folder / "memory")
    finally:
        log.unlink(missing_ok=True)
    return facts | {"topic": topic, "index": run, "mb_per_s": facts["bytes"] / 1e6 / run["seconds"]}


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--gb", type=float, default=5, help="size of the log in GB (5)")
    parser.add_argument("--times", type=float, help="index a log of so many times the size too")
    parser.add_argument("--topic", default=RAW, choices=(RAW, JPEG), help="the one to index (/cam/raw)")
    parser.add_argument("--packed", action="store_true", help="chunks packed with zstd; laser and JPEG stay as large")
    parser.add_argument("--folder", type=Path, help="where the log is written, and deleted (the folder for such files)")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for the video (benchmarks/out)")
    args = parser.parse_args()
    sizes = [args.gb] + ([args.gb * args.times] if args.times else [])
    result: dict[str, Any] = {"machine": machine(), "model": model(), "targets": TARGETS, "packed": args.packed}
    with tempfile.TemporaryDirectory(prefix="vidmem-biglog-", dir=args.folder) as name:
        free = shutil.disk_usage(name).free
        if free < max(sizes) * 1.2e9:
            return skip(args.out, result, f"{free / 1e9:.1f} GB are free in {name}, {max(sizes) * 1.2:.1f} are needed")
        video = ensure(args.cache, None, SEED, 120).video
        result["logs"] = [bench(Path(name), video, gb, args.topic, args.packed) for gb in sizes]
    peaks = [log["index"]["peak_rss"] for log in result["logs"]]
    result["peak_rss"], result["met"] = max(peaks), {"peak_rss": max(peaks) <= TARGETS["peak_rss"]}
    if len(peaks) > 1:
        result["growth"] = peaks[-1] / peaks[0]
    result["load_after"] = os.getloadavg()
    write_json(args.out, result)
    print(
        table(
            ["log", "GB", "messages", "frames", "indexed in s", "MB/s", "peak RSS, MB", "wanted"],
            [
                [
                    log["topic"],
                    log["bytes"] / 1e9,
                    sum(log["messages"].values()),
                    log["index"]["frames"],
                    log["index"]["seconds"],
                    log["mb_per_s"],
                    log["index"]["peak_rss"] / 1e6,
                    "<= 1000",
                ]
                for log in result["logs"]
            ],
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
