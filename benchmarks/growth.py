"""What a memory costs as video grows: `python -m benchmarks.growth --out FILE.json [--minutes 1,4,16,60]`.

real       a film of 720p30 is indexed by `vidmem index`'s own pipeline with `tiny`: its time, peak RAM, bytes on disk
synthetic  memories of hours, written by the Store with as many tracks and regions an hour as the longest film has
both       questions of a word in a process of its own: the first answer with all that opens the memory, then the
           median of 40 more, and peak RAM; and `vidmem where` as a whole command
frames,    the same film kept as one vector a frame, or one a patch, by the same backbone (ways.py): time, peak RAM,
patches    bytes, and the time of a search for the ten best by faiss in fp16. Bytes of longer films are by count

The film is all of the real clips, scaled into 720p30, again and again; without clips a synthetic walk. Slopes are of a
line through log values over log hours; 1 is linear. Nothing may be above 1.05, but wall time, which other work on the
machine lengthens. `processor s` is the time of all threads of the process, which that moves little. Writes FILE.json,
FILE.md and FILE.png.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import (
    CLIPS,
    OUT,
    ROOT,
    machine,
    markdown,
    measured_on,
    memory_place,
    model,
    parser_for,
    put_into,
    quantile,
    say,
    slope,
    write_json,
)
from benchmarks.query_memories import FPS, Tokens, make
from benchmarks.worlds import ensure

SEED = 8900
SIZE, RATE = (1280, 720), 30
MOST_SLOPE = 1.05
WAYS = {"frames": "one vector a frame", "patches": "one vector a patch"}
COLUMNS = {
    "index_s": "index s",
    "index_cpu_s": "processor s",
    "index_rss": "peak RAM of indexing MB",
    "disk_bytes": "on disk MB",
    "first_s": "open and first answer s",
    "p50_ms": "an answer ms",
    "cold_s": "whole command s",
    "ask_rss": "peak RAM of asking MB",
}


def film(clips: Sequence[Path], out: Path) -> Path:
    """All clips one after the other, each fitted into `SIZE` at `RATE` pictures a second."""
    import av
    from PIL import Image, ImageOps

    from vidmem.media import open_source

    if out.exists():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(".part-" + out.name)
    options = {"crf": "23", "preset": "veryfast", "bf": "0", "g": str(2 * RATE)}
    with av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        number = 0
        for clip in clips:
            with open_source(clip) as source:
                began = number
                for shown in source.frames(RATE):
                    picture = av.VideoFrame.from_image(ImageOps.pad(Image.fromarray(shown.image), SIZE))
                    wanted = began + round(shown.t_ns * RATE / 1e9) + 1
                    while number < wanted:  # a slow clip shows a picture longer
                        picture.pts, picture.time_base = number, Fraction(1, RATE)
                        container.mux(stream.encode(picture))
                        number += 1
        container.mux(stream.encode())
    part.replace(out)
    return out


def looped(video: Path, out: Path, seconds: float) -> Path:
    """The compressed pictures of `video` again and again, copied, until `seconds` are full."""
    import av

    if out.exists():
        return out
    part = out.with_name(".part-" + out.name)
    with av.open(str(part), "w", format="mp4") as target, av.open(str(video)) as first:
        template = first.streams.video[0]
        stream = target.add_stream_from_template(template)
        frame = Fraction(1) / Fraction(template.average_rate or RATE)
        shift, full = 0, False
        while not full:
            with av.open(str(video)) as source:
                track = source.streams.video[0]
                assert track.time_base is not None
                step, last = round(frame / track.time_base), 0
                for packet in source.demux(track):
                    if packet.dts is None or packet.pts is None:
                        continue
                    last = max(last, packet.pts + step)
                    packet.pts += shift
                    packet.dts += shift
                    if full := float(packet.pts * track.time_base) >= seconds:
                        break
                    packet.stream = stream
                    target.mux(packet)
                shift += last
    part.replace(out)
    return out


def child(*arguments: object) -> dict[str, Any]:
    """What a process of `_child` says."""
    command = [sys.executable, "-m", "benchmarks._child", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def index_apart(video: Path, folder: Path) -> dict[str, Any]:
    """Index in a new process; return its own figures."""
    shutil.rmtree(folder, ignore_errors=True)
    said = child(video, folder)
    say(f"indexed {said['media_s']:.0f} s in {said['seconds']:.0f} s, peak {(said['peak_rss'] or 0) / 1e6:.0f} MB")
    return said


def asked(folder: Path, times: int = 5) -> dict[str, Any]:
    """What answers of this memory cost."""
    child("ask", folder)  # its files are in the system's cache from here on
    said = child("ask", folder)
    command = [sys.executable, "-m", "vidmem.cli", "where", "umbrella", "--json", "--memory", str(folder)]
    cold = []
    for _ in range(times):
        began = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, capture_output=True)
        cold.append(time.perf_counter() - began)
        if done.returncode not in (0, 1):  # 1: not found
            raise RuntimeError(done.stderr.decode()[-1000:])
    return {
        "first_s": said["first_s"],
        "p50_ms": quantile(said["ms"], 0.5),
        "p95_ms": quantile(said["ms"], 0.95),
        "cold_s": statistics.median(cold),
        "ask_rss": said["peak_rss"],
        "tracks": said["tracks"],
    }


def real(base: Path, minutes: Sequence[float], others: float, place: Path) -> list[dict[str, Any]]:
    """A row for each length. others: minutes up to which the other ways are measured too.

    Rows are kept until the whole run is complete, so one that was stopped goes on.
    """
    rows = []
    for length in minutes:
        kept_row = place / f"{length:g}-{others:g}.row.json"
        if kept_row.exists():
            rows.append(json.loads(kept_row.read_text("utf-8")))
            continue
        video = looped(base, place / f"{length:g}.mp4", 60 * length)
        said = index_apart(video, place / f"{length:g}.memory")
        row: dict[str, Any] = {
            "kind": "real",
            "hours": said["media_s"] / 3600,
            "index_s": said["seconds"],
            "index_cpu_s": said["cpu_s"],
            "index_rss": said["peak_rss"],
            "disk_bytes": said["disk_bytes"],
            "regions_a_frame": said["regions"] / said["frames"],
            **asked(place / f"{length:g}.memory"),
        }
        for way in WAYS if length <= others else ():
            kept = child(way, video, place / f"{way}.npz")
            row[way] = {"index_s": kept["seconds"], "index_rss": kept["peak_rss"], "disk_bytes": kept["disk_bytes"]}
            row[way] |= {"index_cpu_s": kept["cpu_s"], "vectors": kept["vectors"]}
            (place / f"{way}.npz").unlink()
            say(f"{way} of {length:g} minutes in {kept['seconds']:.0f} s")
        write_json(kept_row, row)
        rows.append(row)
    return rows


def synthetic(hours: Sequence[int], like: dict[str, Any], place: Path) -> list[dict[str, Any]]:
    """A row for each memory. like: the real row that says how much there is in an hour."""
    rows = []
    tracks = round(like["tracks"] / like["hours"])
    for length in hours:
        folder = place / f"{length}h-{tracks}"
        make(folder, length, [(3600 * FPS, tracks, like["regions_a_frame"])] * length)
        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        rows.append({"kind": "synthetic", "hours": float(length), "disk_bytes": size, **asked(folder)})
    return rows


def by_count(rows: Sequence[dict[str, Any]], most: float) -> None:
    """Add to each row the other ways' bytes by count, and a search of so many vectors, up to `most`."""
    import faiss

    counted = next(row for row in reversed(rows) if "frames" in row)
    for way in WAYS:
        an_hour = counted[way]["vectors"] / counted["hours"]
        for row in rows:
            one = row.setdefault(way, {"vectors": round(an_hour * row["hours"])})
            one.setdefault("disk_bytes", round(one["vectors"] * counted[way]["disk_bytes"] / counted[way]["vectors"]))
            if one["vectors"] <= most:
                one["p50_ms"] = _searched(faiss, one["vectors"])


