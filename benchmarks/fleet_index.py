"""Indexing with workers: `python -m benchmarks.fleet_index --out FILE.json [--videos 200] [--kills 50]`.

Synthetic walks (lab/synthetic, 320 x 180, 10 frames a second, 6 s each), `tiny`.

kills   `index_fleet` with 4 local workers, of which one is killed every 10 s, until there were 50 kills: run after run
        into new catalogues, should one end before. Each source of each catalogue is compared with a memory that one
        process made of all videos: tracks, regions, cuts, views and poses, bit for bit. Then the fleet and that memory
        are asked the same things.
speed   the command `vidmem index` and `vidmem fleet index` with 1, 2 and 4 local workers on the same videos, side by
        side, medians. `steady` leaves out what a run costs once: of a fleet the start of Ray and of its workers, of
        `index` the start of Python
split   one long video: CPU seconds of the index of the whole, of the stretches, and of the run that looks them up; and
        what share of the time of one worker that leaves to be done one after the other
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.common import OUT, machine, model, parser_for, say, table, write_json
from vidmem import Memory
from vidmem.config import IndexConfig, preset
from vidmem.encoders import find
from vidmem.scale import FleetReport, index_fleet

VIDEOS, KILLS, EVERY_S, WORKERS = 200, 50, 10.0, 4
SECONDS, SIZE, FPS = 6, (320, 180), 10
GROUP_S = 30.0
NAMES = ("umbrella", "cup", "book", "bicycle", "banana", "guitar", "clock", "teddy bear", "key", "hat", "shoe", "lamp")
TABLES = {
    "tracks": "SELECT * FROM tracks WHERE source_id = ? ORDER BY ordinal",
    "regions": "SELECT * FROM regions WHERE source_id = ? ORDER BY seq",
    "views": "SELECT t.ordinal, v.* FROM views v JOIN tracks t ON t.id = v.track_id WHERE t.source_id = ?"
    " ORDER BY t.ordinal, v.t_ns",
    "cuts": "SELECT * FROM cuts WHERE source_id = ? ORDER BY t_ns",
    "marks": "SELECT * FROM marks WHERE source_id = ? ORDER BY t_ns",
    "trails": "SELECT * FROM trails WHERE source_id = ?",
    "pictures": "SELECT * FROM pictures WHERE source_id = ? ORDER BY t_ns",
    "picture_files": "SELECT * FROM picture_files WHERE source_id = ? ORDER BY path",
    "sources": "SELECT * FROM sources WHERE id = ?",
}
"""What a memory has of a source."""
NUMBERS = {"id", "source_id", "track_id", "generation", "added_at", "finished_at"}
"""Columns that differ between two memories of the same: numbers, and the times at which they were made."""


def make_videos(folder: Path, count: int) -> list[Path]:
    """Make the walks that are not there; return them in order."""
    from lab.synthetic.drawings import load_drawings
    from lab.synthetic.lostfound import make

    drawings = load_drawings()
    out = []
    for seed in range(count):
        video = folder / f"{seed:03d}.mp4"
        if not video.exists():
            with tempfile.TemporaryDirectory(dir=folder) as place:
                world = make(Path(place) / "w", seed, SECONDS, drawings, width=SIZE[0], height=SIZE[1], fps=FPS)
                world.video.replace(video)
        out.append(video)
    return out


def rows_of(database: Path) -> dict[str, dict[str, list[Any]]]:
    """What a memory has of each source, by its address and by table; `TABLES`."""
    conn = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        found: dict[str, dict[str, list[Any]]] = {}
        for number, uri in conn.execute("SELECT id, uri FROM sources").fetchall():
            found[uri] = {}
            for name, query in TABLES.items():
                cursor = conn.execute(query, (number,))
                kept = [i for i, column in enumerate(cursor.description) if column[0] not in NUMBERS]
                found[uri][name] = [tuple(row[i] for i in kept) for row in cursor]
        return found
    finally:
        conn.close()


def differences(fleet: Sequence[Path], single: Path) -> list[str]:
    """Sources of shards that are not as the memory has them, or missing on either side."""
    wanted = rows_of(single / "memory.sqlite")
    out, seen = [], set[str]()
    for shard in fleet:
        for uri, rows in rows_of(shard / "memory.sqlite").items():
            if uri in seen:
                out.append(f"twice: {uri}")
            seen.add(uri)
            if uri not in wanted:
                out.append(f"unknown: {uri}")
            else:
                out += [f"{name}: {uri}" for name in TABLES if rows[name] != wanted[uri][name]]
    return out + [f"missing: {uri}" for uri in wanted.keys() - seen]


def shards_of(catalogue: Path) -> list[Path]:
    """The folders of the shards of a catalogue."""
    from vidmem.fleet.catalogue import Catalogue

    with Catalogue.open(catalogue) as opened:
        return [Path(row.uri) for row in opened.shards()]


def our_workers() -> list[int]:
    """The processes of the workers of this process's cluster that have begun."""
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::Worker"):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


