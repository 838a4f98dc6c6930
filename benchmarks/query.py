"""Time of answers from a finished memory: `python -m benchmarks.query --out FILE.json [--only parse] [--quick]`.

parse     a video of 10 minutes (3,000 frames, 30 regions each, 6,000 tracks), all of its regions named and the area of
          each label added up, by both ways and with label pictures; nothing is encoded
haystack  10,000 pictures of 40 regions: warm questions, each checked against brute force over all regions in float64
timeline  1,000,000 tracks in 30 videos of an hour with all their regions: all sightings, told apart into things
watch     300 names at once to the same memory, against one question for each

The memories are synthetic (query_memories.py), written by the Store, and kept in benchmarks/out. --quick: a tenth.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._child import peak_rss
from benchmarks.common import OUT, machine, memory_place, model, parser_for, quantile, say, table, write_json
from benchmarks.query_memories import make
from benchmarks.truth import brute, cosines
from vidmem import Memory
from vidmem.export.label_files import LabelPictures, write_all
from vidmem.query.haystack import PAPER_THRESHOLD
from vidmem.query.parse import areas
from vidmem.store import PICTURE_NS

TARGETS = {"parse_s": 20.0, "haystack_p50_ms": 30.0, "timeline_p50_ms": 150.0}
PARTS = ("parse", "haystack", "timeline", "watch")


_clock: Callable[[], float] = time.perf_counter


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds, and the result."""
    began = _clock()
    value = call()
    return (_clock() - began) * 1e3, value


def words(seed: int) -> list[str]:
    """Names in a fixed order."""
    from lab.synthetic.drawings import things

    names = [thing.name for thing in things()]
    return [names[i] for i in np.random.default_rng(seed).permutation(len(names))]


def spread(times: list[float]) -> dict[str, Any]:
    return {"p50_ms": quantile(times, 0.5), "p95_ms": quantile(times, 0.95), "questions": len(times)}


def bench_parse(folder: Path, quick: bool) -> dict[str, Any]:
    frames = 300 if quick else 3000
    make(folder, 0, [(frames, 2 * frames, 30.0)])
    out: dict[str, Any] = {"frames": frames, "video_s": frames / 5}
    with Memory.open(folder, read_only=True) as memory:
        (row,) = memory.sources()
        for labels in ("vspw", "coco"):
            for way in ("track", "vote"):
                out[f"{labels}_{way}_s"] = timed(partial(_parse, memory, row.uri, labels, way, None))[0] / 1e3
        with tempfile.TemporaryDirectory() as pictures:
            out["vspw_track_png_s"] = timed(partial(_parse, memory, row.uri, "vspw", "track", pictures))[0] / 1e3
        stats = memory.stats()
    return out | {
        "tracks": stats.tracks,
        "regions": stats.regions,
        "peak_rss": peak_rss(),
        "seconds": out["vspw_track_s"],
    }


def _parse(memory: Memory, source: str, labels: str, way: Any, pictures: str | None) -> None:
    """Do what `vidmem parse` does."""
    parsed = memory.parse(source, labels, way=way)
    writers = [] if pictures is None else [LabelPictures(pictures, parsed.source, parsed.labels)]
    count = len(parsed.labels)
    seen = [(scene.t_ns, scene.shares(count)) for scene in write_all(parsed.frames(memory.store), writers)]
    if not areas(seen, count).shares.any():
        raise AssertionError("nothing got a label")


def bench_haystack(folder: Path, quick: bool) -> dict[str, Any]:
    pictures, questions = (1000, 50) if quick else (10_000, 300)
    make(folder, 1, [], (pictures, 40))
    names = words(1)
    truth = brute(folder)
    out: dict[str, Any] = {"pictures": pictures, "tokens": len(truth["id"])}
    with Memory.open(folder, read_only=True) as memory:
        out["first_ms"] = timed(partial(memory.haystack, names[0], names[1]))[0]
        for rule in ("default", "paper"):
            times, verdicts = [], []
            for i in range(questions):
                anchor, target = names[i % len(names)], names[(i * 7 + 3) % len(names)]
                took, answer = timed(partial(memory.haystack, anchor, target, rule=rule))
                times.append(took)
                verdicts.append(answer.verdict)
                if i < (10 if quick else 50):
                    _check_haystack(memory, truth, anchor, target, rule, answer)
            out[rule] = spread(times) | {v: verdicts.count(v) for v in ("yes", "no", "not found")}
    return out | {"equal_to_brute_force": True, "peak_rss": peak_rss(), "p50_ms": out["default"]["p50_ms"]}


