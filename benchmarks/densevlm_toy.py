"""DenseVLM's decoupled alignment at small scale: `python -m benchmarks.densevlm_toy --out FILE.json [--quick]`.

A table like Table 3 of the paper (arXiv 2412.06244) at toy scale. On made scenes of things on textured grounds, a
small CLIP student learns from captions that mostly name the thing alone, and so calls ground by the names of things. A
teacher learns from labelled regions of scenes of its own. Then the student is aligned with the teacher's labels of
random boxes, once for each row of Table 3, always from the same start, with the same pictures in the same order.
Measured on scenes that nobody has seen, where every thing is as likely on every ground.

Each seed has its own scenes, student and orders; the teacher is one for all. Every stage is kept in a file, and
`--resume` continues with those that are there.
"""

from __future__ import annotations

import argparse
import copy
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import OUT, machine, parser_for, say, write_json
from lab.train.densevlm.losses import Alignment
from lab.train.densevlm_toy.align import align, look
from lab.train.densevlm_toy.measure import labels_of, measure
from lab.train.densevlm_toy.models import build, learn_captions, learn_regions, name_vectors
from lab.train.densevlm_toy.plan import ALIGN, DEVELOP, FULL, PRETRAIN, QUICK, TEACH, TEST, Plan, as_settings, staged
from lab.train.densevlm_toy.scenes import NAMES, SIDE, THINGS, make_scenes

ARMS: tuple[Alignment, ...] = ("coupled", "apart", "reversed", "decoupled")
"""The rows of Table 3, in its order."""
COMPETES = {
    "coupled": ("all", "all"),
    "apart": ("things", "stuff"),
    "reversed": ("all", "stuff"),
    "decoupled": ("things", "all"),
}
"""Names that compete in regions that the teacher calls a thing, and in those that it calls stuff."""
TITLES = {
    "boxes_top1": "Boxes",
    "boxes_top5": "Boxes top 5",
    "masks_thing_top1": "Masks-T",
    "masks_thing_top5": "Masks-T top 5",
    "masks_stuff_top1": "Masks-S",
    "masks_stuff_top5": "Masks-S top 5",
    "stuff_as_thing": "stuff called a thing",
    "thing_as_stuff": "things called stuff",
    "mixed_as_thing": "mixed boxes called a thing",
}
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571}
"""Student's t for a 95 % interval of a mean of so many values."""
COMPETENT = 0.85
"""Masks-T and Masks-S that the teacher must have."""


