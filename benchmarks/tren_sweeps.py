"""How a region encoder depends on its prompts and on tau_mask: `python -m benchmarks.tren_sweeps --out FILE.json`.

Tables like Tables 6 and 7 of the paper (arXiv 2604.18573), at toy scale, because the published weights are not at hand:
the region encoder of benchmarks.tren_toy (its row "full") is trained once and kept, and then measured on held-out made
rooms with every grid and every threshold. `named` is the share of the regions whose name ranks first, out of all names:
by the merged region that overlaps them best, which is what a memory keeps. It stands where the paper has mIoU and
accuracy. `tokens` are those of one picture after the merge, as vidmem keeps them by default. The paper's code drops
tokens that nothing merged with: `without singletons`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import OUT, machine, parser_for, say, table, write_json
from benchmarks.tren_toy import BASE, PROMPTS, ROWS, TEST, TRAIN, Wide, look
from lab.train.tren.backbones import Seen, TinyFeatures
from lab.train.tren.loop import fit
from lab.train.tren.measure import Measured, measure
from lab.train.tren.prepare import Prepared
from lab.train.tren.step import build
from lab.train.tren.world import SCENERY, render_worlds
from vidmem.config import NEVER, MergeConfig
from vidmem.encoders.tren.region_encoder import RegionEncoder

FULL = next(row for row in ROWS if row.name == "full")
GRIDS = ((8, 14), (12, 21), (16, 28), (24, 42), (32, 56))
"""Rows and columns of prompts; the patches are 32 x 56."""
THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, None)
"""Of tau_mask; None is NTM, no token merging."""
PAPER_GRIDS = {
    "16 x 16": (29.2, 81.4, 29.1),
    "20 x 20": (29.9, 83.0, 26.6),
    "24 x 24": (30.6, 81.6, 25.7),
    "32 x 32": (30.4, 82.6, 24.6),
    "48 x 48": (30.4, 78.2, 30.4),
    "64 x 64": (30.2, 76.1, 35.2),
}
"""Table 6: mIoU on ADE20K, accuracy on Visual Haystacks, patches per token."""
PAPER_THRESHOLDS = {
    0.0: (8.1, 1.0, 55.7, 1.0),
    0.1: (17.5, 9.8, 65.7, 7.7),
    0.2: (21.9, 15.5, 71.1, 14.1),
    0.3: (24.4, 20.4, 76.2, 20.0),
    0.4: (26.4, 26.8, 80.0, 27.5),
    0.5: (27.4, 32.8, 81.5, 34.8),
    0.6: (27.6, 34.4, 81.9, 37.1),
    0.7: (27.8, 36.3, 82.0, 39.9),
    0.8: (28.1, 37.4, 82.6, 41.6),
    0.9: (28.2, 37.8, 82.5, 42.3),
    None: (30.6, 576.0, 83.5, 1024.0),
}
"""Table 7: mIoU on ADE20K and its tokens per image, accuracy on Visual Haystacks and its tokens per image."""


def config_of(threshold: float | None) -> MergeConfig:
    """The merge with tau_mask. Below it, tau_token alone merges, as in the paper; NTM merges nothing."""
    return MergeConfig(NEVER, NEVER) if threshold is None else MergeConfig(mask_threshold=threshold)


def trained(args: Any, backbone: TinyFeatures, names: tuple[str, ...]) -> RegionEncoder:
    """The region encoder: the kept one, or trained now and kept. An interrupted training goes on."""
    own = FULL.config(args.steps, 0)
    facts = json.dumps([own.as_dict(), backbone.weights, args.worlds], sort_keys=True)
    folder = args.cache / f"tren_sweeps-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"
    kept = folder / "kept.pt"
    worlds = TRAIN[: args.worlds]
    data = Wide(render_worlds(args.cache / f"tren_toy-{worlds[0]}-{worlds[-1]}", worlds, report=True), names)
    if kept.exists():
        encoder = build(backbone, own.model, 0)
        encoder.load_state_dict(torch.load(kept, weights_only=True))
        return encoder.eval()
    shutil.rmtree(folder, ignore_errors=True)
    _, views = look(backbone, Prepared(data, backbone.size, backbone.grid, BASE))
    began = time.monotonic()
    encoder = fit(
        backbone, data, own, folder, torch.device("cpu"), tensorboard=False, see=lambda batch: Seen(views[batch.index])
    )
    say(f"trained in {time.monotonic() - began:.0f} s")
    part = kept.with_suffix(".part")
    torch.save(encoder.state_dict(), part)
    part.replace(kept)
    return encoder


def row(found: Measured) -> dict[str, Any]:
    """A row as plain data."""
    return {**asdict(found), "compression": found.patches / found.kept if found.kept else None}


def as_tables(result: dict[str, Any]) -> str:
    """Both tables, each with the paper's below it."""
    ours = ("named", "mask IoU", "tokens", "without singletons", "compression")
    grids = [(f"{r['grid'][0]} x {r['grid'][1]}", *cells(r)) for r in result["grids"]]
    paper = [(name, *values) for name, values in PAPER_GRIDS.items()]
    head6 = ("T-REN, Table 6", "ADE20K mIoU", "haystack accuracy", "compression")
    parts = [table(("grid of prompts", *ours), grids), table(head6, paper)]
    thresholds = [(label(r["threshold"]), *cells(r)) for r in result["thresholds"]]
    paper7 = [(label(t), *values) for t, values in PAPER_THRESHOLDS.items()]
    head7 = ("T-REN, Table 7", "ADE20K mIoU", "tokens", "haystack accuracy", "tokens")
    return "\n\n".join([*parts, table(("tau_mask", *ours), thresholds), table(head7, paper7)])