def _check_haystack(memory: Memory, truth: dict[str, Any], anchor: str, target: str, rule: str, answer: Any) -> None:
    """Raises AssertionError unless the answer is that of brute force; scores within float32 rounding of a limit may
    differ.
    """
    first, second = memory.text_encoder.encode_text([anchor, target])
    read = cosines(truth["text"], first)
    counts = read >= -2 if rule == "paper" else _found(memory, truth, first, read)
    if not counts.any():
        if answer.verdict != "not found":
            raise AssertionError(f"{anchor}: brute force finds no picture")
        return
    best = np.where(counts, read, -2)
    top = truth["start"][int(best.argmax())]
    if answer.anchor is None or abs(answer.anchor.score - best.max()) > 3e-6:
        raise AssertionError(f"{anchor}: another score than brute force")
    if answer.anchor.paths[0][-10:-4] != f"{top // PICTURE_NS:06d}" and (best > best.max() - 3e-6).sum() == 1:
        raise AssertionError(f"{anchor}: another picture than brute force")
    inside = truth["start"] == top
    part = {name: values[inside] for name, values in truth.items()}
    score = cosines(part["text"], second)
    yes = score > PAPER_THRESHOLD if rule == "paper" else _found(memory, part, second, score)
    if (answer.verdict == "yes") != bool(yes.any()):
        raise AssertionError(f"{anchor}, {target}: {answer.verdict}, and brute force says otherwise")


def _found(memory: Memory, truth: dict[str, Any], vector: Any, score: Any) -> Any:
    """The calibrated tests, in float64."""
    calibration = memory.calibration
    found = score >= calibration.text_threshold
    against = memory.text_encoder.contrast(vector).astype(np.float64)
    for i in np.flatnonzero(found):
        token = truth["text"][i].astype(np.float64)
        rivals = against @ (token / np.linalg.norm(token))
        share = 1 / (1 + np.exp((rivals - score[i]) / calibration.temperature).sum())
        found[i] = share >= calibration.contrast_probability
    return found


def hours_of(folder: Path, quick: bool) -> int:
    """Make the memory of the timeline; return its hours."""
    hours = 3 if quick else 30
    make(folder, 2, [(3600 * 5, 1_000_000 // 30, 12.5)] * hours)
    return hours


def bench_timeline(folder: Path, quick: bool) -> dict[str, Any]:
    hours = hours_of(folder, quick)
    names = words(2)
    with Memory.open(folder, read_only=True) as memory:
        first = timed(partial(memory.timeline, "umbrella"))[0]
        times, alike, sightings = [], [], []
        for name in names[: 30 if quick else 100]:
            took, things = timed(partial(memory.timeline, name))
            times.append(took)
            sightings.append(sum(len(thing.sightings) for thing in things))
        for name in names[: 5 if quick else 20]:
            alike.append(timed(partial(memory.timeline, name, alike=True))[0])
        stats = memory.stats()
    return {
        "hours": hours,
        "tracks": stats.tracks,
        "regions": stats.regions,
        "first_ms": first,
        **spread(times),
        "sightings_median": quantile(sightings, 0.5),
        "sightings_most": max(sightings),
        "alike_p50_ms": quantile(alike, 0.5),
        "database_bytes": stats.database_bytes,
        "peak_rss": peak_rss(),
    }


def bench_watch(folder: Path, quick: bool) -> dict[str, Any]:
    hours_of(folder, quick)
    names = words(3)[: 60 if quick else 300]
    with Memory.open(folder, read_only=True) as memory:
        memory.watch(names[:2])
        together, answers = timed(partial(memory.watch, names))
        one_by_one = 0.0
        for name, answer in zip(names, answers, strict=True):
            took, alone = timed(partial(memory.where, name))
            one_by_one += took
            if [s.tracks for s in alone] != [s.tracks for s in answer] or alone.total != answer.total:
                raise AssertionError(f"{name}: another answer than alone")
        tracks = memory.stats().tracks
    return {
        "tracks": tracks,
        "names": len(names),
        "together_ms": together,
        "one_by_one_ms": one_by_one,
        "ratio": together / one_by_one,
        "equal_answers": True,
    }


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be given again")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size: only tries whether it runs")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for memories (benchmarks/out)")
    parser.add_argument("--fresh", action="store_true", help="make the memories again")
    parser.add_argument("--cpu-time", action="store_true", help="the process's own time: on a busy machine")
    args = parser.parse_args()
    global _clock
    _clock = time.process_time if args.cpu_time else time.perf_counter
    place = partial(memory_place, args.cache, "query", "quick" if args.quick else "full")
    if args.fresh:
        shutil.rmtree(place(), ignore_errors=True)
    result: dict[str, Any] = {
        "machine": machine(),
        "model": model(),
        "targets": TARGETS,
        "quick": args.quick,
        "cpu_time": args.cpu_time,
    }
    parts = {
        "parse": (bench_parse, "parse"),
        "haystack": (bench_haystack, "haystack"),
        "timeline": (bench_timeline, "hours"),
        "watch": (bench_watch, "hours"),
    }
    for name in args.only or PARTS:
        run, folder = parts[name]
        result[name] = run(place(folder), args.quick)
        say(f"{name}: {result[name]}")
    rows: list[list[object]] = []
    met: dict[str, bool] = {}
    for name, key, unit in (("parse", "seconds", "s"), ("haystack", "p50_ms", "ms"), ("timeline", "p50_ms", "ms")):
        if name in result:
            target = TARGETS[f"{name}_s" if unit == "s" else f"{name}_p50_ms"]
            met[name] = result[name][key] <= target
            rows.append([f"{name} ({unit})", float(result[name][key]), f"<= {target:g}", met[name]])
    if "watch" in result:
        rows.append(["watch-list / one by one", float(result["watch"]["ratio"]), None, None])
    result |= {"met": met, "load_after": os.getloadavg()}
    write_json(args.out, result)
    print(table(["", "measured", "wanted", "met"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