class Killer(threading.Thread):
    """Kills one worker every so often, until it is stopped. kills: how many there were."""

    def __init__(self, every_s: float, seed: int) -> None:
        super().__init__(daemon=True)
        self._every_s, self._random, self.over, self.kills = every_s, random.Random(seed), threading.Event(), 0

    def run(self) -> None:
        while not self.over.wait(self._every_s):
            if there := our_workers():
                os.kill(self._random.choice(there), signal.SIGKILL)
                self.kills += 1


def answers_of(memory: Memory) -> list[Any]:
    """What a memory answers, without the numbers of tracks and sources, which a fleet numbers by shard."""
    out: list[Any] = []
    for name in NAMES:
        found = memory.where(name, top=5)
        out.append([(s.source, s.start_ns, s.end_ns, s.frame_ns, s.box, s.score, s.probability) for s in found])
    return out


def config_of(fps: float) -> IndexConfig:
    """The settings of `tiny` with so many frames per second."""
    return replace(preset(find("tiny").preset), fps=fps)


def kills(folder: Path, videos: Sequence[Path], single: Path, want: int, every_s: float, fps: float) -> dict[str, Any]:
    """Run until so many workers were killed."""
    runs: list[dict[str, Any]] = []
    total = 0
    while total < want:
        place = folder / f"kills-{len(runs)}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        killer = Killer(every_s, len(runs))
        killer.start()
        began = time.perf_counter()
        try:
            report = index_fleet(
                [str(v) for v in videos],
                place / "house.catalogue",
                place / "shards",
                workers=f"local:{WORKERS}",
                config=config_of(fps),
                group_s=GROUP_S,
                work=place / "work",
                note=lambda text: None,
            )
        finally:
            killer.over.set()
            killer.join()
        shards = shards_of(place / "house.catalogue")
        wrong = differences(shards, single)
        total += killer.kills
        runs.append(
            {
                "kills": killer.kills,
                "lost_workers": report.lost_workers,
                "retries": report.retries,
                "seconds": time.perf_counter() - began,
                "shards": len(shards),
                "sources": len(report.sources),
                "failed": len(report.failed),
                "different": wrong,
                **asked(place / "house.catalogue", single),
            }
        )
        say(f"{total} kills: {json.dumps({k: v for k, v in runs[-1].items() if k != 'different'})}, {len(wrong)} wrong")
    return {"workers": WORKERS, "every_s": every_s, "fps": fps, "kills": total, "runs": runs}


def asked(catalogue: Path, single: Path) -> dict[str, Any]:
    """Ask the fleet and the memory the same."""
    with Memory.open(single, read_only=True) as one, Memory.open(f"fleet:{catalogue}", read_only=True) as many:
        mine, theirs = answers_of(one), answers_of(many)
    return {"asked": len(mine), "answers": sum(map(len, mine)), "answers_equal": mine == theirs}