def cells(found: dict[str, Any]) -> tuple[Any, ...]:
    """The figures of a row of ours."""
    return found["named_merged"], found["iou_merged"], found["kept"], found["merged"], found["compression"]


def label(threshold: float | None) -> str:
    return "NTM" if threshold is None else f"{threshold:g}"


def plot(path: Path, result: dict[str, Any]) -> None:
    """Naming over tokens for both sweeps, and the paper's over its own."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    grids = result["grids"]
    names = [f"{r['grid'][0]} x {r['grid'][1]}" for r in grids]
    left.plot(names, [r["named_merged"] for r in grids], "o-", color="#3d6a9e", label="named, merged")
    left.plot(names, [r["iou_merged"] for r in grids], "o-", color="#c8553d", label="mask IoU, merged")
    left.set_title("grid of prompts (toy)", fontsize=10)
    left.set_ylim(bottom=0)
    left.legend(fontsize=8)
    _over_tokens(
        middle,
        [(r["threshold"], r["kept"], r["named_merged"]) for r in result["thresholds"]],
        "tau_mask (toy): named over tokens per picture",
    )
    _over_tokens(
        right,
        [(t, values[1], values[0] / 100) for t, values in PAPER_THRESHOLDS.items()],
        "T-REN, Table 7: ADE20K mIoU over tokens",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _over_tokens(axis: Any, rows: Sequence[tuple[float | None, float, float]], title: str) -> None:
    axis.plot([max(tokens, 1) for _, tokens, _ in rows], [value for *_, value in rows], "o-", color="#3d6a9e")
    for threshold, tokens, value in rows:
        if threshold is not None and 0.5 < threshold < 0.9:  # their points lie on one another
            continue
        axis.annotate(label(threshold), (max(tokens, 1), value), fontsize=7, xytext=(3, 3), textcoords="offset points")
    axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    axis.set_title(title, fontsize=10)


def main() -> int:
    parser = parser_for(__doc__, "tables (.txt) and a plot (.png) lie beside it")
    parser.add_argument("--steps", type=int, default=BASE.steps, help=f"of the training ({BASE.steps})")
    parser.add_argument("--worlds", type=int, default=len(TRAIN), help="made rooms to train on")
    parser.add_argument("--tests", type=int, default=len(TEST), help="made rooms to measure on")
    parser.add_argument("--pictures", type=int, default=24, help="pictures that are merged in each row (24)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder of rooms and weights (benchmarks/out)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    from lab.synthetic.drawings import things

    names = tuple(sorted({*(thing.name for thing in things()), SCENERY}))
    backbone = TinyFeatures(torch.device("cpu"))
    encoder = trained(args, backbone, names)
    worlds = TEST[: args.tests]
    data = Wide(render_worlds(args.cache / f"tren_toy-{worlds[0]}-{worlds[-1]}", worlds, report=True), names)
    batches, views = look(backbone, Prepared(data, backbone.size, backbone.grid, BASE))
    seen = [Seen(part) for part in views.split(8)]
    texts = backbone.text(names)
    result: dict[str, Any] = {
        "benchmark": "tren_sweeps",
        "machine": machine(),
        "weights": backbone.weights,
        "config": FULL.config(args.steps, 0).as_dict(),
        "pictures": min(len(data), args.pictures),
        "names": len(names),
        "grids": [],
        "thresholds": [],
    }

    def measured(grid: tuple[int, int], merge: MergeConfig) -> dict[str, Any]:
        found = measure(
            encoder,
            backbone,
            batches,
            seen,
            texts,
            grid=grid,
            skip=[names.index(SCENERY)],
            mergers=args.pictures,
            config=merge,
            singletons=True,
        )
        say(f"{grid}, {merge.mask_threshold:g}: named {found.named_merged or 0:.3f}, {found.kept or 0:.1f} tokens")
        return row(found)

    for grid in GRIDS:
        result["grids"].append({"grid": grid, **measured(grid, MergeConfig())})
    for threshold in THRESHOLDS:
        result["thresholds"].append({"threshold": threshold, **measured(PROMPTS, config_of(threshold))})
    write_json(args.out, result)
    text = as_tables(result)
    args.out.with_suffix(".txt").write_text(text + "\n", "utf-8")
    plot(args.out.with_suffix(".png"), result)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
