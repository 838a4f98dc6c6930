"""What skipping still frames saves and costs: `python -m benchmarks.adaptive --out FILE.json`.

Each video is indexed twice side by side, with every frame encoded and with still frames skipped, and both memories are
asked the same questions. Worlds: held-out walks of lostfound in which the camera stands still for a while in every
room, with fresh noise on each frame. Clips: the parts of real clips in which nothing moves (STILL, by eye), and all
questions of real.py on both memories of the whole clips. Wanted: at least 3 times fewer frames encoded, and at most .02
fewer right answers.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import real
from benchmarks.common import (
    CLIPS,
    OUT,
    machine,
    mean,
    memory_place,
    model,
    parse_range,
    parser_for,
    say,
    table,
    write_json,
)
from benchmarks.lostfound import ABSENT, PRESENT, ask_world
from benchmarks.worlds import SIZE, kept
from lab.synthetic.lostfound import World, load, make
from vidmem import Memory
from vidmem.config import preset
from vidmem.encoders import find
from vidmem.indexer.pipeline import SourceReport, index_source
from vidmem.media import Source, open_source
from vidmem.media.base import Shape
from vidmem.records import Frame
from vidmem.timecode import NS

TARGETS = {"times_fewer": 3.0, "loss": 0.02}
STILL = {
    "intel_bottle_detection.mp4": [(8.0, 10.8), (18.8, 20.8), (39.0, 39.9)],
    "lerobot_follower_wrist_ep0.mp4": [(1.4, 2.4)],
}
"""Seconds in which nothing moves, by eye: few, in clips that were filmed to show something."""
SETTINGS = preset(find("tiny").preset)
WAYS = {"every frame": replace(SETTINGS, still=0), "still skipped": SETTINGS}


def resting_world(cache: Path, seed: int, seconds: float, rest_s: float) -> World:
    """A walk of `seconds` with a rest in every visit; generated if it is missing."""
    width, height, fps = SIZE
    folder = cache / "worlds" / "resting" / f"{seed}-{seconds:g}-{rest_s:g}"
    if (world := kept(folder)) is None:
        part = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            make(part, seed, seconds, width=width, height=height, fps=fps, rest_s=rest_s)
            shutil.rmtree(folder, ignore_errors=True)
            part.replace(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        world = load(folder)
    return world


def costs(report: SourceReport) -> dict[str, Any]:
    return {
        "frames": report.frames,
        "encoded": report.encoded,
        "still": report.still,
        "calls": report.calls,
        "tracks": report.tracks,
        "seconds": round(report.seconds, 2),
    }


def bench_world(world: World, folder: Path) -> dict[str, Any]:
    """Index one world with and without skipping, and ask both memories."""
    out: dict[str, Any] = {"seed": world.truth.seed, "duration_s": world.truth.duration_ns / NS}
    for way, config in WAYS.items():
        place = folder / way.replace(" ", "-")
        shutil.rmtree(place, ignore_errors=True)
        with Memory.open(place) as memory:
            _ = memory.encoder  # loaded before the clock runs
            (report,) = memory.index(world.video, config=config)
        rows = ask_world(world, place)
        out[way] = costs(report) | {
            "right": [row["right"] for row in rows if row["kind"] in PRESENT],
            "false": [row["found"] for row in rows if row["kind"] in ABSENT],
        }
        say(
            f"seed {world.truth.seed}, {way}: {report.encoded} of {report.frames} frames encoded in "
            f"{report.seconds:.0f} s, {sum(out[way]['right'])} of {len(out[way]['right'])} right"
        )
    return out


class Part(Source):
    """A source from one moment to another, in seconds."""

    def __init__(self, source: Source, start_s: float, end_s: float) -> None:
        uri = f"{source.info.uri}@{start_s:g}-{end_s:g}"
        super().__init__(uri)
        self._source, self._start_ns, self._end_ns = source, round(start_s * NS), round(end_s * NS)
        self.damage = source.damage
        self.info = replace(source.info, uri=uri, fingerprint=f"{source.info.fingerprint} {uri}")

    def frames(
        self, fps: float, start_ns: int = 0, *, start_index: int = 0, shape: Shape | None = None
    ) -> Iterator[Frame]:
        first_ns = max(start_ns, self._start_ns)
        for frame in self._source.frames(fps, first_ns, start_index=start_index, shape=shape):
            if frame.t_ns >= self._end_ns:
                return
            yield frame

    def frame_at(self, t_ns: int) -> Frame:
        return self._source.frame_at(t_ns)


def bench_parts(clips: Path) -> list[dict[str, Any]]:
    """Share of frames that are encoded in still parts of real clips."""
    rows = []
    for name, spans in STILL.items():
        for start_s, end_s in spans if (clips / name).exists() else []:
            row: dict[str, Any] = {"clip": name, "start_s": start_s, "end_s": end_s}
            for way, config in WAYS.items():
                with tempfile.TemporaryDirectory() as place, Memory.open(place) as memory:
                    memory.store.set_model(memory.model_record(config.as_dict()))
                    with open_source(clips / name) as source:
                        part = Part(source, start_s, end_s)
                        row[way] = costs(index_source(part, memory.encoder, memory.store, config))
            rows.append(row)
    return rows


def bench_clips(clips: Path, folder: Path) -> dict[str, Any]:
    """Index all clips both ways, and ask the questions of real.py by picture and by box."""
    found = sorted(clips.glob("*.mp4"))
    asked = [q for q in json.loads(real.QUERIES.read_text("utf-8"))["queries"] if (clips / q["clip"]).exists()]
    out: dict[str, Any] = {"clips": len(found), "queries": len(asked)}
    for way, config in WAYS.items():
        place = folder / way.replace(" ", "-")
        shutil.rmtree(place, ignore_errors=True)
        with Memory.open(place) as memory:
            _ = memory.encoder
            reports = memory.index(*found, config=config)
            rows, _ = real.ask(memory, clips, asked)
        out[way] = {
            "encoded": sum(r.encoded for r in reports),
            "frames": sum(r.frames for r in reports),
            "calls": sum(r.calls for r in reports),
            "seconds": round(sum(r.seconds for r in reports), 2),
            "right": [row[how]["right"] for row in rows for how in ("picture", "crop")],
            "false": [],
            "by_clip": {Path(r.info.uri).name: costs(r) for r in reports},
        }
        say(
            f"clips, {way}: {out[way]['encoded']} of {out[way]['frames']} frames encoded, "
            f"{sum(out[way]['right'])} of {len(out[way]['right'])} right"
        )
    return out


def compare(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Compare the totals. times_fewer: encoded frames without / with skipping; loss: in the share of right answers."""
    plain, sparing = ([row[way] for row in rows] for way in WAYS)
    out: dict[str, Any] = {}
    for key in ("frames", "encoded", "calls", "seconds"):
        out[key] = [sum(row[key] for row in side) for side in (plain, sparing)]
    out["times_fewer"] = out["encoded"][0] / out["encoded"][1]
    out["times_fewer_calls"] = out["calls"][0] / out["calls"][1]
    out["times_faster"] = out["seconds"][0] / out["seconds"][1]
    for key in ("right", "false"):
        rates = [mean(value for row in side for value in row.get(key, ())) for side in (plain, sparing)]
        if rates[0] is not None and rates[1] is not None:
            out[f"{key}_rate"], out[f"{key}_questions"] = rates, sum(len(row[key]) for row in plain)
    if "right_rate" in out:
        out["loss"] = out["right_rate"][0] - out["right_rate"][1]
    return out


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--seeds", type=parse_range, default=range(9100, 9106), help="A:B, B excluded (9100:9106)")
    parser.add_argument("--seconds", type=float, default=40, help="length of a walk without its rests (40)")
    parser.add_argument("--rest", type=float, default=30, help="seconds of standing still in each visit (30)")
    parser.add_argument("--clips", type=Path, default=CLIPS, help="folder of the clips (../shared/data/clips)")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for worlds and memories (benchmarks/out)")
    args = parser.parse_args()
    began = time.perf_counter()
    result: dict[str, Any] = {"machine": machine(), "model": model(), "targets": TARGETS, "ways": list(WAYS)}
    worlds = [
        bench_world(
            resting_world(args.cache, seed, args.seconds, args.rest), memory_place(args.cache, "adaptive", str(seed))
        )
        for seed in args.seeds
    ]
    parts = {"worlds that rest": worlds}
    if any(args.clips.glob("*.mp4")):
        parts["still parts of clips"] = bench_parts(args.clips)
        parts["whole clips"] = [bench_clips(args.clips, memory_place(args.cache, "adaptive", "clips"))]
    else:
        say(f"no clips in {args.clips}: without them")
    result["parts"] = {name: compare(rows) | {"rows": rows} for name, rows in parts.items() if rows}
    result["met"] = {
        name: {
            key: part[key] >= TARGETS[key] if key == "times_fewer" else part[key] <= TARGETS[key]
            for key in TARGETS
            if key in part
        }
        for name, part in result["parts"].items()
        if name != "whole clips"
    }
    result |= {"seconds": round(time.perf_counter() - began, 1), "load_after": os.getloadavg()}
    write_json(args.out, result)
    print(
        table(
            [
                "",
                "frames",
                "encoded: all",
                "skipping",
                "times fewer",
                "right: all",
                "skipping",
                "false: all",
                "skipping",
            ],
            [
                [
                    name,
                    part["frames"][0],
                    *part["encoded"],
                    part["times_fewer"],
                    *part.get("right_rate", (None, None)),
                    *part.get("false_rate", (None, None)),
                ]
                for name, part in result["parts"].items()
            ],
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
