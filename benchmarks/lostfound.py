"""Quality on held-out worlds: `python -m benchmarks.lostfound --out FILE.json [--seeds 9100:9120] [--drawings FOLDER]`.

Every world (see lab.synthetic) gets a memory of its own, made with the default settings, and is asked all its
questions. Right: the first (newest) sighting overlaps the last span of the truth by tIoU >= .25. For what was never
there: how often something is "found" all the same. Worlds and memories are kept under benchmarks/out (worlds.py makes
the worlds ahead of time); neither training nor calibration uses a seed of 9000 or above.
"""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import (
    OUT,
    box_iou,
    machine,
    mean,
    memory_place,
    model,
    parse_range,
    parser_for,
    plot_bars,
    say,
    table,
    tiou,
    wilson,
    write_json,
)
from benchmarks.reliability_plot import plot
from benchmarks.worlds import ensure_all, vendor
from lab.synthetic.lostfound import World
from lab.synthetic.queries import Query
from lab.synthetic.truth import Truth
from vidmem import Memory
from vidmem.encoders.probability import brier, reliability
from vidmem.records import Sighting
from vidmem.timecode import NS

LEAST_TIOU = 0.25
SHOWN_BOX = 0.3
"""Box IoU from which on a sighting shows the thing."""
NEAR_NS = NS * 15 // 100
"""A true box counts for a frame that is no further away: boxes come every 0.2 s."""
TARGETS = {
    "name": 0.75,
    "synonym": 0.60,
    "name_picture": 0.85,
    "absent": 0.10,
    "queries": 200,
    "bytes_per_hour": 60e6,
}
PRESENT = ("name", "synonym", "picture", "name_picture")
LABELS = {
    "name_picture": "name and\npicture",
    "absent": "absent:\nfound",
    "absent_word": "absent word:\nfound",
    "absent_picture": "absent picture:\nfound",
    "absent_name_picture": "absent both:\nfound",
}
ABSENT = ("absent", "absent_word", "absent_picture", "absent_name_picture")


def true_box_iou(truth: Truth, name: str, frame_ns: int, box: tuple[float, ...]) -> float | None:
    """Box IoU with the thing where it truly is at that time; None if no true box is near."""
    best = None
    for shown in truth.shown:
        if shown.name != name:
            continue
        near = min(shown.boxes, key=lambda b: abs(b[0] - frame_ns), default=None)
        if near is not None and abs(near[0] - frame_ns) <= NEAR_NS:
            best = max(best or 0.0, box_iou(near[1:], box))
    return best


def shows(truth: Truth, name: str, sighting: Sighting, absent: bool) -> bool:
    """Return True if the evidence of a sighting shows what was asked for; its probability is about this."""
    return not absent and (true_box_iou(truth, name, sighting.frame_ns, sighting.box) or 0.0) >= SHOWN_BOX


