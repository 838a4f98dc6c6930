"""Real clips: `python -m benchmarks.real --out FILE.json [--clips FOLDER]`.

Indexes every clip into one memory (none may fail, AV1 included), then asks for things by a picture that was cut from a
clip by hand (real_queries.json). Right: the newest sighting is in the right clip and overlaps the last span in which a
person sees the thing by tIoU >= .25. The same boxes are asked for as `--crop` too. A sheet beside the JSON shows
every picture with the frame that was answered.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from benchmarks.common import OUT, machine, memory_place, model, say, skip, table, tiou, write_json
from vidmem import Memory
from vidmem.errors import VidmemError
from vidmem.media import open_source
from vidmem.records import NS, Box

QUERIES = Path(__file__).with_name("real_queries.json")
CLIPS = Path(__file__).resolve().parents[2] / "shared" / "data" / "clips"
TARGETS = {"picture_right": 9, "of_at_least": 12, "failed_clips": 0}
LEAST_TIOU = 0.25


def verdict(answer: Any, clip: str, spans: list[list[float]]) -> dict[str, Any]:
    """What the first sighting of an answer is worth: in the right clip, and how far it covers the last true span."""
    if not answer.found:
        near = answer.near_misses[0] if answer.near_misses else None
        score = None if near is None else round(near.score, 4)
        return {"found": False, "right": False, "near_miss": near and Path(near.source).name, "near_miss_score": score}
    first = answer[0]
    here = Path(first.source).name == clip
    last = (spans[-1][0], spans[-1][1])
    overlap = tiou((first.start_s, first.end_s), last) if here else 0.0
    # For whoever looks into a miss: would the best of all sightings have been right, instead of the newest?
    best = max(answer, key=lambda s: s.score)
    best_right = Path(best.source).name == clip and any(
        tiou((best.start_s, best.end_s), (span[0], span[1])) >= LEAST_TIOU for span in spans
    )
    return {
        "found": True, "right": overlap >= LEAST_TIOU, "right_clip": here, "tiou": round(overlap, 4),
        "clip": Path(first.source).name, "start_s": first.start_s, "end_s": first.end_s, "frame_s": first.frame_s,
        "box": list(first.box), "score": round(first.score, 4), "sightings": answer.total,
        "best_right": best_right, "best_clip": Path(best.source).name, "best_score": round(best.score, 4),
    }  # fmt: skip


def index(memory: Memory, clips: list[Path]) -> list[dict[str, Any]]:
    """One row for each clip: what it came to, or why it failed."""
    rows = []
    for clip in clips:
        try:
            (report,) = memory.index(clip)
        except VidmemError as error:
            rows.append({"clip": clip.name, "error": str(error)})
            continue
        rows.append({"clip": clip.name, "frames": report.frames, "damaged": report.damaged, "tracks": report.tracks,
                     "media_s": round(report.media_s, 2), "seconds": round(report.seconds, 2),
                     "skipped": report.skipped})  # fmt: skip
    return rows


def ask(memory: Memory, clips: Path, queries: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Image.Image]]:
    rows, tiles = [], []
    for query in queries:
        path, t_ns = clips / query["clip"], round(query["t_s"] * NS)
        box: Box = (query["box"][0], query["box"][1], query["box"][2], query["box"][3])
        with open_source(path) as source:
            picture = Image.fromarray(source.frame_at(t_ns).image).crop(box)
        row: dict[str, Any] = {key: query[key] for key in ("clip", "label", "t_s", "box", "spans", "whole")}
        for name, asked in (
            ("picture", partial(memory.where, image=picture)),
            ("crop", partial(memory.where, crop=(str(path), t_ns, box))),
        ):
            began = time.perf_counter()
            try:
                row[name] = verdict(asked(most=None), query["clip"], query["spans"])
            except VidmemError as error:
                row[name] = {"found": False, "right": False, "error": str(error)}
            row[name]["seconds"] = round(time.perf_counter() - began, 3)
        rows.append(row)
        tiles.append(tile(clips, query["label"], picture, row["picture"]))
    return rows, tiles


def tile(clips: Path, label: str, picture: Image.Image, answer: dict[str, Any]) -> Image.Image:
    """The picture asked for and the frame answered, side by side."""
    out = Image.new("RGB", (400, 170), (250, 250, 248))
    small = picture.copy()
    small.thumbnail((110, 120))
    out.paste(small, (6, 34))
    draw = ImageDraw.Draw(out)
    if answer["found"]:
        with open_source(clips / answer["clip"]) as source:
            frame = Image.fromarray(source.frame_at(round(answer["frame_s"] * NS)).image)
        ImageDraw.Draw(frame).rectangle(answer["box"], outline=(230, 57, 70), width=max(2, frame.width // 160))
        frame.thumbnail((264, 128))
        out.paste(frame, (128, 34))
        note = (
            f"{answer['start_s']:.1f}-{answer['end_s']:.1f} s  tIoU {answer['tiou']:.2f}  score {answer['score']:.2f}"
        )
    else:
        note = "not found"
    draw.text((6, 2), label, fill=(28, 30, 34))
    draw.text((6, 17), ("right  " if answer["right"] else "WRONG  ") + note,
              fill=(30, 120, 60) if answer["right"] else (200, 40, 40))  # fmt: skip
    return out


def sheet(tiles: list[Image.Image], columns: int = 4) -> Image.Image:
    width, height = tiles[0].size
    out = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), (250, 250, 248))
    for i, one in enumerate(tiles):
        out.paste(one, (i % columns * width, i // columns * height))
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write; the sheet lies beside it")
    parser.add_argument("--clips", type=Path, default=CLIPS, help="folder of the clips (../shared/data/clips)")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for the memory (benchmarks/out)")
    parser.add_argument("--fresh", action="store_true", help="index again")
    args = parser.parse_args()
    clips = sorted(args.clips.glob("*.mp4"))
    result: dict[str, Any] = {"machine": machine(), "model": model(), "targets": TARGETS}
    if not clips:
        return skip(args.out, result, f"no clips in {args.clips}; give their folder as --clips")
    folder = memory_place(args.cache, "real")
    if args.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    with Memory.open(folder) as memory:
        result["index"] = index(memory, clips)
        held = {clip.name for clip in clips}
        asked = [q for q in json.loads(QUERIES.read_text("utf-8"))["queries"] if q["clip"] in held]
        result["queries"], tiles = ask(memory, args.clips, asked)
        result["stats"] = {"tracks": memory.stats().tracks, "bytes_per_hour": memory.stats().bytes_per_hour}
    rows = result["queries"]
    result["summary"] = {
        "clips": len(clips), "failed_clips": sum("error" in row for row in result["index"]),
        "damaged": sum(row.get("damaged", 0) for row in result["index"]), "queries": len(rows),
        **{f"{how}_{part}": sum(row[how]["right"] for row in rows if part == "right" or not row["whole"])
           for how in ("picture", "crop") for part in ("right", "right_not_whole_clip")},
        "picture_best_right": sum(row["picture"].get("best_right", False) for row in rows),
        "not_whole_clip": sum(not row["whole"] for row in rows),
    }  # fmt: skip
    write_json(args.out, result)
    if tiles:
        sheet(tiles).save(args.out.with_suffix(".png"))
    for row in result["index"]:
        if "error" in row:
            say(f"FAILED {row['clip']}: {row['error']}")
    print(table(
        ["thing", "clip", "picture", "tIoU", "score", "crop", "tIoU"],
        [[row["label"], row["clip"][:20], row["picture"]["right"], row["picture"].get("tiou"),
          row["picture"].get("score"), row["crop"]["right"], row["crop"].get("tiou")] for row in rows],
    ))  # fmt: skip
    print(json.dumps(result["summary"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
