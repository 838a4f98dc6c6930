"""Probability of an answer of `tiny`: `python -m benchmarks.calibrate --out FILE.json [--write]`.

Fits the curves from scores to probabilities (vidmem/encoders/probability.py) on questions with known answers to
synthetic walks (seeds 5000 to 8999), photographs, real clips and a film of photographs (calibrate_sets.py,
calibrate_fit.py). What is more likely meant than not counts as found, so the curves decide that too. --write puts them
into the card, vidmem/encoders/weights/tiny.json.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.calibrate_fit import Tried, fit_all, tried
from benchmarks.calibrate_sets import Asked, clips, panned, photos, walks
from benchmarks.common import OUT, machine, model, parse_range, parser_for, say, table, write_json
from benchmarks.photos import DATA
from benchmarks.reliability_plot import plot as plot_probability
from vidmem.encoders.probability import Probabilities


def write(curves: Probabilities) -> Path:
    """Write the curves into the card of `tiny` and leave the rest of it unchanged."""
    card = Path(str(files("vidmem.encoders") / "weights" / "tiny.json"))
    facts = json.loads(card.read_text("utf-8"))
    facts["probability"] = curves.as_dict()
    part = card.with_name(card.name + ".part")
    part.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    part.replace(card)
    return card


def main() -> int:
    parser = parser_for(__doc__, "the plot lies beside it")
    parser.add_argument("--seeds", type=parse_range, default=range(5100, 5112), help="A:B below 9000 (5100:5112)")
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--drawings", type=Path, help="another vendor's drawings")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of photos and clips (../shared/data)")
    parser.add_argument("--cache", type=Path, default=OUT)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="for making worlds")
    parser.add_argument("--write", action="store_true", help="put the curves into vidmem/encoders/weights/tiny.json")
    args = parser.parse_args()
    if any(seed >= 9000 for seed in args.seeds):
        parser.error("seeds of 9000 and above are held out")
    result: dict[str, Any] = {"machine": machine(), "model": model(), "seeds": list(args.seeds)}
    questions: list[Tried] = []
    number = 0

    def take(asked: Asked) -> None:
        nonlocal number
        with asked.memory as memory:
            questions.extend(tried(number, asked, memory.calibration))
            say(f"{asked.group}: {len(asked.questions)} questions to {len(memory.cache()):,} tracks")
        number += 1

    for asked in walks(args.cache, args.drawings, args.seeds, args.seconds, args.processes):
        take(asked)
    if (args.data / "photos.tar").exists():
        take(photos(args.data, args.cache))
        take(clips(args.data / "clips", args.cache))
        take(panned(args.data, args.cache))
    else:
        say(f"no photos in {args.data}: fitted on synthetic walks only")
    curves, told = fit_all(questions)
    result["probability"] = told
    write_json(args.out, result)
    plot_probability(args.out.with_suffix(".png"), told, "calibrate: each memory by the others' curves")
    for mode, facts in told.items():
        if not facts["fitted"]:
            print(f"{mode}: {facts['why']}")
            continue
        curve = facts["curve"]
        numbers = ", ".join(f"{part} {curve[part]:.2f}" for part in ("bias", "score", "share"))
        score = facts.get("brier_elsewhere")
        print(
            f"{mode}: {numbers}; absent counts {facts['absent_share']}"
            + ("" if score is None else f"; Brier {score:.3f} elsewhere")
        )
        print(
            table(
                ["", "questions", "found", "right", "elsewhere: found", "right"],
                [
                    [
                        kind,
                        row["questions"],
                        row["found"],
                        row["right"],
                        facts["elsewhere"].get(kind, {}).get("found"),
                        facts["elsewhere"].get(kind, {}).get("right"),
                    ]
                    for kind, row in facts["here"].items()
                ],
            )
        )
    if args.write:
        say(f"written to {write(curves)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
