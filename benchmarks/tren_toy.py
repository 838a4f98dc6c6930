"""Training a T-REN region encoder at small scale: `python -m benchmarks.tren_toy --out FILE.json [--quick]`.

A table like Table 4 of the paper (arXiv 2604.18573) at toy scale: on frames of synthetic rooms, a small region encoder
is trained on the frozen backbone of `tiny`, in the paper's form and in that of the authors' code, in full and with
parts left out, all with the same number of steps. Measured on rooms and walks that no row has seen. Names are out of
all that the worlds can draw (643), not only of those in the picture; "background" is among them but is not asked for.

The first two rows have no region tokens: they name a region by the patch under a point of it, with the head that the
backbone came with, or with one trained on the same pictures. All others name it by the tokens of the same point.

Finished rows are kept beside the result, so an interrupted run continues with the first that is missing. `--seeds 2`
trains the two full rows with two seeds; their difference says how much of the others is chance.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common import OUT, machine, say, table, write_json
from lab.train.order import Order
from lab.train.tren.backbones import Backbone, Seen, TinyFeatures
from lab.train.tren.config import TrainConfig
from lab.train.tren.forms import configure
from lab.train.tren.loop import fit, read_texts
from lab.train.tren.losses import distillation, text_contrast
from lab.train.tren.measure import measure, measure_patches
from lab.train.tren.prepare import Batch, Prepared, collate
from lab.train.tren.sample import Data
from lab.train.tren.step import build, pooled, project
from lab.train.tren.world import SCENERY, render_worlds

TRAIN, TEST = range(1000, 1030), range(4000, 4006)
"""Worlds, 10 frames each; all below 5000, where the measured ones of other benchmarks begin."""
PROMPTS = (16, 28)
"""Grid of point prompts for the merge: one for each 2 x 2 patches of the 32 x 56."""
LEAST_GAIN, LEAST_COMPRESSION = 0.05, 20.0
"""What the full row must have over the frozen patches at naming by a point, and patches per merged token."""
SETTINGS: dict[str, Any] = {
    "spare": "repeat",
    "bce": "balanced",
    "heads": 4,
    "seed_queries": True,
    "coarse": 2,
    "start": "near_identity",
    "text_start": "head",
    "sampling": "even",
    "least_patches": 1.0,
    "batch": 8,
    "lr": 1e-3,
    "warmup": 30,
    "steps": 240,
    "precision": "fp32",
    "log_every": 50,
    "checkpoint_every": 250,
}
"""Of all rows: what lets a small encoder learn in minutes."""
FORMS: dict[str, dict[str, Any]] = {
    "paper": {"points": 64, "final": 0.02},
    "code": {"points": 32, "points_text": 8},
}
"""Of the rows of a form: half the points of the paper, and of the code."""
ONE_VIEW = {"views": 1, "similarity": 0.0, "crop": 1.0, "flip": False, "jitter": 0.0}
BASE = configure("paper", **SETTINGS, **FORMS["paper"])


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the table.

    Attributes:
        name: Of the row.
        pooling: Train region pooling (a column of Table 4).
        alignment: Train text alignment (a column of Table 4).
        form: Form of the training, see lab/train/tren/forms.py.
        change: Settings that differ from the full training of that form.
        main: Train it with every seed.
    """

    name: str
    pooling: bool = True
    alignment: bool = True
    form: str = "paper"
    change: Mapping[str, Any] = field(default_factory=dict)
    main: bool = False

    def config(self, steps: int, seed: int) -> TrainConfig:
        """The settings of the row."""
        own = {"steps": steps, "checkpoint_every": -(-steps // 50) * 50, "seed": seed}
        return configure(self.form, **{**SETTINGS, **FORMS[self.form], **own, **self.change})


ROWS = (
    Variant("patches, frozen head", pooling=False, alignment=False),
    Variant("patches, head trained", pooling=False),
    Variant("pooling alone, frozen head", alignment=False, change={"text": 0.0, "distil_text": 0.0}),
    Variant("full", main=True),
    Variant("code: full", form="code", main=True),
    Variant("full without mask loss", change={"mask": 0.0}),
    Variant("full without visual contrast", change={"visual": 0.0}),
    Variant("full without text distillation", change={"distil_text": 0.0}),
    Variant("code: without similarity", form="code", change={"similarity": 0.0}),
    Variant(
        "code: one view, whole",
        form="code",
        change={"views": 1, "similarity": 0.0, "crop": 1.0, "flip": False, "jitter": 0.0},
    ),
    Variant("code: with cross-entropy", form="code", change={"mask_loss": "bce"}),
    Variant("code: Eq. 2 as in the paper", form="code", change={"text_form": "paper"}),
)


class Wide:
    """Data whose vocabulary is all names that the backbone was trained on."""

    def __init__(self, data: Data, names: tuple[str, ...]) -> None:
        self.data, self.names = data, names

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        return self.data[index]


def look(backbone: Backbone, ready: Prepared) -> tuple[list[Batch], Tensor]:
    """All pictures in batches of one size, in order, and their features `(n, D, h, w)` from the backbone."""
    batches, views = [], []
    for first in range(0, len(ready), 8):
        batch = collate([ready[(i, i)] for i in range(first, min(first + 8, len(ready)))])
        batches.append(batch)
        views.append(backbone.features(batch.images).patches)
    return batches, torch.cat(views)


def train_head(backbone: Backbone, data: Data, config: TrainConfig, views: Tensor) -> nn.Module:
    """Train the row without pooling: only the text projector, on single patches.

    The targets are the name of the patch's region and the frozen head's features of that region (Eq. 2 and the text
    half of Eq. 3).
    """
    texts = read_texts(backbone, data, config, None, torch.device("cpu"))
    model = build(backbone, config.model, config.seed)
    parameters = [*model.text1.parameters(), *model.text2.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    ready = Prepared(data, backbone.size, backbone.grid, config)
    loss_of = config.losses
    for step, keys in enumerate(Order(len(data), config.batch, 0, config.steps, config.seed)):
        batch = collate([ready[key] for key in keys])
        seen = Seen(views[batch.index])
        h, w = backbone.grid
        cell = (batch.points[..., 1] * h).long() * w + (batch.points[..., 0] * w).long()
        patches = seen.patches.flatten(2).transpose(1, 2)
        token = patches.gather(1, cell[..., None].expand(-1, -1, patches.shape[-1])).flatten(0, 1)
        region = batch.targets[..., 0]
        goals = backbone.head(pooled(seen.patches, batch.cover), seen)
        goal = goals.gather(1, region[..., None].expand(-1, -1, goals.shape[-1])).flatten(0, 1)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        written = project(model, token, config.model.dropout, generator)
        label = batch.labels.gather(1, region).flatten()
        loss = distillation(written, goal) + text_contrast(
            written,
            texts.vectors,
            label,
            texts.groups,
            tau=loss_of.tau,
            form=loss_of.text_form,
            negatives=loss_of.negatives,
        )
        for group in optimizer.param_groups:
            group["lr"] = config.rate(step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, config.clip)
        optimizer.step()
    return model.eval()


def _projected(model: Any, view: Seen) -> Tensor:
    projected: Tensor = model.project(view.patches.flatten(2).transpose(1, 2)).detach()
    return projected


class Kept:
    """Finished rows, one JSON object a line, each with the print of all that it depends on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text("utf-8").splitlines():
                row = json.loads(line)
                self.rows[row.pop("print")] = row

    def row(self, facts: Mapping[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The row of these facts: a kept one, or made and kept."""
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        if key not in self.rows:
            self.rows[key] = make()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"print": key, **self.rows[key]}) + "\n")
        return self.rows[key]


