"""Masks as text at toy scale: `python -m benchmarks.text4seg_toy --out FILE.json [--only RUN] [--quick]`.

A small language model learns to answer "the blue triangle left of the red circle" with a mask as text (Text4Seg, ICLR
2025), on made scenes. A small vision side is taught labels per patch first and then frozen. Each run is one training;
the held-out questions are about other scenes, half of them about pairs of colour and shape that no training question
names. Every mask is read from the text that the model wrote, by greedy decoding.

A run that was interrupted goes on where it stopped, and a finished one is kept, both in `--cache`.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from benchmarks.common import OUT, machine, say, write_json
from lab.train import checkpoint
from lab.train.text4seg_toy.data import DEV, TEST, Item, held_out
from lab.train.text4seg_toy.loop import Config, train
from lab.train.text4seg_toy.measure import (
    Answer,
    answers,
    by_kind,
    empty_answers,
    pace,
    right_answers,
    scores,
    speed,
)
from lab.train.text4seg_toy.model import ModelConfig, Writer
from lab.train.text4seg_toy.questions import HELD
from lab.train.text4seg_toy.scenes import draw
from lab.train.text4seg_toy.vision import Vision, accuracy, teach
from vidmem.export.textlayout import LAYOUTS

SIZE = ModelConfig(width=96, layers=5, heads=4)
LESSON = Config(steps=600, lesson=True, model=SIZE)
"""What all runs start from, directly or not."""
FIRST = {
    "8x8, first": Config(steps=1600, every=200, start="lesson", model=SIZE),
    "16x16, first": Config(steps=640, every=80, grid=16, start="8x8, first", model=SIZE),
}
"""Before more questions about places."""
MAIN = {
    "8x8": Config(steps=640, every=80, seed=1, lr=7e-4, warmup=40, hard=0.4, start="8x8, first", model=SIZE),
    "16x16": Config(
        steps=200, every=100, grid=16, seed=1, lr=5e-4, warmup=20, hard=0.4, start="16x16, first", model=SIZE
    ),
}
"""The runs that the targets are for."""
SHORT = {
    f"8x8 {layout}, short": Config(steps=500, every=100, layout=layout, start="lesson", model=SIZE)
    for layout in LAYOUTS
}
"""The layouts after equal training."""
RUNS = {"lesson": LESSON, **FIRST, **MAIN, **SHORT}
VISION_STEPS = 1500
ASK, ASK_HELD, TIMED = 600, 300, 30
"""Held-out questions, those about pairs that were never asked for, and those that are timed one at a time."""
LEAST = {"ciou_of_ceiling": 0.5, "strict": 0.99, "absent": 0.95}


def vision_of(folder: Path, steps: int) -> Vision:
    """The taught vision side, from the cache if it is there."""
    from safetensors.torch import load_file

    path = folder / f"vision-{steps}.safetensors"
    if path.exists():
        model = Vision()
        model.load_state_dict(load_file(path))
        return model.eval().requires_grad_(False)
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    model = teach(steps, report=lambda step, loss: say(f"vision, step {step}: loss {loss:.3f}"))
    facts = {"minutes": f"{(time.monotonic() - begun) / 60:.1f}"}
    checkpoint.write_tensors(path, model.state_dict(), facts, "the vision side")
    return model


def writer_of(name: str, vision: Vision, args: argparse.Namespace) -> Writer:
    """The trained writer of a run; goes on from its checkpoint, which may be the last one."""
    config = config_of(name, args.quick)
    folder = folder_of(name, args.cache)
    resume = (folder / checkpoint.FILE).exists()
    start = None if resume or not config.start else writer_of(config.start, vision, args).state_dict()

    def report(step: int, row: Any) -> None:
        answered = "" if config.lesson else f", cIoU {row['ciou']:.3f}, absent {row['absent']:.2f}"
        strict = "" if config.lesson else f", strict {row['strict']:.3f}"
        say(
            f"{time.strftime('%H:%M:%S')} {name}, step {step} of {config.steps}: loss {row['loss']:.4f}"
            f"{answered}{strict}, {row['seconds'] / 60:.1f} minutes, {row['cpu'] / 60:.1f} of the processor"
        )

    return train(vision, config, folder, start=start, resume=resume, report=report)


def config_of(name: str, quick: bool) -> Config:
    """The settings of a run, or tiny ones that only show that it runs."""
    config = RUNS[name]
    small = replace(SIZE, width=16, layers=4, heads=2)
    return replace(config, grid=config.grid // 2, steps=8, every=8, batch=8, dev=4, model=small) if quick else config


def folder_of(name: str, cache: Path) -> Path:
    """Where a run keeps its checkpoint and log."""
    return cache / "text4seg_toy" / name.replace(" ", "-").replace(",", "")


def measure(name: str, vision: Vision, args: argparse.Namespace) -> dict[str, Any]:
    """Train one run and ask it the held-out questions."""
    config = config_of(name, args.quick)
    writer = writer_of(name, vision, args)
    sets = {"held out": held_out(TEST, args.ask), "pairs never asked": held_out(TEST + 20_000_000, args.ask_held, HELD)}
    result: dict[str, Any] = {
        "run": name,
        "config": asdict(config),
        "parameters": sum(p.numel() for p in writer.parameters()),
        "log": _log(folder_of(name, args.cache)),
        "sets": {},
    }
    for set_name, items in sets.items():
        given = answers(writer, vision, items, config.grid, config.layout)
        ceiling = scores(items, right_answers(items, config.grid, config.layout))
        row = scores(items, given)
        result["sets"][set_name] = {
            "questions": len(items),
            "absent_questions": sum(item.question.absent for item in items),
            "scores": row,
            "ceiling": ceiling,
            "empty": scores(items, empty_answers(items)),
            "ciou_of_ceiling": row["ciou"] / ceiling["ciou"],
            "by_kind": by_kind(items, given),
            "ceiling_by_kind": by_kind(items, right_answers(items, config.grid, config.layout)),
        }
        if set_name == "held out":
            sheet(args.out.with_name(f"{args.out.stem}-{config.grid}-{config.layout}.png"), items, given, config.grid)
    few = sets["held out"][: args.timed]
    result["seconds_per_answer"], result["tokens_per_second"] = speed(writer, vision, few, config.grid)
    if name in MAIN:
        result["constrained"] = constrained_part(writer, vision, few, config.grid)
        result["layouts"] = [
            {
                "layout": layout,
                "tokens": scores(sets["held out"], right_answers(sets["held out"], config.grid, layout))["tokens"],
                "seconds_per_answer": pace(writer, vision, few[: max(1, args.timed // 5)], layout),
            }
            for layout in LAYOUTS
        ]
    return result


def constrained_part(writer: Writer, vision: Vision, items: Sequence[Item], grid: int) -> dict[str, Any]:
    """What constrained decoding changes: valid answers and speed of this writer, and of one whose head is untaught."""
    blank = Writer(writer.config, grid)
    blank.load_state_dict({**writer.state_dict(), **{f"head.{k}": v for k, v in blank.head.state_dict().items()}})
    return {
        "questions": len(items),
        **{
            f"{which}{'_constrained' if constrain else ''}": {
                "scores": scores(items, answers(model, vision, items, grid, "rows", constrain=constrain)),
                "tokens_per_second": speed(model, vision, items[:10], grid, constrain=constrain)[1],
            }
            for which, model in (("taught", writer), ("untaught_head", blank))
            for constrain in (False, True)
        },
    }


def _log(folder: Path) -> list[dict[str, float]]:
    from lab.train.logs import FILE, read

    return read(folder / FILE)


def wanted(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the main runs must reach on the held-out questions, and what they reach."""
    out = {}
    for row in rows:
        if row["run"] not in MAIN:
            continue
        held = row["sets"]["held out"]
        measured = {
            "ciou_of_ceiling": held["ciou_of_ceiling"],
            "strict": held["scores"]["strict"],
            "absent": held["scores"]["absent"],
        }
        for name, least in LEAST.items():
            out[f"{row['run']} {name}"] = {"least": least, "measured": measured[name], "met": measured[name] >= least}
    return out


