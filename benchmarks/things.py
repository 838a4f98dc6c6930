"""Things seen again, on lostfound: `python -m benchmarks.things --out FILE.json [--seeds 9100:9104] [--like .8]`.

Every region of every indexed frame that lies where the truth has a drawing (box IoU >= .5, the time within .15 s) is
one observation of that drawing. Tracks put observations together, and things (vidmem/query/reid.py) put tracks
together; both are scored alike:

purity        share of observations that are of the drawing that most of their track or thing is of
completeness  share of a drawing's observations that are in one and the same track or thing, the largest; mean over all
              observations

Tracks alone are pure and far from complete, for a thing that comes back is another track. `--like` may be given again:
one row for each threshold. The default was chosen on seeds below 9000.
"""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import (
    OUT,
    box_iou,
    machine,
    memory_place,
    model,
    parse_range,
    parser_for,
    say,
    table,
    write_json,
)
from benchmarks.lostfound import NEAR_NS, index_world
from benchmarks.worlds import ensure_all
from lab.synthetic.lostfound import World
from lab.synthetic.truth import Truth
from vidmem import Memory
from vidmem.query.reid import MIN_COSINE, things

LEAST_IOU = 0.5

Observation = tuple[int, int]
"""Row of the track, and the drawing that it shows."""


def observations(memory: Memory, truth: Truth) -> list[Observation]:
    """What the tracks of the one source in a memory show, as far as the truth says."""
    (source,) = memory.sources()
    cache = memory.cache()
    columns = cache.columns_of(np.arange(len(cache)))
    row_of = {int(o): i for i, o in enumerate(columns.ordinals)}
    boxes = sorted((b[0], s.drawing, b[1:]) for s in truth.shown for b in s.boxes)
    times = np.array([t for t, _, _ in boxes], np.int64)
    out = []
    for frame in memory.store.regions(source.id, 0, 1 << 62):
        low, high = np.searchsorted(times, [frame.t_ns - NEAR_NS, frame.t_ns + NEAR_NS + 1])
        for ordinal, box in zip(frame.tracks.tolist(), frame.boxes.tolist(), strict=True):
            best = max(((box_iou(true, box), drawing) for _, drawing, true in boxes[low:high]), default=(0.0, -1))
            if best[0] >= LEAST_IOU:
                out.append((row_of[ordinal], best[1]))
    return out


def scores(seen: Sequence[Observation], group_of: dict[int, int]) -> tuple[int, int]:
    """Observations that belong to the majority of their group, and those in the largest group of their drawing."""
    by_group: dict[int, Counter[int]] = defaultdict(Counter)
    by_drawing: dict[int, Counter[int]] = defaultdict(Counter)
    for row, drawing in seen:
        by_group[group_of[row]][drawing] += 1
        by_drawing[drawing][group_of[row]] += 1
    return _most(by_group.values()), _most(by_drawing.values())


def _most(counters: Iterable[Counter[int]]) -> int:
    return sum(max(counter.values()) for counter in counters)


def groups_of(memory: Memory, rows: Sequence[int], like: float | None, look: bool) -> dict[int, int]:
    """The group of each row: the track itself for tracks alone (as for None), else its thing."""
    if like is None:
        return {row: row for row in rows}
    held = np.array(sorted(set(rows)), np.int64)
    found = things(memory.store if look else None, memory.cache(), held, like)
    return {int(held[member]): number for number, group in enumerate(found) for member in group}


def measure(world: World, folder: Path, settings: Sequence[tuple[float | None, bool]]) -> list[dict[str, Any]]:
    """One row of counts for each setting, to be summed over worlds."""
    index_world(world, folder)
    with Memory.open(folder, read_only=True) as memory:
        seen = observations(memory, world.truth)
        rows = [row for row, _ in seen]
        out = []
        for like, look in settings:
            group_of = groups_of(memory, rows, like, look)
            pure, complete = scores(seen, group_of)
            out.append(
                {
                    "seed": world.truth.seed,
                    "like": like,
                    "look": look,
                    "observations": len(seen),
                    "pure": pure,
                    "complete": complete,
                    "groups": len(set(group_of.values())),
                    "drawings": len({d for _, d in seen}),
                }
            )
    return out


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Over all worlds, by setting."""
    out = []
    for key in dict.fromkeys((row["like"], row["look"]) for row in rows):
        held = [row for row in rows if (row["like"], row["look"]) == key]
        total = {
            name: sum(row[name] for row in held) for name in ("observations", "pure", "complete", "groups", "drawings")
        }
        n = max(1, total["observations"])
        out.append(
            {
                "like": key[0],
                "look": key[1],
                **total,
                "purity": total["pure"] / n,
                "completeness": total["complete"] / n,
            }
        )
    return out


def _line(row: dict[str, Any]) -> list[object]:
    alone = row["like"] is None
    return [
        "tracks alone" if alone else "things",
        row["like"],
        None if alone else row["look"],
        row["purity"],
        row["completeness"],
        row["groups"],
        row["drawings"],
    ]


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--seeds", type=parse_range, default=range(9100, 9104), help="A:B, B excluded (9100:9104)")
    parser.add_argument("--seconds", type=float, default=40, help="length of a world (40)")
    parser.add_argument("--like", type=float, action="append", help=f"cosine; may be given again ({MIN_COSINE})")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for worlds and memories (benchmarks/out)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="for making worlds")
    args = parser.parse_args()
    likes = args.like or [MIN_COSINE]
    settings: list[tuple[float | None, bool]] = [(None, True)]
    settings += [(like, look) for like in likes for look in (True, False)]
    rows: list[dict[str, Any]] = []
    for world in ensure_all(args.cache, None, list(args.seeds), args.seconds, args.processes):
        rows += measure(world, memory_place(args.cache, "lostfound", "noto", world.folder.name), settings)
        say(f"seed {world.truth.seed}: {rows[-1]['observations']} observations")
    found = summary(rows)
    write_json(
        args.out,
        {
            "machine": machine(),
            "model": model(),
            "seeds": list(args.seeds),
            "least_iou": LEAST_IOU,
            "settings": found,
            "worlds": rows,
        },
    )
    print(
        table(
            ["", "like", "apart in view", "purity", "completeness", "groups", "drawings"],
            [_line(row) for row in found],
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