def run(args: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(args.threads)
    config = replace(BASE, steps=args.steps, seed=args.seed, checkpoint_every=-(-args.steps // 50) * 50)
    began = time.monotonic()
    device = torch.device("cpu")
    backbone = TinyFeatures(device)
    from lab.synthetic.drawings import things

    vocabulary = tuple(sorted({*(thing.name for thing in things()), SCENERY}))
    train, test = (
        Wide(render_worlds(args.cache / f"tren_toy-{seeds[0]}-{seeds[-1]}", seeds, report=True), vocabulary)
        for seeds in (TRAIN[: args.worlds], TEST[: args.tests])
    )
    say(f"{len(train)} pictures to train on, {len(test)} to measure on, after {time.monotonic() - began:.0f} s")
    _, views = look(backbone, Prepared(train, backbone.size, backbone.grid, config))
    batches, test_views = look(backbone, Prepared(test, backbone.size, backbone.grid, config))
    seen = [Seen(part) for part in test_views.split(8)]
    texts = backbone.text(vocabulary)
    skip = [vocabulary.index(SCENERY)]

    def train_row(variant: Variant, own: TrainConfig) -> dict[str, Any]:
        start = time.monotonic()
        if not variant.pooling:
            heads: Callable[[Seen], Tensor] = backbone.patch_head
            if variant.alignment:
                heads = partial(_projected, train_head(backbone, train, own, views))
            measured = measure_patches(batches, seen, texts, heads, skip=skip, seed=args.seed)
        else:
            folder = Path(tempfile.mkdtemp(prefix="tren_toy-"))
            cached = None if own.views.crop < 1 else lambda batch: Seen(views[batch.index])
            try:
                encoder = fit(backbone, train, own, folder, device, tensorboard=False, see=cached)
            finally:
                shutil.rmtree(folder)
            head = None if variant.alignment else backbone.head
            measured = measure(
                encoder,
                backbone,
                batches,
                seen,
                texts,
                grid=PROMPTS,
                head=head,
                skip=skip,
                mergers=args.mergers,
                seed=args.seed,
            )
        seconds = time.monotonic() - start
        say(f"{variant.name}, seed {own.seed}: {measured.named_by_point:.3f} named, {seconds:.0f} s")
        return {**asdict(measured), "compression": measured.compression, "seconds": round(seconds, 1)}

    kept, rows = Kept(args.out.with_suffix(".rows.jsonl")), []
    for seed in range(args.seed, args.seed + args.seeds):
        for variant in ROWS:
            wanted = not args.only or variant.name in args.only
            if not wanted or not (variant.main or seed == args.seed):
                continue
            own = variant.config(args.steps, seed)
            facts = {
                "row": variant.name,
                "weights": backbone.weights,
                "config": own.as_dict(),
                "data": [args.worlds, args.tests, args.mergers, args.seed],
            }
            row = kept.row(facts, partial(train_row, variant, own))
            name = {"row": variant.name, "seed": seed, "pooling": variant.pooling, "alignment": variant.alignment}
            rows.append({**name, **row})
    result = {
        "benchmark": "tren_toy",
        "machine": machine(),
        "config": config.as_dict(),
        "weights": backbone.weights,
        "pictures": {"train": len(train), "test": len(test)},
        "asked": asked_regions(batches, skip),
        "vocabulary": len(vocabulary),
        "prompts": PROMPTS,
        "rows": rows,
        "minutes": round(sum(row["seconds"] for row in rows) / 60, 1),
    }
    return result | {"wanted": wanted_of(rows)}


def wanted_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the full row of the paper's form must reach, where it was trained; means over its seeds."""
    full = [row for row in rows if row["row"] == "full"]
    patches = [row for row in rows if row["row"] == "patches, frozen head"]
    if not full or not patches:
        return {}
    gain = mean(row["named_by_point"] for row in full) - patches[0]["named_by_point"]
    compression = mean(row["compression"] for row in full)
    return {
        "gain": {"least": LEAST_GAIN, "measured": gain, "met": gain >= LEAST_GAIN},
        "compression": {
            "least": LEAST_COMPRESSION,
            "measured": compression,
            "met": compression >= LEAST_COMPRESSION,
        },
    }


def asked_regions(batches: list[Batch], skip: list[int]) -> int:
    """The regions of the questions."""
    return sum(int(((b.labels >= 0) & ~torch.isin(b.labels, torch.tensor(skip))).sum()) for b in batches)


def as_table(result: dict[str, Any]) -> str:
    """The rows as a table for people."""
    head = (
        "",
        "seed",
        "region pooling",
        "text alignment",
        "named by a point",
        "named, merged",
        "mask IoU",
        "IoU, merged",
        "tokens",
        "compression",
        "with singletons",
    )
    rows = [
        (
            r["row"],
            str(r["seed"]),
            "yes" if r["pooling"] else "-",
            "yes" if r["alignment"] else "-",
            r["named_by_point"],
            r["named_merged"],
            r["iou_by_point"],
            r["iou_merged"],
            r["merged"],
            r["compression"],
            r["patches"] / r["kept"] if r["kept"] else None,
        )
        for r in result["rows"]
    ]
    return table(head, rows)


def plot(path: Path, result: dict[str, Any]) -> None:
    """Naming and outlining of each row as bars."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = result["rows"][::-1]
    figure, axes = plt.subplots(1, 3, figsize=(11, 1 + 0.3 * len(rows)), sharey=True, layout="constrained")
    panels = (
        ("named_by_point", "regions named by a point"),
        ("iou_by_point", "mask IoU"),
        ("compression", "patches per merged token"),
    )
    for axis, (quantity, title) in zip(axes, panels, strict=True):
        values = [row[quantity] or 0 for row in rows]
        axis.barh(
            range(len(rows)), values, color=["#3d6a9e" if row["row"].endswith("full") else "#9db4cf" for row in rows]
        )
        for i, row in enumerate(rows):
            axis.text(
                values[i], i, f" {row[quantity]:.3g}" if row[quantity] is not None else " -", va="center", fontsize=8
            )
        axis.set_title(title, fontsize=9)
        axis.margins(x=0.15)
    axes[2].axvline(LEAST_COMPRESSION, color="#222", linestyle="--", linewidth=1)
    axes[0].set_yticks(range(len(rows)), [f"{row['row']}, {row['seed']}" for row in rows], fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(argv: list[str] | None = None) -> int:
    """Returns 0 if both targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT / "tren_toy.json", help="result; a table and a plot beside it")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for the pictures")
    parser.add_argument("--steps", type=int, default=BASE.steps, help="of each training")
    parser.add_argument("--worlds", type=int, default=len(TRAIN), help="to train on")
    parser.add_argument("--tests", type=int, default=len(TEST), help="worlds to measure on")
    parser.add_argument("--mergers", type=int, default=40, help="pictures that are merged in every row")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds of the two full rows")
    parser.add_argument("--only", nargs="*", metavar="ROW", help="only these rows, by their names in the table")
    parser.add_argument("--quick", action="store_true", help="a minute: does it run at all? The figures mean nothing")
    args = parser.parse_args(argv)
    if unknown := sorted({*(args.only or ())} - {variant.name for variant in ROWS}):
        parser.error(f"there is no row {', '.join(unknown)}; rows: {', '.join(variant.name for variant in ROWS)}")
    if args.quick:
        args.steps, args.worlds, args.tests, args.mergers = 10, 3, 1, 2
    result = run(args)
    result["quick"] = args.quick
    write_json(args.out, result)
    text = as_table(result)
    args.out.with_suffix(".txt").write_text(text + "\n", "utf-8")
    plot(args.out.with_suffix(".png"), result)
    print(text)
    wanted = result["wanted"]
    for name, row in wanted.items():
        say(f"{name}: {row['measured']:.3g}, wanted {row['least']:g}: {'met' if row['met'] else 'MISSED'}")
    return 0 if args.quick or all(row["met"] for row in wanted.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