def run(args: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(args.threads)
    vision = vision_of(args.cache / "text4seg_toy", args.vision_steps)
    fresh = [draw(DEV + 40_000_000 + n) for n in range(args.ask)]
    rows = []
    for name in (*MAIN, *(SHORT if args.layouts else ())):
        if args.only in (None, name):
            rows.append(measure(name, vision, args))
            held = rows[-1]["sets"]["held out"]
            say(f"{name}: held-out cIoU {held['scores']['ciou']:.3f} of {held['ceiling']['ciou']:.3f}")
    return {
        "benchmark": "text4seg_toy",
        "quick": args.quick,
        "machine": machine(),
        "vision": {"steps": args.vision_steps, **accuracy(vision, fresh)},
        "rows": rows,
        "wanted": wanted(rows),
    }


def as_table(result: dict[str, Any]) -> str:
    """The result as Markdown tables."""
    head = (
        "run", "questions", "cIoU", "ceiling", "share", "gIoU", "gIoU, empty", "strict", "absent", "missed", "tokens",
        "s/answer", "tokens/s",
    )  # fmt: skip
    rows = [
        (
            row["run"], set_name, part["scores"]["ciou"], part["ceiling"]["ciou"], part["ciou_of_ceiling"],
            part["scores"]["giou"], part["empty"]["giou"], part["scores"]["strict"], part["scores"]["absent"],
            part["scores"]["missed"], part["scores"]["tokens"], row["seconds_per_answer"], row["tokens_per_second"],
        )
        for row in result["rows"]
        for set_name, part in row["sets"].items()
    ]  # fmt: skip
    kinds = ("colour", "shape", "pair", "extreme", "relation")
    by = [
        (
            row["run"],
            set_name,
            *(_share(part, kind) for kind in kinds),
            *(part["by_kind"].get(kind, {}).get("absent") for kind in kinds),
        )
        for row in result["rows"]
        for set_name, part in row["sets"].items()
    ]
    long = [
        (row["run"], part["layout"], part["tokens"], part["seconds_per_answer"])
        for row in result["rows"]
        for part in row.get("layouts", ())
    ]
    loose = [
        (
            row["run"],
            which,
            row["constrained"][which]["scores"]["strict"],
            row["constrained"][which]["scores"]["ciou"],
            row["constrained"][which]["tokens_per_second"],
        )
        for row in result["rows"]
        if "constrained" in row
        for which in ("taught", "taught_constrained", "untaught_head", "untaught_head_constrained")
    ]
    return "\n\n".join(
        [
            markdown(head, rows),
            markdown(("run", "cIoU / ceiling", *kinds, *(f"absent, {kind}" for kind in kinds)), by),
            markdown(("run", "decoding", "strict", "cIoU", "tokens/s"), loose),
            markdown(("run", "layout", "tokens of the right answer", "s to write it"), long),
        ]
    )


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown; None and NaN are dashes."""

    def cell(value: object) -> str:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return "-"
        return f"{value:.3g}" if isinstance(value, float) and abs(value) < 100 else (
            f"{value:.0f}" if isinstance(value, float) else str(value)
        )  # fmt: skip

    lines = [head, ["---"] * len(head), *([cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(part: dict[str, Any], kind: str) -> float | None:
    if kind not in part["by_kind"]:
        return None
    best = part["ceiling_by_kind"][kind]["ciou"]
    return part["by_kind"][kind]["ciou"] / best if best else None


def sheet(path: Path, items: Sequence[Item], given: Sequence[Answer], grid: int, count: int = 24) -> None:
    """The first questions as pictures: the scene, the right mask on the grid, and the answer."""
    side, gap, text, columns = 128, 6, 30, 4
    rows = math.ceil(count / columns)
    page = Image.new("RGB", (columns * (3 * side + 4 * gap), rows * (side + text + gap)), "white")
    pen = ImageDraw.Draw(page)
    right = right_answers(items[:count], grid, "rows")
    for number, (item, answer, best) in enumerate(zip(items[:count], given, right, strict=False)):
        x, y = (number % columns) * (3 * side + 4 * gap) + gap, (number // columns) * (side + text + gap)
        about = " (absent)" if item.question.absent else ""
        pen.text((x, y + 2), f"{item.question}{about}", fill="black")
        union = (item.question.mask(item.scene) | answer.mask).sum()
        fit = (item.question.mask(item.scene) & answer.mask).sum() / union if union else 1.0
        pen.text((x, y + 15), f"scene | right on the grid | answer, IoU {fit:.2f}", fill="gray")
        for place, mask in enumerate((None, best.mask, answer.mask)):
            picture = item.scene.picture.copy()
            if mask is not None:
                picture = np.where(mask[..., None], picture // 2 + np.array([127, 127, 127], np.uint8), picture // 4)
            shown = Image.fromarray(picture.astype(np.uint8)).resize((side, side), Image.Resampling.NEAREST)
            page.paste(shown, (x + place * (side + gap), y + text))
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path)


def main(argv: list[str] | None = None) -> int:
    """Returns 0 if every target is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=OUT / "text4seg_toy.json", help="result; tables and sheets beside it"
    )
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for trained models and checkpoints")
    parser.add_argument("--only", choices=(*MAIN, *SHORT), help="one run alone, after those that it starts from")
    parser.add_argument("--layouts", action="store_true", help="also train the layouts equally, for 12 minutes more")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a minute: does it run at all? The figures mean nothing")
    args = parser.parse_args(argv)
    args.layouts |= args.only in SHORT
    args.ask, args.ask_held, args.timed, args.vision_steps = ASK, ASK_HELD, TIMED, VISION_STEPS
    if args.quick:
        args.ask, args.ask_held, args.timed, args.vision_steps = 24, 12, 2, 5
        args.cache, args.layouts = args.cache / "quick", args.layouts or args.only is None
    result = run(args)
    write_json(args.out, result)
    text = as_table(result)
    args.out.with_suffix(".md").write_text(text + "\n", "utf-8")
    print(text)
    for name, row in result["wanted"].items():
        say(f"{name}: {row['measured']:.3f}, wanted {row['least']:g}: {'met' if row['met'] else 'MISSED'}")
    return 0 if args.quick or all(row["met"] for row in result["wanted"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
