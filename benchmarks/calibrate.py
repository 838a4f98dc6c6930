"""When an answer of `tiny` counts as found: `python -m benchmarks.calibrate --out FILE.json [--write]`.

Indexes calibration worlds (seeds 5000..; never the held-out 9000..), then tries thresholds on the stored memories:
every question is scored against all tracks once, and each setting only cuts those scores. Chosen is the setting with
the highest rate of right answers (mean over name, synonym, picture, name x picture) among those that "find" at most
--false-found of what is absent: absent words, absent pictures, an absent picture with its name, phrases of nothing that
is in the world (household.txt), and at most twice as many of the household names that are absent from the real clips
(real_names.json; without clips that is left out, and said). The choice is the middle of a plateau: rates are averaged
with those of the neighbouring settings first. At the end the chosen one is run through vidmem.query.where, and must
agree. On the same questions it fits the curves from scores to probabilities (calibrate_probability.py).

--write puts both into vidmem/encoders/weights/tiny.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.calibrate_clips import ask_clips
from benchmarks.calibrate_probability import Candidates, candidates, fit_all
from benchmarks.calibrate_questions import TEMPERATURES, Question, examples, household, questions
from benchmarks.calibrate_settings import choose, grids, leave_one_out, outcomes, rates, settings_of, tabulate
from benchmarks.common import OUT, machine, memory_place, model, parse_range, say, table, tiou, write_json
from benchmarks.lostfound import LEAST_TIOU, index_world
from benchmarks.real import CLIPS
from benchmarks.reliability_plot import plot as plot_probability
from benchmarks.worlds import ensure_all, vendor
from vidmem import Memory
from vidmem.encoders.base import Calibration
from vidmem.probability import Probabilities
from vidmem.query.where import where


def check(memories: Sequence[Memory], asked: Sequence[Question], calibration: Calibration) -> int:
    """How many answers of vidmem.query.where differ from the simulated ones; 0 unless the simulation is wrong."""
    v = TEMPERATURES.index(calibration.temperature)
    differ = 0
    for question in asked:
        setting = settings_of(calibration)[question.mode]
        found, right = outcomes(question, [setting], v)
        memory = memories[question.world]
        answer = where(memory.store, memory.cache(), calibration, text=question.text, visual=question.visual,
                       contrast=question.contrast)  # fmt: skip
        ok = (
            question.span is not None
            and answer.found
            and (tiou((answer[0].start_ns, answer[0].end_ns), question.span) >= LEAST_TIOU)
        )
        differ += answer.found != bool(found[0]) or ok != bool(right[0])
    return differ


def write(calibration: Calibration, curves: Probabilities) -> Path:
    """Put both into the card of `tiny`, everything else untouched."""
    card = Path(str(files("vidmem.encoders") / "weights" / "tiny.json"))
    facts = json.loads(card.read_text("utf-8"))
    facts["calibration"] = {name: value for name, value in asdict(calibration).items() if name != "probability"}
    facts["probability"] = curves.as_dict()
    part = card.with_name(card.name + ".part")
    part.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    part.replace(card)
    return card


def plot(path: Path, rows: Sequence[dict[str, Any]], calibration: Calibration) -> None:
    """Scores of the best right and the best wrong track, by kind of question."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = (
        ("words: text cosine", "text", "", calibration.text_threshold),
        ("words: share (T = 0.06)", "text", "_share", calibration.contrast_probability),
        ("picture: visual cosine", "visual", "", calibration.visual_threshold),
        ("both: product", "product", "", calibration.product_threshold),
    )
    figure, axes = plt.subplots(1, len(panels), figsize=(16, 3.6), layout="constrained")
    for axis, (title, mode, part, cut) in zip(axes, panels, strict=True):
        mine = [row for row in rows if row["mode"] == mode]
        for label, colour, values in (
            ("best right track", "#3d6a9e", [r["right" + part] for r in mine if r["span"]]),
            ("best wrong track", "#d9a441", [r["wrong" + part] for r in mine if r["span"]]),
            ("best track, absent", "#c8553d", [r["wrong" + part] for r in mine if not r["span"]]),
        ):
            held = [v for v in values if v is not None]
            if held:
                axis.hist(held, bins=30, range=(0, 1), histtype="step", linewidth=1.6, density=True, color=colour,
                          label=label)  # fmt: skip
        axis.axvline(cut, color="#222", linestyle="--", linewidth=1)
        axis.set_title(title, fontsize=10)
        axis.set_yticks([])
    axes[0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> int:
    import os

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write; the plot lies beside it")
    parser.add_argument("--seeds", type=parse_range, default=range(5100, 5130), help="A:B below 9000 (5100:5130)")
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--drawings", type=Path, help="another vendor's drawings")
    parser.add_argument("--false-found", type=float, default=0.05, help="most false finds of any kind (.05)")
    parser.add_argument("--clips", type=Path, default=CLIPS, help="folder of the clips (../shared/data/clips)")
    parser.add_argument("--cache", type=Path, default=OUT)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="for making worlds")
    parser.add_argument("--fresh", action="store_true", help="index again")
    parser.add_argument("--write", action="store_true", help="put the result into vidmem/encoders/weights/tiny.json")
    args = parser.parse_args()
    if any(seed >= 9000 for seed in args.seeds):
        parser.error("seeds of 9000 and above are held out")
    before = machine()
    memories: list[Memory] = []
    asked: list[Question] = []
    rows: list[dict[str, Any]] = []
    tried: list[Candidates] = []
    unknown = household()
    worlds = ensure_all(args.cache, args.drawings, args.seeds, args.seconds, args.processes)
    for number, world in enumerate(worlds):
        folder = memory_place(args.cache, "calibrate", vendor(args.drawings), world.folder.name)
        if args.fresh:
            shutil.rmtree(folder, ignore_errors=True)
        index_world(world, folder)
        memory = Memory.open(folder, read_only=True)
        memories.append(memory)
        mine = questions(memory, world, number, unknown)
        asked += mine
        cache = memory.cache()
        tracks = memory.store.tracks([int(i) for i in cache.columns.ids])
        boxes = np.array([t.best_box for t in tracks], np.float64)
        times = np.array([t.best_ns for t in tracks], np.int64)
        for q in mine:
            tried.append(candidates(q, world, boxes, times, TEMPERATURES[0]))
            rows.append({"seed": world.truth.seed, "kind": q.kind, "asked": q.asked, "mode": q.mode, "span": q.span,
                         **examples(cache, boxes, times, world, q)})  # fmt: skip
        say(f"seed {world.truth.seed}: {len(mine)} questions to {len(cache)} tracks")
    more, clips_asked = ask_clips(args.clips, args.cache, len(memories))
    memories, asked = memories + more, asked + clips_asked
    if not more:
        say(f"no clips in {args.clips}: fitted on made-up walks alone")
    tables = tabulate(asked)
    calibration = choose(tables, args.false_found)
    curves, likely = fit_all(tried, calibration)
    fitted = rates(tables, calibration)
    crossed = leave_one_out(tables, args.false_found, len(worlds)) if len(worlds) > 1 else {}
    found_words: dict[str, int] = {}
    v = TEMPERATURES.index(calibration.temperature)
    at = grids("text")[0].index(settings_of(calibration)["text"])
    for q, hit, _ in tables["text", v]:
        if q.kind == "unknown_word" and hit[at]:
            found_words[q.asked] = found_words.get(q.asked, 0) + 1
    differ = check(memories, asked, calibration)
    for memory in memories:
        memory.close()
    result = {
        "machine": before, "model": model(), "seeds": list(args.seeds), "seconds": args.seconds,
        "drawings": vendor(args.drawings), "false_found_limit": args.false_found,
        "calibration": asdict(calibration), "rates": fitted, "leave_one_world_out": crossed, "probability": likely,
        "unknown_phrases": len(unknown), "unknown_found": found_words, "clips": len(more),
        "differs_from_where": differ, "scores": rows,
    }  # fmt: skip
    write_json(args.out, result)
    plot(args.out.with_suffix(".png"), rows, calibration)
    plot_probability(args.out.with_name(args.out.stem + "-probability.png"), likely, "calibrate: other worlds' curves")
    print(table(
        ["kind", "questions", "right", "found", "elsewhere: right", "found"],
        [[kind, row["questions"], row["right"], row["found"], crossed.get(kind, {}).get("right"),
          crossed.get(kind, {}).get("found")] for kind, row in fitted.items()],
    ))  # fmt: skip
    print(json.dumps(asdict(calibration)))
    for mode, facts in likely.items():
        score = facts.get("brier_elsewhere")
        curve = json.dumps(facts["curve"]) if facts["fitted"] else facts["why"]
        print(f"probability, {mode}: {curve}" + ("" if score is None else f", Brier {score:.3f} elsewhere"))
    if differ:
        print(f"{differ} answers of `where` differ from the simulated ones", file=sys.stderr)
        return 1
    if args.write:
        say(f"written to {write(calibration, curves)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