def probabilities(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Reliability of the probabilities, by mode, for the newest sighting of each answer and for all sightings.

    Bins, and the Brier score next to that of a constant. Empty where nothing is calibrated.
    """
    out: dict[str, Any] = {}
    for mode, held in (
        ("text", [r for r in rows if r["text"] and not r["picture"]]),
        ("visual", [r for r in rows if r["picture"] and not r["text"]]),
        ("product", [r for r in rows if r["text"] and r["picture"]]),
    ):
        for part, pairs in (
            ("newest", [r["told"][0] for r in held if r.get("told")]),
            ("all sightings", [pair for r in held for pair in r.get("told", ())]),
        ):
            if pairs:
                told, right = (np.array(values) for values in zip(*pairs, strict=True))
                out[f"{mode}, {part}"] = {
                    "count": len(pairs),
                    "right": float(right.mean()),
                    "brier": brier(told, right),
                    "brier_of_the_mean": brier(np.full(len(told), right.mean()), right),
                    "reliability": [asdict(b) for b in reliability(told, right, 10)],
                }
    return out


def score(query: Query, truth: Truth, sightings: list[Sighting]) -> dict[str, Any]:
    """One row of the result. sightings: all of them, newest first."""
    row: dict[str, Any] = {
        "seed": truth.seed,
        "kind": query.kind,
        "text": query.text,
        "picture": query.picture,
        "name": query.name,
        "found": bool(sightings),
        "sightings": len(sightings),
    }
    if sightings:
        first = sightings[0]
        row |= {"score": round(first.score, 4), "start_s": first.start_s, "end_s": first.end_s}
        row["told"] = [
            (round(s.probability, 4), shows(truth, query.name, s, query.start_ns is None))
            for s in sightings
            if s.probability is not None
        ]
    if query.start_ns is None or query.end_ns is None:
        return row
    last = (query.start_ns, query.end_ns)
    spans = truth.spans(query.name)
    row |= {"true_start_s": last[0] / NS, "true_end_s": last[1] / NS, "tiou": 0.0}
    if sightings:
        row["tiou"] = round(tiou((sightings[0].start_ns, sightings[0].end_ns), last), 4)
        row["box_iou"] = true_box_iou(truth, query.name, sightings[0].frame_ns, sightings[0].box)
    row["right"] = row["tiou"] >= LEAST_TIOU
    # Of all the times at which it was to be seen, how many does some sighting answer?
    row["spans"] = len(spans)
    row["spans_found"] = sum(any(tiou((s.start_ns, s.end_ns), span) >= LEAST_TIOU for s in sightings) for span in spans)
    row["any"] = row["spans_found"] > 0
    return row


def index_world(world: World, folder: Path) -> dict[str, Any]:
    """The memory of the world, indexed if it is missing, and its contents."""
    with Memory.open(folder) as memory:
        (report,) = memory.index(world.video)
        memory.cache()  # its file belongs to what a memory costs
    with Memory.open(folder, read_only=True) as memory:
        stats, (source,) = memory.stats(), memory.sources()
        first = next(iter(memory.store.regions(source.id, 0, source.duration_ns)), None)
        patches = 0 if first is None else first.masks.shape[1] * first.masks.shape[2]
    fps = None if report.skipped else report.new_frames / report.seconds
    return {
        "seed": world.truth.seed,
        "frames": stats.frames,
        "tracks": stats.tracks,
        "regions": stats.regions,
        "patches_per_frame": patches,
        "bytes": stats.database_bytes + stats.cache_bytes,
        "region_bytes": stats.region_bytes,
        "duration_s": world.truth.duration_ns / NS,
        "seconds": None if report.skipped else round(report.seconds, 2),
        "fps": fps,
        "times_real_time": None if report.skipped else report.media_s / report.seconds,
    }


def ask_world(world: World, folder: Path) -> list[dict[str, Any]]:
    """Ask all questions of the world, and each absent picture a second time with its name."""
    rows = []
    with Memory.open(folder, read_only=True) as memory:
        for query in world.queries:
            picture = None if query.picture is None else world.folder / query.picture
            answer = memory.where(query.text, image=picture, top=None)
            rows.append(score(query, world.truth, list(answer)))
            if query.kind == "absent" and picture is not None:
                both = memory.where(query.name, image=picture, top=None)
                rows.append(score(query, world.truth, list(both)) | {"kind": "absent_name_picture", "text": query.name})
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By kind. present kinds: `rate` of right answers; absent ones: `rate` of false finds."""
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_kind[row["kind"]].append(row)
        if row["kind"] == "absent":
            by_kind["absent_word" if row["text"] else "absent_picture"].append(row)
    out: dict[str, dict[str, Any]] = {}
    for kind in (*PRESENT, *ABSENT):
        held = by_kind.get(kind, [])
        if not held:
            continue
        if kind in ABSENT:
            hits = sum(row["found"] for row in held)
            out[kind] = {"queries": len(held), "rate": hits / len(held), "interval": wilson(hits, len(held))}
            continue
        hits = sum(row["right"] for row in held)
        out[kind] = {
            "queries": len(held),
            "rate": hits / len(held),
            "interval": wilson(hits, len(held)),
            "found": mean(row["found"] for row in held),
            "any_occurrence": mean(row["any"] for row in held),
            "occurrence_recall": sum(row["spans_found"] for row in held) / sum(row["spans"] for row in held),
            "mean_tiou": mean(row["tiou"] for row in held),
            "mean_tiou_of_right": mean(row["tiou"] for row in held if row["right"]),
            "box_iou_of_right": mean(row["box_iou"] for row in held if row["right"] and row["box_iou"] is not None),
            "wrong_found": mean(row["found"] and not row["right"] for row in held),
        }
    return out


def costs(worlds: list[dict[str, Any]]) -> dict[str, Any]:
    """Time and size of the memories, over all worlds."""
    total = {key: sum(w[key] for w in worlds) for key in ("frames", "tracks", "regions", "bytes", "duration_s")}
    patches = sum(w["frames"] * w["patches_per_frame"] for w in worlds)
    timed = [w for w in worlds if w["seconds"]]
    hours = total["duration_s"] / 3600
    return {
        **total,
        "hours": hours,
        "regions_per_frame": total["regions"] / max(1, total["frames"]),
        "regions_per_track": total["regions"] / max(1, total["tracks"]),
        "patches_per_track": patches / max(1, total["tracks"]),
        "tracks_per_hour": total["tracks"] / hours,
        "bytes_per_hour": total["bytes"] / hours,
        "index_fps": sum(w["frames"] for w in timed) / sum(w["seconds"] for w in timed) if timed else None,
        "times_real_time": sum(w["duration_s"] for w in timed) / sum(w["seconds"] for w in timed) if timed else None,
    }


def main() -> int:
    import os

    parser = parser_for(__doc__, "the plot lies beside it")
    parser.add_argument("--seeds", type=parse_range, default=range(9100, 9120), help="A:B, B excluded (9100:9120)")
    parser.add_argument("--seconds", type=float, default=40, help="length of a world (40)")
    parser.add_argument("--drawings", type=Path, help="another vendor's drawings (benchmarks/out/twemoji)")
    parser.add_argument("--limit", type=int, help="only the first so many worlds")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for worlds and memories (benchmarks/out)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="for making worlds")
    parser.add_argument("--fresh", action="store_true", help="index again (as after a change of the indexer)")
    args = parser.parse_args()
    seeds = list(args.seeds)[: args.limit]
    result: dict[str, Any] = {
        "machine": machine(),
        "model": model(),
        "targets": TARGETS,
        "least_tiou": LEAST_TIOU,
        "drawings": vendor(args.drawings),
        "seeds": seeds,
        "seconds": args.seconds,
    }
    worlds = ensure_all(args.cache, args.drawings, seeds, args.seconds, args.processes)
    indexed, rows = [], []
    for world in worlds:
        folder = memory_place(args.cache, "lostfound", vendor(args.drawings), world.folder.name)
        if args.fresh:
            shutil.rmtree(folder, ignore_errors=True)
        indexed.append(index_world(world, folder))
        answers = ask_world(world, folder)
        rows += answers
        known = [row["right"] for row in answers if "right" in row]
        false = [row["found"] for row in answers if row["kind"] == "absent"]
        say(
            f"seed {world.truth.seed}: {sum(known)} of {len(known)} right, {sum(false)} of {len(false)} false, "
            f"{indexed[-1]['tracks']} tracks, {indexed[-1]['times_real_time'] or 0:.1f} x real time"
        )
    kinds = summary(rows)
    asked = sum(row["kind"] != "absent_name_picture" for row in rows)
    result |= {
        "queries": asked,
        "kinds": kinds,
        "probability": probabilities(rows),
        "costs": costs(indexed),
        "worlds": indexed,
        "answers": rows,
        "load_after": os.getloadavg(),
    }
    result["met"] = {
        **{kind: kinds[kind]["rate"] >= TARGETS[kind] for kind in ("name", "synonym", "name_picture") if kind in kinds},
        **({"absent": kinds["absent"]["rate"] <= TARGETS["absent"]} if "absent" in kinds else {}),
        "queries": asked >= TARGETS["queries"],
        "bytes_per_hour": result["costs"]["bytes_per_hour"] <= TARGETS["bytes_per_hour"],
    }
    write_json(args.out, result)
    plot_bars(
        args.out.with_suffix(".png"),
        f"lostfound, {len(worlds)} held-out worlds of {args.seconds:g} s, {asked} queries, "
        f"drawings: {vendor(args.drawings)}",
        [
            (
                LABELS.get(kind, kind),
                row["rate"],
                row["interval"],
                TARGETS["absent"] if kind in ABSENT else TARGETS.get(kind),
                kind in ABSENT,
            )
            for kind, row in kinds.items()
        ],
    )
    plot(
        args.out.with_name(args.out.stem + "-probability.png"),
        {name: row for name, row in result["probability"].items() if name.endswith("newest")},
        f"lostfound, {len(worlds)} held-out worlds: newest sightings",
    )
    report(result)
    print(f"{asked} queries; {args.out}", file=sys.stderr)
    return 0


