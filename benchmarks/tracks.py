"""Track quality on real clips: `python -m benchmarks.tracks --out FILE.json [--clips FOLDER]`.

Things were boxed by eye, once a second (real_paths.json). In every indexed frame in which a thing is in view, the
region whose box overlaps it best (IoU of at least .3) stands for it. `kept`: the share of those frames that the one
track holds which stands for it most often, per time in view; a thing that left and came back is asked for each time
apart, since a track ends there. Compression: patches of all frames for each track of the clips.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import (
    CLIPS,
    OUT,
    box_iou,
    machine,
    mean,
    memory_place,
    model,
    parser_for,
    skip,
    table,
    write_json,
)
from benchmarks.real import index
from vidmem import Memory
from vidmem.store import Store
from vidmem.timecode import NS

PATHS = Path(__file__).with_name("real_paths.json")
TARGETS = {"kept": 0.80, "patches_per_track": 100}
LEAST_IOU = 0.3


def box_at(keys: list[list[float]], t: float) -> list[float]:
    """The box at `t` seconds on the straight line between the keys around it."""
    times = [key[0] for key in keys]
    return [float(np.interp(t, times, [key[i] for key in keys])) for i in range(1, 5)]


def kept(store: Store, path: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each time that the thing is in view."""
    source = store.source(path["clip"])
    rows = []
    for start, end in path["spans"]:
        held: Counter[int] = Counter()
        frames = 0
        for frame in store.regions(source.id, round(start * NS), round(end * NS)):
            frames += 1
            truth = box_at(path["keys"], frame.t_ns / NS)
            fits = [box_iou(truth, box) for box in frame.boxes]
            if fits and max(fits) >= LEAST_IOU:
                held[int(frame.tracks[int(np.argmax(fits))])] += 1
        most = max(held.values(), default=0)
        rows.append(
            {
                "clip": path["clip"],
                "label": path["label"],
                "span": [start, end],
                "frames": frames,
                "found": sum(held.values()) / max(1, frames),
                "kept": most / max(1, frames),
                "tracks": len(held),
            }
        )
    return rows


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--clips", type=Path, default=CLIPS, help="folder of the clips (../shared/data/clips)")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for the memory (benchmarks/out)")
    args = parser.parse_args()
    clips = sorted(args.clips.glob("*.mp4"))
    result: dict[str, Any] = {"machine": machine(), "model": model(), "targets": TARGETS}
    if not clips:
        return skip(args.out, result, f"no clips in {args.clips}; give their folder as --clips")
    place = memory_place(args.cache, "real")
    with Memory.open(place) as memory:
        index(memory, clips)
    paths = json.loads(PATHS.read_text("utf-8"))["paths"]
    with Store.open(place) as store:
        rows = [row for path in paths for row in kept(store, path)]
        patches = tracks = 0
        for source in store.sources():
            tracks += len(store.source_tracks(source.id))
            for frame in store.regions(source.id, 0, 2**62):
                patches += frame.masks.shape[1] * frame.masks.shape[2]
    frames = sum(row["frames"] for row in rows)
    result |= {
        "rows": rows,
        "kept": sum(row["kept"] * row["frames"] for row in rows) / frames,
        "kept_mean_of_things": mean(row["kept"] for row in rows),
        "patches_per_track": patches / max(1, tracks),
        "tracks": tracks,
    }
    write_json(args.out, result)
    print(
        table(
            ("thing", "seconds", "found", "kept by one track", "tracks"),
            [(r["label"], r["span"][1] - r["span"][0], r["found"], r["kept"], r["tracks"]) for r in rows],
        )
    )
    each = result["patches_per_track"]
    print(f"kept {result['kept']:.2f} of the frames; {each:.0f} patches for each of {tracks} tracks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
