"""The processes that biglog.py, growth.py and others start, each for one thing:

    python -m benchmarks._child VIDEO MEMORY [CHECKPOINT_FRAMES]    index a video
    python -m benchmarks._child frames|patches VIDEO FILE           keep vectors of it instead (ways.py)
    python -m benchmarks._child ask MEMORY                          ask a memory

The first prints "ready" when the encoder is loaded and "frames N" after every batch. Each ends with one line of JSON,
with the peak of memory.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidmem.cli.app import limit_blas_threads

QUESTIONS = 40


def peak_rss() -> int | None:
    """Return the peak RAM of this process in bytes, None without /proc. `ru_maxrss` would start at the parent's
    peak."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) * 1024


def index(video: str, folder: str, checkpoint_frames: int | None) -> dict[str, Any]:
    began = time.perf_counter()
    from vidmem import Memory
    from vidmem.config import preset
    from vidmem.encoders import find

    config = preset(find("tiny").preset)
    if checkpoint_frames is not None:
        config = replace(config, checkpoint_frames=checkpoint_frames)
    with Memory.open(folder) as memory:
        _ = memory.encoder
        loaded, used = time.perf_counter(), time.process_time()

        def on_source(path: str, source: object) -> Callable[[int, int], None]:
            if isinstance(source, Exception):
                raise source
            print("ready", flush=True)
            return lambda t_ns, frames: print("frames", frames, flush=True)

        (report,) = memory.index(video, config=config, on_source=on_source)
        used = time.process_time() - used
        at_end, peak = memory.stats(), peak_rss()
    with Memory.open(folder, read_only=True) as memory:
        memory.cache()  # its file belongs to what a memory costs
        stats = memory.stats()
    return {
        "frames": report.frames,
        "new_frames": report.new_frames,
        "seconds": report.seconds,
        "cpu_s": used,
        "media_s": report.media_s,
        "skipped": report.skipped,
        "load_s": loaded - began,
        "peak_rss": peak,
        "tracks": stats.tracks,
        "regions": stats.regions,
        "disk_bytes": stats.database_bytes + stats.cache_bytes,
        "bytes_per_hour": stats.bytes_per_hour,
        "bytes_per_hour_at_end_of_index": at_end.bytes_per_hour,
    }


def keep(way: str, video: str, file: str) -> dict[str, Any]:
    from benchmarks.ways import Backbone

    backbone = Backbone()
    used = time.process_time()
    told = backbone.index(Path(video), Path(file), way == "patches")
    return {
        "frames": told.frames,
        "vectors": len(told.vectors),
        "seconds": told.seconds,
        "cpu_s": time.process_time() - used,
        "peak_rss": peak_rss(),
        "disk_bytes": told.disk_bytes,
    }


def ask(folder: str) -> dict[str, Any]:
    from vidmem import Memory

    began = time.perf_counter()
    with Memory.open(folder, read_only=True) as memory:
        memory.where("umbrella")
        first = time.perf_counter() - began
        names = list(memory.text_encoder.names())
        times = []
        for name in names[:: len(names) // QUESTIONS][:QUESTIONS]:
            began = time.perf_counter()
            memory.where(name)
            times.append(1e3 * (time.perf_counter() - began))
        return {"first_s": first, "ms": times, "peak_rss": peak_rss(), "tracks": len(memory.cache())}


def main() -> None:
    limit_blas_threads()
    what = sys.argv[1]
    if what == "ask":
        said = ask(sys.argv[2])
    elif what in ("frames", "patches"):
        said = keep(what, *sys.argv[2:4])
    else:
        said = index(what, sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
