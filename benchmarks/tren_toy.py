"""Training a T-REN region encoder at small scale: `python -m benchmarks.tren_toy --out FILE.json [--quick]`.

A table like Table 4 of the paper (arXiv 2604.18573) at toy scale: on frames of synthetic rooms, a small region encoder
is trained on the frozen backbone of `tiny`, once in full and once for each part that is left out, all from the same
start, with the same pictures and points. Measured on rooms and walks that no row has seen. Names are out of all that
`tiny` was taught (643), not only of those in the picture; "background" is among them but is not asked for.

The first two rows have no region tokens: they name a region by the patch under a point of it, with the head that the
backbone came with, or with one trained on the same pictures. All others name it by the tokens of the same point.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common import OUT, machine, say, table, write_json
from lab.train.tren.backbones import Backbone, Seen, TinyFeatures
from lab.train.tren.config import LossConfig, ModelConfig, TrainConfig
from lab.train.tren.loop import fit, read_texts
from lab.train.tren.losses import distillation, text_contrast
from lab.train.tren.measure import measure, measure_patches
from lab.train.tren.order import Order
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
BASE = TrainConfig(
    losses=LossConfig(spare="repeat", bce="balanced"),
    model=ModelConfig(heads=4, seed_queries=True, coarse=2, start="near_identity", text_start="head"),
    points=64,
    sampling="even",
    least_patches=1.0,
    batch=8,
    lr=1e-3,
    warmup=30,
    steps=240,
    final=0.02,
    precision="fp32",
    log_every=50,
    checkpoint_every=250,
)


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the table.

    Attributes:
        name: Of the row.
        pooling: Train region pooling (a column of Table 4).
        alignment: Train text alignment (a column of Table 4).
        losses: Changes to the losses of the full training.
    """

    name: str
    pooling: bool
    alignment: bool
    losses: LossConfig | None


FULL = BASE.losses
ROWS = (
    Variant("patches, frozen head", False, False, None),
    Variant("patches, head trained", False, True, None),
    Variant("pooling alone, frozen head", True, False, replace(FULL, text=0.0, distil_text=0.0)),
    Variant("full", True, True, FULL),
    Variant("full without mask loss", True, True, replace(FULL, mask=0.0)),
    Variant("full without visual contrast", True, True, replace(FULL, visual=0.0)),
    Variant("full without text distillation", True, True, replace(FULL, distil_text=0.0)),
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


def run(args: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(args.threads)
    config = replace(BASE, steps=args.steps, checkpoint_every=-(-args.steps // 50) * 50, seed=args.seed)
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
    rows = []
    for variant in ROWS:
        start = time.monotonic()
        own = replace(config, losses=variant.losses or FULL)
        if not variant.pooling:
            heads: Callable[[Seen], Tensor] = backbone.patch_head
            if variant.alignment:
                model = train_head(backbone, train, own, views)

                heads = partial(_projected, model)

            measured = measure_patches(batches, seen, texts, heads, skip=skip, seed=args.seed)
        else:
            folder = Path(tempfile.mkdtemp(prefix="tren_toy-"))
            try:
                encoder = fit(
                    backbone, train, own, folder, device, tensorboard=False, see=lambda batch: Seen(views[batch.index])
                )
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
        rows.append(
            {
                "row": variant.name,
                "pooling": variant.pooling,
                "alignment": variant.alignment,
                **asdict(measured),
                "compression": measured.compression,
                "seconds": round(seconds, 1),
            }
        )
        say(f"{variant.name}: {measured.named_by_point:.3f} named, {seconds:.0f} s")
    by_name = {row["row"]: row for row in rows}
    full, patches = by_name["full"], by_name["patches, frozen head"]
    gain = full["named_by_point"] - patches["named_by_point"]
    return {
        "benchmark": "tren_toy",
        "machine": machine(),
        "config": config.as_dict(),
        "weights": backbone.weights,
        "pictures": {"train": len(train), "test": len(test)},
        "asked": asked_regions(batches, skip),
        "vocabulary": len(vocabulary),
        "prompts": PROMPTS,
        "rows": rows,
        "wanted": {
            "gain": {"least": LEAST_GAIN, "measured": gain, "met": gain >= LEAST_GAIN},
            "compression": {
                "least": LEAST_COMPRESSION,
                "measured": full["compression"],
                "met": full["compression"] >= LEAST_COMPRESSION,
            },
        },
        "minutes": round((time.monotonic() - began) / 60, 1),
    }


def asked_regions(batches: list[Batch], skip: list[int]) -> int:
    """The regions of the questions."""
    return sum(int(((b.labels >= 0) & ~torch.isin(b.labels, torch.tensor(skip))).sum()) for b in batches)


def as_table(result: dict[str, Any]) -> str:
    """The rows as a table for people."""
    head = (
        "",
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
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
    panels = (
        ("named_by_point", "regions named by a point"),
        ("iou_by_point", "mask IoU"),
        ("compression", "patches per merged token"),
    )
    for axis, (field, title) in zip(axes, panels, strict=True):
        values = [row[field] or 0 for row in rows]
        axis.barh(range(len(rows)), values, color=["#3d6a9e" if row["row"] == "full" else "#9db4cf" for row in rows])
        for i, row in enumerate(rows):
            axis.text(values[i], i, f" {row[field]:.3g}" if row[field] is not None else " -", va="center", fontsize=8)
        axis.set_title(title, fontsize=9)
        axis.margins(x=0.15)
    axes[2].axvline(LEAST_COMPRESSION, color="#222", linestyle="--", linewidth=1)
    axes[0].set_yticks(range(len(rows)), [row["row"] for row in rows], fontsize=8)
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
    parser.add_argument("--quick", action="store_true", help="a minute: does it run at all? The figures mean nothing")
    args = parser.parse_args(argv)
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
