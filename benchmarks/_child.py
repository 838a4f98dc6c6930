"""The process that crash.py and speed.py start: index one video and report progress on stdout, line by line.

    python -m benchmarks._child VIDEO MEMORY [CHECKPOINT_FRAMES]

"ready" when the encoder is loaded, "frames N" after every batch, then one line of JSON with the peak of memory.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vidmem.cli.app import limit_blas_threads


def peak_rss() -> int | None:
    """Return the peak RAM of this process in bytes, None without /proc. `ru_maxrss` would start at the parent's
    peak."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) * 1024


def main() -> None:
    video, folder = sys.argv[1:3]
    began = time.perf_counter()
    limit_blas_threads()
    from vidmem import Memory
    from vidmem.config import preset
    from vidmem.encoders import find

    config = preset(find("tiny").preset)
    if len(sys.argv) > 3:
        config = replace(config, checkpoint_frames=int(sys.argv[3]))
    with Memory.open(folder) as memory:
        _ = memory.encoder
        loaded = time.perf_counter()

        def on_source(path: str, source: object) -> Callable[[int, int], None]:
            if isinstance(source, Exception):
                raise source
            print("ready", flush=True)
            return lambda t_ns, frames: print("frames", frames, flush=True)

        (report,) = memory.index(video, config=config, on_source=on_source)
        at_end, peak = memory.stats(), peak_rss()
    with Memory.open(folder, read_only=True) as memory:
        memory.cache()  # its file belongs to what a memory costs
        stats = memory.stats()
    said = {
        "frames": report.frames,
        "new_frames": report.new_frames,
        "seconds": report.seconds,
        "media_s": report.media_s,
        "skipped": report.skipped,
        "load_s": loaded - began,
        "peak_rss": peak,
        "tracks": stats.tracks,
        "bytes_per_hour": stats.bytes_per_hour,
        "bytes_per_hour_at_end_of_index": at_end.bytes_per_hour,
    }
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