def report(result: dict[str, Any]) -> None:
    print(
        table(
            ["kind", "queries", "right", "wanted", "found", "any", "tIoU", "box IoU"],
            [
                [
                    kind,
                    row["queries"],
                    None if kind in ABSENT else row["rate"],
                    f"<= {TARGETS['absent']:g}"
                    if kind in ABSENT
                    else f">= {TARGETS[kind]:g}"
                    if kind in TARGETS
                    else None,
                    row["rate"] if kind in ABSENT else row["found"],
                    row.get("any_occurrence"),
                    row.get("mean_tiou"),
                    row.get("box_iou_of_right"),
                ]
                for kind, row in result["kinds"].items()
            ],
        )
    )
    for name, row in result["probability"].items():
        bins = ", ".join(f"{b['mean']:.2f}: {b['right']:.2f} ({b['count']})" for b in row["reliability"])
        print(
            f"probability, {name}: Brier {row['brier']:.3f} (of the mean {row['brier_of_the_mean']:.3f}); "
            f"told: right (answers) {bins}"
        )
    if not result["probability"]:
        print("probability: not calibrated")
    cost = result["costs"]
    speed = (
        ""
        if cost["index_fps"] is None
        else (f", indexed at {cost['index_fps']:.1f} frames a second ({cost['times_real_time']:.1f} x real time)")
    )
    print(
        f"{cost['regions_per_track']:.1f} region tokens and {cost['patches_per_track']:.0f} patches per track, "
        f"{cost['tracks_per_hour']:.0f} tracks and {cost['bytes_per_hour'] / 1e6:.1f} MB an hour{speed}"
    )


if __name__ == "__main__":
    sys.exit(main())