def _searched(faiss: Any, vectors: int, dim: int = 128) -> float:
    """The median time in ms for the ten best of so many synthetic vectors."""
    rng = np.random.default_rng(0)
    tokens = Tokens(rng, np.zeros((1, 1), np.float32), dim)
    index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    for start in range(0, vectors, 1 << 16):
        index.add(tokens.draw(min(1 << 16, vectors - start))[0])
    times = []
    for question in tokens.draw(15)[0]:
        began = time.perf_counter()
        index.search(question[None], 10)
        times.append(1e3 * (time.perf_counter() - began))
    return quantile(times, 0.5)


def slopes(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The slope of each cost over the real lengths, and over the synthetic ones."""
    out = []
    for key, name in COLUMNS.items():
        found: dict[str, Any] = {"cost": name}
        for kind in ("real", "synthetic"):
            points = [(row["hours"], row[key]) for row in rows if row["kind"] == kind and key in row]
            found[kind] = slope(points) if len(points) > 1 else None
        out.append(found)
    for way in WAYS:
        points = [(row["hours"], row[way]["index_cpu_s"]) for row in rows if "index_cpu_s" in row[way]]
        out.append(
            {"cost": f"{way}: processor s", "real": slope(points) if len(points) > 1 else None, "synthetic": None}
        )
    return out


def tables(result: dict[str, Any]) -> str:
    """The tables of the documentation."""
    rows = result["rows"]
    lines: list[list[object]] = [
        [_length(row), row["kind"], row["tracks"], *(_cost(row, key) for key in COLUMNS)] for row in rows
    ]
    parts = [markdown(["video", "memory", "tracks", *COLUMNS.values()], lines)]
    lines = [[s["cost"], s["real"], s["synthetic"]] for s in result["slopes"]]
    parts.append(markdown(["slope", "real", "synthetic"], lines))
    lines = []
    for row in result["rows"]:
        for way in WAYS:
            one = row[way]
            lines.append(
                [
                    _length(row),
                    WAYS[way],
                    one["vectors"],
                    one.get("index_cpu_s"),
                    one["index_cpu_s"] / row["index_cpu_s"] if "index_cpu_s" in one else None,
                    one["disk_bytes"] / 1e6,
                    one["disk_bytes"] / row["disk_bytes"],
                    one.get("p50_ms"),
                    one["p50_ms"] / row["p50_ms"] if "p50_ms" in one else None,
                ]
            )
    head = ["video", "kept", "vectors", "processor s", "/ vidmem's", "MB on disk", "/ vidmem's", "search ms"]
    head.append("/ an answer of vidmem")
    parts.append(markdown(head, lines))
    return "\n\n".join(parts) + "\n"


def _length(row: dict[str, Any]) -> str:
    return f"{row['hours'] * 60:.0f} min" if row["hours"] < 1.5 else f"{row['hours']:.0f} h"


def _big(key: str) -> bool:
    return key.endswith(("_rss", "_bytes"))


def _cost(row: dict[str, Any], key: str) -> float | None:
    value = row.get(key)
    return None if value is None else float(value) / 1e6 if _big(key) else float(value)


def plot(path: Path, result: dict[str, Any]) -> None:
    """Four costs over hours of video."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(14, 3.4), sharex=True, layout="constrained")
    for axis, key in zip(axes, ("index_cpu_s", "index_rss", "disk_bytes", "p50_ms"), strict=True):
        for kind, mark in (("real", "o-"), ("synthetic", "s--")):
            points = [(row["hours"], _cost(row, key)) for row in result["rows"] if row["kind"] == kind and key in row]
            if points:
                axis.loglog(*zip(*points, strict=True), mark, color="#c8553d", label=f"vidmem, {kind}")
        for way, colour in zip(WAYS, ("#3d6a9e", "#4c9f70"), strict=True):
            points = [(row["hours"], _cost(row[way], key)) for row in result["rows"] if key in row[way]]
            if points:
                axis.loglog(*zip(*points, strict=True), "^-", color=colour, label=WAYS[way])
        axis.set_title(COLUMNS[key], fontsize=10)
        axis.set_xlabel("hours of video")
        axis.grid(alpha=0.25)
    rss = axes[1]
    asking = [(row["hours"], row["ask_rss"] / 1e6) for row in result["rows"]]
    rss.loglog(*zip(*asking, strict=True), "x:", color="#d9a441", label="vidmem, asking")
    for axis in axes[1:3]:
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> int:
    parser = parser_for(__doc__, "tables and a plot lie beside it")
    parser.add_argument("--minutes", default="1,4,16,60", help="lengths of the film (1,4,16,60)")
    parser.add_argument("--hours", default="2,8,24", help="lengths of the synthetic memories (2,8,24)")
    parser.add_argument("--others", type=float, default=16, help="most minutes of film for frames and patches (16)")
    parser.add_argument("--search", type=float, default=2e7, help="most vectors for their search (2e7: 5 GB of RAM)")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for films and memories (benchmarks/out)")
    parser.add_argument("--docs", type=Path, help="put tables and plot into the documentation in this folder")
    parser.add_argument("--redraw", action="store_true", help="only tables and plot, from the JSON as it is")
    args = parser.parse_args()
    if args.redraw:
        result = json.loads(args.out.read_text("utf-8"))
    else:
        result = {"machine": machine(), "model": model()}
        place = memory_place(args.cache, "growth")
        place.mkdir(parents=True, exist_ok=True)
        clips = sorted(CLIPS.glob("*.mp4")) if CLIPS.is_dir() else []
        base = film(clips, args.cache / "growth-film.mp4") if clips else ensure(args.cache, None, SEED, 120).video
        result["film"] = [clip.name for clip in clips] or "a synthetic walk"
        rows = real(base, [float(m) for m in args.minutes.split(",")], args.others, place)
        rows += synthetic([int(h) for h in args.hours.split(",") if h], rows[-1], place)
        by_count(rows, args.search)
        result |= {"rows": rows, "slopes": slopes(rows), "load_after": os.getloadavg()}
    steep = [
        s["cost"]
        for s in result["slopes"]
        if s["cost"] != COLUMNS["index_s"] and max(s["real"] or 0, s["synthetic"] or 0) > MOST_SLOPE
    ]
    result["met"] = {"not above linear": not steep}
    write_json(args.out, result)
    if not args.redraw:
        for kept_row in place.glob("*.row.json"):
            kept_row.unlink()
    text = f"{measured_on(result['machine'])}\n\n{tables(result)}"
    args.out.with_suffix(".md").write_text(text, "utf-8")
    plot(args.out.with_suffix(".png"), result)
    if args.docs is not None:
        put_into(args.docs / "benchmarks.md", "benchmarks.growth", text)
        shutil.copy(args.out.with_suffix(".png"), args.docs / "growth.png")
    print(tables(result))
    for cost in steep:
        print(f"above linear: {cost}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