def run_seed(seed: int, plan: Plan, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """All rows of one seed: measured figures by the name of the row."""
    folder: Path = args.work / f"seed-{seed}"
    which = DEVELOP if args.develop else TEST
    held_out = make_scenes(plan.measure, (seed, which), plan.even)
    rows: dict[str, dict[str, float]] = {}

    def done(name: str, model: Any, began: float) -> None:
        rows[name] = measure(model, held_out) | {"seconds": round(time.process_time() - began, 1)}
        say(f"seed {seed}, {name}: " + ", ".join(f"{key} {value:.3g}" for key, value in rows[name].items()))

    def note(step: int, loss: float) -> None:
        say(f"  step {step}, loss {loss:.3f}")

    def student() -> Any:
        scenes = make_scenes(plan.pretrain, (seed, PRETRAIN), plan.rules)
        model = build(plan.student, seed)
        learn_captions(model, scenes, plan.captions, seed, note)
        return model

    of = args.teacher_seed

    def teacher(margin: float) -> Any:
        scenes = make_scenes(plan.teach, (of, TEACH), plan.even)
        model = build(plan.teacher, of + 500)
        learn_regions(model, scenes, plan.regions, of, margin, note)
        return model

    began = time.process_time()
    of_student = as_settings(seed=seed, size=plan.student, recipe=plan.captions, scenes=plan.pretrain, rules=plan.rules)
    start = staged(folder / "student.safetensors", plan.student, of_student, student)
    done("student", start, began)
    scenes = make_scenes(plan.align, (seed, ALIGN), plan.rules)
    teachers = [("", plan.margin, ARMS)]
    if args.even:
        teachers.append((", even teacher", 0.0, ("coupled", "decoupled")))
    for suffix, margin, arms in teachers:
        began = time.process_time()
        of_teacher = as_settings(
            seed=of, size=plan.teacher, recipe=plan.regions, scenes=plan.teach, rules=plan.even, margin=margin
        )
        kept = args.work / f"teacher-{of}-{margin:g}.safetensors"
        known = staged(kept, plan.teacher, of_teacher, partial(teacher, margin))
        done("teacher" + suffix, known, began)
        _align_all(folder, seed, plan, start, known, scenes, arms, suffix, of_student, of_teacher, done, note)
    if args.copy:
        _align_all(
            folder, seed, plan, start, start, scenes, ARMS[::3], ", copy as teacher", of_student, of_student, done, note
        )
    if seed == args.seeds[0]:
        draw_sheet(args.out.with_suffix(".png"), seed, plan, held_out, folder, start)
    return rows


def _align_all(
    folder: Path,
    seed: int,
    plan: Plan,
    start: Any,
    teacher: Any,
    scenes: Any,
    arms: Sequence[Alignment],
    suffix: str,
    of_student: dict[str, Any],
    of_teacher: dict[str, Any],
    done: Any,
    note: Any,
) -> None:
    """Align copies of `start` with one teacher, once for each arm."""
    seen: list[torch.Tensor] = []
    for arm in arms:
        began = time.process_time()

        def aligned(arm: Alignment = arm) -> Any:
            if not seen:
                seen.append(look(teacher, scenes))
            model = copy.deepcopy(start)
            with torch.no_grad():
                texts = name_vectors(teacher)
            align(
                model,
                seen[0],
                texts,
                scenes,
                plan.alignment,
                seed,
                alignment=arm,
                reduction=plan.reduction,
                note=note,
            )
            return model

        settings = as_settings(
            student=of_student,
            teacher=of_teacher,
            recipe=plan.alignment,
            scenes=plan.align,
            rules=plan.rules,
            reduction=plan.reduction,
            arm=arm,
        )
        name = arm + suffix
        kept = folder / (name.replace(", ", "-").replace(" ", "-") + ".safetensors")
        done(name, staged(kept, plan.student, settings, aligned), began)


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean, least and largest of the values, and the half width of a 95 % t interval of the mean."""
    half = T_95[len(values)] * statistics.stdev(values) / len(values) ** 0.5 if len(values) in T_95 else None
    return {"mean": statistics.fmean(values), "least": min(values), "largest": max(values), "half": half}


def summarised(by_seed: dict[int, dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Each row's figures over the seeds, and the paired differences of decoupled and coupled."""
    names = list(dict.fromkeys(name for rows in by_seed.values() for name in rows))
    rows = {
        name: {key: interval([found[name][key] for found in by_seed.values() if name in found]) for key in TITLES}
        for name in names
    }
    differences = {}
    for suffix in ("", ", even teacher", ", copy as teacher"):
        pair = "decoupled" + suffix, "coupled" + suffix
        whole = [found for found in by_seed.values() if pair[0] in found and pair[1] in found]
        if whole:
            differences[" - ".join(pair)] = {
                key: interval([found[pair[0]][key] - found[pair[1]][key] for found in whole]) for key in TITLES
            }
    return {"rows": rows, "differences": differences}


def as_markdown(summary: dict[str, Any]) -> str:
    """The rows as a table of Markdown: means with the least and largest of the seeds."""
    lines = [
        "| | P-Thing against | P-Stuff against | " + " | ".join(TITLES.values()) + " |",
        "|---|---|---|" + "---|" * len(TITLES),
    ]
    for name, figures in summary["rows"].items():
        against = COMPETES.get(name.partition(",")[0], ("", ""))
        lines.append(f"| {name} | {against[0]} | {against[1]} | " + " | ".join(map(_cell, figures.values())) + " |")
    lines += [
        "",
        "| difference, paired by seed | " + " | ".join(TITLES.values()) + " |",
        "|---|" + "---|" * len(TITLES),
    ]
    for name, figures in summary["differences"].items():
        lines.append(f"| {name} | " + " | ".join(_signed(figure) for figure in figures.values()) + " |")
    return "\n".join(lines)


def _cell(figure: dict[str, Any]) -> str:
    if figure["least"] == figure["largest"]:
        return _short(figure["mean"])
    return f"{_short(figure['mean'])} ({_short(figure['least'])} to {_short(figure['largest'])})"


def _signed(figure: dict[str, Any]) -> str:
    half = "" if figure["half"] is None else f" ± {_short(figure['half'])}"
    return f"{figure['mean']:+.2f}{half} ({figure['least']:+.2f} to {figure['largest']:+.2f})"


def _short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if value < 1 else f"{value:.2f}"


def wanted(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The claims, and whether they are met: means over the seeds."""
    rows = summary["rows"]
    decoupled, coupled, teacher = (
        {key: rows[name][key]["mean"] for key in TITLES} for name in ("decoupled", "coupled", "teacher")
    )
    competent = min(teacher["masks_thing_top1"], teacher["masks_stuff_top1"])
    gain, loss = (decoupled[key] - coupled[key] for key in ("masks_stuff_top1", "masks_thing_top1"))
    return {
        "lower of the teacher's Masks-T and Masks-S": {
            "least": COMPETENT,
            "measured": competent,
            "met": competent >= COMPETENT,
        },
        "decoupled above coupled in Masks-S": {"least": 0.0, "measured": gain, "met": gain > 0},
        "decoupled not below coupled in Masks-T": {"least": 0.0, "measured": loss, "met": loss >= 0},
    }


def draw_sheet(path: Path, seed: int, plan: Plan, scenes: Any, folder: Path, start: Any) -> None:
    """A picture of six scenes and the names of their patches: student, coupled, decoupled, truth."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch
    from safetensors.torch import load_file

    some = _first(scenes, 6)
    columns = [("student", labels_of(start, some).numpy())]
    for arm in ("coupled", "decoupled"):
        model = build(plan.student, 0)
        model.load_state_dict(load_file(folder / f"{arm}.safetensors"))
        columns.append((arm, labels_of(model.eval(), some).numpy()))
    columns.append(("truth", some.labels))
    stuff = len(NAMES) - len(THINGS)
    colours = np.array(
        [plt.get_cmap("autumn")(i / (len(THINGS) - 1))[:3] for i in range(len(THINGS))]
        + [plt.get_cmap("winter")(i / (stuff - 1))[:3] for i in range(stuff)]
    )
    figure, axes = plt.subplots(len(some), len(columns) + 1, figsize=(9.5, 10), layout="constrained")
    for row, line in enumerate(axes):
        line[0].imshow(some.pictures[row])
        for axis, (title, labels) in zip(line[1:], columns, strict=True):
            axis.imshow(colours[labels[row]], interpolation="nearest", extent=(0, SIDE, SIDE, 0))
            if row == 0:
                axis.set_title(title, fontsize=9)
        for axis in line:
            axis.set_axis_off()
    patches = [Patch(color=colour, label=name) for name, colour in zip(NAMES, colours, strict=True)]
    figure.legend(handles=patches, loc="outside lower center", ncols=9, fontsize=7, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _first(scenes: Any, count: int) -> Any:
    return type(scenes)(
        scenes.pictures[:count], scenes.labels[:count], scenes.instances[:count], scenes.captions[:count]
    )


def main(argv: list[str] | None = None) -> int:
    """Returns 0 if all claims are met, and 1 if not."""
    parser = parser_for(__doc__, "a table and a picture beside it")
    parser.add_argument("--work", type=Path, default=OUT / "densevlm_toy", help="folder for the weights of the stages")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102], help="100 101 102")
    parser.add_argument("--develop", action="store_true", help="measure on the scenes on which settings are chosen")
    parser.add_argument("--even", action="store_true", help="also align with a teacher that saw no loose boxes")
    parser.add_argument("--copy", action="store_true", help="also align with a copy of the student as teacher")
    parser.add_argument("--teacher-seed", type=int, default=100, help="of the one teacher that all seeds have (100)")
    parser.add_argument("--resume", action="store_true", help="keep the stages that an earlier run has finished")
    parser.add_argument("--threads", type=int, default=1, help="of torch (1)")
    parser.add_argument("--quick", action="store_true", help="a minute: does it run at all? The figures mean nothing")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    plan = QUICK if args.quick else FULL
    if not args.resume:
        shutil.rmtree(args.work, ignore_errors=True)
    began = time.process_time()
    by_seed: dict[int, dict[str, dict[str, float]]] = {}
    result: dict[str, Any] = {
        "benchmark": "densevlm_toy",
        "machine": machine(),
        "plan": as_settings(plan=plan)["plan"],
        "measured_on": "development" if args.develop else "held-out",
        "quick": args.quick,
        "teacher_seed": args.teacher_seed,
    }
    for seed in args.seeds:
        by_seed[seed] = run_seed(seed, plan, args)
        summary = summarised(by_seed)
        result |= {"seeds": by_seed, **summary, "wanted": wanted(summary)}
        result["cpu_minutes"] = round((time.process_time() - began) / 60, 1)
        write_json(args.out, result)
    text = as_markdown(summary)
    args.out.with_suffix(".md").write_text(text + "\n", "utf-8")
    print(text)
    for name, row in result["wanted"].items():
        say(f"{name}: {row['measured']:.3g}, wanted {row['least']:g}: {'met' if row['met'] else 'MISSED'}")
    return 0 if args.quick or all(row["met"] for row in result["wanted"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
