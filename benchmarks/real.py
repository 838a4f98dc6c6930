"""Real clips: `python -m benchmarks.real --out FILE.json [--clips FOLDER]`.

Indexes all clips, AV1 included, into one memory, then asks five kinds of questions:

picture, crop   24 things by a picture that was cut from a clip by hand (real_queries.json), and by the same box as
both, words     `--crop`; by the picture with its label, and by the label alone. Right: the newest sighting is in the
                right clip and overlaps the last span in which a person sees the thing by tIoU >= .25
names           34 plain names of what is there (real_present.json). Right: right clip, time and place, see
                real_present.py
absent          500 everyday names of what is in none of them: the share that is found anyway
people          things that `timeline("person")` tells of for each clip (real_people.json): one woman is one or two

Three sheets beside the JSON show every answer with what is true: FILE.png (pictures), FILE-names.png, FILE-absent.png
(what was found and is not there).
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.common import (
    CLIPS,
    OUT,
    machine,
    memory_place,
    model,
    parser_for,
    say,
    skip,
    table,
    tiou,
    wilson,
    write_json,
)
from benchmarks.real_present import HALVES, Facts, facts, judge, sighting_row
from benchmarks.real_sheet import Mark, frame, grid, tile
from vidmem import Memory
from vidmem.errors import VidmemError
from vidmem.query.answers import Thing
from vidmem.records import Box
from vidmem.timecode import NS

QUERIES = Path(__file__).with_name("real_queries.json")
PEOPLE = Path(__file__).with_name("real_people.json")
TARGETS = {
    "picture_right": 20,
    "of": 24,
    "names_right": 0.70,
    "absent_found": 0.03,
    "most_things_of_a_person": 2,
    "failed_clips": 0,
}
LEAST_TIOU = 0.25
WAYS = ("picture", "crop", "both", "words")
PERSON = "person"
MOST_THINGS = 2
"""One person may be as many things: tracks of two shots or poses need not be tied together."""


def verdict(answer: Any, clip: str, spans: list[list[float]]) -> dict[str, Any]:
    """Judge the first sighting of an answer: the right clip, and how much of the last true span it covers."""
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
        "found": True,
        "right": overlap >= LEAST_TIOU,
        "right_clip": here,
        "tiou": round(overlap, 4),
        **sighting_row(first),
        "sightings": answer.total,
        "best_right": best_right,
        "best_clip": Path(best.source).name,
        "best_score": round(best.score, 4),
    }


def index(memory: Memory, clips: list[Path]) -> list[dict[str, Any]]:
    """One row for each clip: its figures, or why it failed."""
    rows: list[dict[str, Any]] = []
    for clip in clips:
        try:
            (report,) = memory.index(clip)
        except VidmemError as error:
            rows.append({"clip": clip.name, "error": str(error)})
            continue
        rows.append(
            {
                "clip": clip.name,
                "frames": report.frames,
                "damaged": report.damaged,
                "tracks": report.tracks,
                "media_s": round(report.media_s, 2),
                "seconds": round(report.seconds, 2),
                "skipped": report.skipped,
            }
        )
    return rows


def ask(memory: Memory, clips: Path, queries: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Image.Image]]:
    """Ask by picture and by crop: a row for each thing, and a tile of the answer to its picture."""
    rows, tiles = [], []
    for query in queries:
        path, t_ns = clips / query["clip"], round(query["t_s"] * NS)
        box: Box = (query["box"][0], query["box"][1], query["box"][2], query["box"][3])
        picture = frame(path, query["t_s"]).crop(box)
        row: dict[str, Any] = {key: query[key] for key in ("clip", "label", "t_s", "box", "spans", "whole")}
        for name, asked in (
            ("picture", partial(memory.where, image=picture)),
            ("crop", partial(memory.where, crop=(str(path), t_ns, box))),
            ("both", partial(memory.where, query["label"], image=picture)),
            ("words", partial(memory.where, query["label"])),
        ):
            began = time.perf_counter()
            try:
                row[name] = verdict(asked(top=None), query["clip"], query["spans"])
            except VidmemError as error:
                row[name] = {"found": False, "right": False, "error": str(error)}
            row[name]["seconds"] = round(time.perf_counter() - began, 3)
        rows.append(row)
        tiles.append(_tile(clips, query["label"], row["picture"], picture))
    return rows, tiles


def _tile(
    clips: Path,
    title: str,
    answer: dict[str, Any],
    asked: Image.Image | None = None,
    true: Iterable[Sequence[float]] = (),
) -> Image.Image:
    marks = [Mark(box, True) for box in true]
    if "frame_s" not in answer:
        return tile(None, marks, title, "not found", answer["right"], asked)
    shown = frame(clips / answer["clip"], answer["frame_s"])
    worth = answer.get("worth", "right" if answer["right"] else "WRONG")
    overlap = f"  tIoU {answer['tiou']:.2f}" if "tiou" in answer else f"  {answer['clip'][:20]}"
    note = f"{worth}  {answer['start_s']:.1f}-{answer['end_s']:.1f} s{overlap}  score {answer['score']:.2f}"
    return tile(shown, [*marks, Mark(answer["box"])], title, note, answer["right"], asked)


def ask_names(memory: Memory, clips: Path, known: Facts) -> tuple[list[dict[str, Any]], list[Image.Image]]:
    """Ask for present things by name: a row and a tile for each."""
    rows, tiles = [], []
    for name in known.names:
        row: dict[str, Any] = {
            "name": name.name,
            "half": name.half,
            "core": name.core,
            "clips": sorted({p.clip for p in name.places}),
        }
        try:
            row |= judge(memory.where(name.name, top=None), name.places)
        except VidmemError as error:
            row |= {"worth": "error", "right": False, "error": str(error)}
        rows.append(row)
        if "frame_s" in row:
            true = [box for p in name.places if p.clip == row["clip"] for box in p.boxes_at(row["frame_s"])]
            tiles.append(_tile(clips, name.name, row, true=true))
        else:  # what should have been found
            place = name.places[0]
            t_s = min(place.boxes, key=lambda box: abs(box[0] - place.spans[-1][0]))[0]
            marks = [Mark(box, True) for box in place.boxes_at(t_s)]
            tiles.append(tile(frame(clips / place.clip, t_s), marks, name.name, row["worth"], False))
    return rows, tiles


def ask_absent(memory: Memory, clips: Path, known: Facts) -> tuple[list[dict[str, Any]], list[Image.Image]]:
    """Ask for absent things by name, all at once with `watch`: a row each, and a tile for each that was found."""
    rows, tiles = [], []
    for half in HALVES:
        names = known.absent[half]
        for name, answer in zip(names, memory.watch(names), strict=True):
            if answer.found:
                rows.append({"name": name, "half": half} | judge(answer, ()))
                tiles.append(_tile(clips, name, rows[-1]))
    return rows, tiles


def count_people(
    things: Sequence[Thing], people: Sequence[dict[str, Any]], clips: Sequence[str]
) -> list[dict[str, Any]]:
    """For each clip the number of persons (`whole` ones, and others) and of things in the answer."""
    rows: list[dict[str, Any]] = []
    for clip in clips:
        mine = [p for p in people if p["clip"] == clip]
        whole = sum(p["whole"] for p in mine)
        told = sum(any(Path(s.source).name == clip for s in thing.sightings) for thing in things)
        ok = None if whole != len(mine) else (whole <= told <= MOST_THINGS * whole)
        rows.append({"clip": clip, "people": len(mine), "whole": whole, "things": told, "right": ok})
    return rows


def rate(rows: Sequence[dict[str, Any]], key: str, of: int | None = None) -> dict[str, Any]:
    """How many rows have `key`, of how many, the share and its interval."""
    hits, total = sum(bool(row[key]) for row in rows), len(rows) if of is None else of
    return {"n": total, key: hits, "rate": hits / total if total else None, "interval": wilson(hits, total)}


def summary(result: dict[str, Any], known: Facts) -> dict[str, Any]:
    """The figures with a target, from the rows."""
    rows, names, absent, people = (result[k] for k in ("queries", "names", "absent_found", "people"))
    found = [row | {"found": True} for row in absent]
    halves = {half: len(known.absent[half]) for half in HALVES}
    judged = [row for row in people if row["right"] is not None]
    return {
        "clips": len(result["index"]),
        "failed_clips": sum("error" in row for row in result["index"]),
        "damaged": sum(row.get("damaged", 0) for row in result["index"]),
        "queries": len(rows),
        **{
            f"{how}_{part}": sum(row[how]["right"] for row in rows if part == "right" or not row["whole"])
            for how in WAYS
            for part in ("right", "right_not_whole_clip")
        },
        "picture_best_right": sum(row["picture"].get("best_right", False) for row in rows),
        "not_whole_clip": sum(not row["whole"] for row in rows),
        "names": rate(names, "right")
        | {half: rate([row for row in names if row["half"] == half], "right") for half in HALVES}
        | {
            "core": rate([row for row in names if row["core"]], "right"),
            "worth": {w: sum(row["worth"] == w for row in names) for w in sorted({row["worth"] for row in names})},
            "best_right": sum(row.get("best_right", False) for row in names),
        },
        "absent": rate(found, "found", sum(halves.values()))
        | {half: rate([row for row in found if row["half"] == half], "found", n) for half, n in halves.items()},
        "people": rate(judged, "right") | {"most_things": max((row["things"] for row in judged), default=0)},
    }


def show(result: dict[str, Any]) -> None:
    print(
        table(
            ["thing", "clip", "tIoU", "score", *WAYS],
            [
                [
                    row["label"],
                    row["clip"][:20],
                    row["picture"].get("tiou"),
                    row["picture"].get("score"),
                    *(row[way]["right"] for way in WAYS),
                ]
                for row in result["queries"]
            ],
        )
    )
    print(
        table(
            ["name", "half", "newest sighting", "clip", "score"],
            [
                [row["name"], row["half"], row["worth"], row.get("clip", "-")[:20], row.get("score")]
                for row in result["names"]
            ],
        )
    )
    print("absent, found:", ", ".join(f"{row['name']} {row['score']:.2f}" for row in result["absent_found"]) or "none")
    print(
        table(
            ["person: clip", "people", "things", "right"],
            [[row["clip"], row["people"], row["things"], row["right"]] for row in result["people"]],
        )
    )
    print(json.dumps(result["summary"]))


def main() -> int:
    parser = parser_for(__doc__, "the sheets lie beside it")
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
    held = [clip.name for clip in clips]
    known = facts(held)
    people = json.loads(PEOPLE.read_text("utf-8"))["people"]
    with Memory.open(folder) as memory:
        result["index"] = index(memory, clips)
        for row in result["index"]:
            if "error" in row:
                say(f"FAILED {row['clip']}: {row['error']}")
        asked = [q for q in json.loads(QUERIES.read_text("utf-8"))["queries"] if q["clip"] in held]
        result["queries"], pictures = ask(memory, args.clips, asked)
        result["names"], named = ask_names(memory, args.clips, known)
        result["absent_found"], absent = ask_absent(memory, args.clips, known)
        result["people"] = count_people(memory.timeline(PERSON), people, held)
        result["stats"] = {"tracks": memory.stats().tracks, "bytes_per_hour": memory.stats().bytes_per_hour}
    result["summary"] = summary(result, known)
    write_json(args.out, result)
    for ending, tiles in (("", pictures), ("-names", named), ("-absent", absent)):
        sheet = args.out.with_name(f"{args.out.stem}{ending}.png")
        sheet.unlink(missing_ok=True)  # of an earlier run
        if tiles:
            grid(tiles).save(sheet)
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