def single_memory(folder: Path, videos: Sequence[Path], fps: float) -> Path:
    """The memory that one process makes of all videos."""
    place = folder / f"single-{len(videos)}-{fps:g}"
    if not (place / "done").exists():
        shutil.rmtree(place, ignore_errors=True)
        with Memory.open(place / "memory") as memory:
            memory.index([str(video) for video in videos], config=config_of(fps))
            memory.store.compact()  # as sealing does, which joins the regions of short checkpoints
            memory.cache()
        (place / "done").touch()
    return place / "memory"


def speed(folder: Path, videos: Sequence[Path], times: int, counts: Sequence[int]) -> dict[str, Any]:
    """The command `index` and a fleet on the same videos, by turns."""
    found: dict[str, list[dict[str, float]]] = {}
    for turn in range(times):
        for workers in (0, *counts):
            place = folder / "speed"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            made = plain(place, videos) if not workers else fleet(place, videos, workers)
            found.setdefault("index" if not workers else f"fleet {workers}", []).append(made)
            say(f"{turn + 1}: {workers or 'index'}: {made}")
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()
    }
    base = medians["index"]
    for name, row in medians.items():
        if name != "index":
            row["steady_overhead"] = row["steady_s"] / base["steady_s"] - 1
            row["cpu_overhead"] = row["cpu_s"] / base["cpu_s"] - 1
    return {"videos": len(videos), "times": times, "medians": medians, "runs": found}


def plain(place: Path, videos: Sequence[Path]) -> dict[str, float]:
    """Time of `vidmem index` in a process of its own. cpu_s: without the start of Python."""
    code = (
        "import sys, time, json\n"
        "from vidmem import Memory\n"
        "from vidmem.indexer import indexing\n"
        "a, c = time.perf_counter(), time.process_time()\n"
        "with Memory.open(sys.argv[1]) as m:\n"
        "    m.index(sys.argv[2:])\n"
        "    m.cache()\n"
        "print(json.dumps([time.perf_counter() - a, time.process_time() - c]))\n"
    )
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, str(place / "memory"), *map(str, videos)],
        check=True,
        capture_output=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    wall, (steady, cpu) = time.perf_counter() - began, json.loads(done.stdout)
    return {"wall_s": wall, "steady_s": steady, "cpu_s": cpu}


def fleet(place: Path, videos: Sequence[Path], workers: int) -> dict[str, float]:
    """Time of a fleet in this process. steady_s: from the first task to the last shard in the catalogue."""
    began = time.perf_counter()
    report: FleetReport = index_fleet(
        [str(video) for video in videos],
        place / "house.catalogue",
        place / "shards",
        workers=f"local:{workers}",
        group_s=GROUP_S,
        work=place / "work",
    )
    return {
        "wall_s": time.perf_counter() - began,
        "steady_s": report.indexing_s,
        "cpu_s": report.cpu_s,
        "sealing_s": report.sealing_s,
        "shards": float(len(report.shards)),
    }


def split(folder: Path, videos: Sequence[Path]) -> dict[str, Any]:
    """What stretches leave to be done one after the other, of a video of several walks in a row."""
    from vidmem.address import Address
    from vidmem.encoders import load
    from vidmem.indexer.pipeline import index_source
    from vidmem.media import open_source
    from vidmem.scale.pieces import Piece
    from vidmem.scale.relaying import LookingUp
    from vidmem.scale.stretches import stretches, write_piece
    from vidmem.store import ModelRecord, Store

    shutil.rmtree(folder / "split", ignore_errors=True)
    (folder / "split").mkdir(parents=True)
    encoder, config, address = load("tiny"), preset(find("tiny").preset), Address(str(_joined(folder, videos)))
    info = encoder.info
    record = ModelRecord(info.name, info.weights, info.visual_dim, info.text_dim, config.as_dict(), info.regions)

    def index(name: str, by: Any) -> float:
        with open_source(address) as source, Store.open(folder / "split" / name, write=True, create=True) as store:
            store.set_model(record)
            began = time.process_time()
            index_source(source, by, store, config)
            return time.process_time() - began

    assert encoder.views is not None  # both networks are loaded before anything is timed
    index("warm", encoder)
    whole = index("whole", encoder)
    with open_source(address) as source:
        cut = stretches(source, config, SECONDS * 4)
        frames, media_s = source.info.duration_ns / 1e9 * config.fps, source.info.duration_ns / 1e9
    began, paths = time.process_time(), []
    for number, stretch in enumerate(cut):
        paths.append(folder / "split" / f"piece-{number}")
        write_piece(address, stretch, encoder, config, paths[-1], "x")
    stretched = time.process_time() - began
    pieces = [Piece(path, "x") for path in paths]
    relay = LookingUp(encoder, pieces)
    rest = index("again", relay)
    equal = rows_of(folder / "split" / "whole" / "memory.sqlite") == rows_of(
        folder / "split" / "again" / "memory.sqlite"
    )
    size = sum(path.stat().st_size for path in paths)
    for piece in pieces:
        piece.close()
    return {
        "media_s": media_s,
        "stretches": len(cut),
        "whole_cpu_s": whole,
        "stretches_cpu_s": stretched,
        "rest_cpu_s": rest,
        "sequential_share": rest / whole,
        "more_work": (stretched + rest) / whole - 1,
        "looked_up": relay.found,
        "encoded_again": relay.encoded,
        "piece_bytes_per_frame": size / frames,
        "equal": equal,
    }


def _joined(folder: Path, videos: Sequence[Path]) -> Path:
    """One video of all frames of several."""
    import av

    out = folder / "split" / "long.mp4"
    with av.open(str(out), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "25", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for video in videos:
            with av.open(str(video)) as source:
                for frame in source.decode(video=0):
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), "rgb24")))
        container.mux(stream.encode())
    return out


def main(argv: list[str] | None = None) -> int:
    """Measure, write the JSON, print a table; 1 if anything differs."""
    parser = parser_for(__doc__)
    parser.add_argument("--videos", type=int, default=VIDEOS, help=f"number of videos ({VIDEOS})")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"workers to kill, 0 for none ({KILLS})")
    parser.add_argument("--every", type=float, default=EVERY_S, help=f"seconds between kills ({EVERY_S:g})")
    parser.add_argument("--fps", type=float, default=5.0, help="frames per second that are looked at with kills (5)")
    parser.add_argument("--times", type=int, default=3, help="runs of each for the speed, 0 for none (3)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="numbers of workers (1 2 4)")
    parser.add_argument("--timed", type=int, default=40, help="videos for the speed (40)")
    parser.add_argument("--joined", type=int, default=20, help="videos in the long one, 0 to leave that out (20)")
    parser.add_argument("--cache", type=Path, default=OUT / "fleet_index", help="folder for videos and memories")
    args = parser.parse_args(argv)
    (args.cache / "videos").mkdir(parents=True, exist_ok=True)
    videos = make_videos(args.cache / "videos", args.videos)
    say(f"{len(videos)} videos")
    result: dict[str, Any] = {"benchmark": "fleet_index", "machine": machine(), "model": model(), "videos": len(videos)}
    wrong = 0
    if args.joined:
        result["split"] = made = split(args.cache, videos[: args.joined])
        say(json.dumps(made))
        wrong += not made["equal"]
        write_json(args.out, result)
    if args.times:
        result["speed"] = speed(args.cache, videos[: args.timed], args.times, args.workers)
        write_json(args.out, result)
    if args.kills:
        single = single_memory(args.cache, videos, args.fps)
        result["kills"] = found = kills(args.cache, videos, single, args.kills, args.every, args.fps)
        wrong += sum(len(run["different"]) + run["failed"] + (not run["answers_equal"]) for run in found["runs"])
    write_json(args.out, result)
    rows: list[tuple[str, ...]] = []
    for name, row in result.get("speed", {}).get("medians", {}).items():
        more = [f"{row[key]:+.1%}" if key in row else "" for key in ("steady_overhead", "cpu_overhead")]
        rows.append((name, f"{row['wall_s']:.1f}", f"{row['steady_s']:.1f}", f"{row['cpu_s']:.1f}", *more))
    print(table(("run", "wall s", "steady s", "CPU s", "steady overhead", "CPU overhead"), rows))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
