"""Train `tiny`: first the backbone, on drawings, frames of worlds and photographs, then, on the frozen backbone, the
T-REN region encoder.

    python -m vidmem.train.tiny --stage backbone --text runs/text --data DATA --photos runs/photos --out runs/a
    python -m vidmem.train.tiny --stage regions --start runs/a/backbone.pt ... --out runs/b

Both stages write a checkpoint and a log line every few hundred steps and go on from it when started again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..encoders.tiny_net import TinyNet
from ..world.drawings import load_drawings
from . import halves
from .first_tiny import first_backbone, first_detail, first_regions
from .photo.teacher import published
from .steps import backbone_step, evaluate, near_identity, region_step
from .supply import Batch, Material, Shares, loader, measured_on
from .towers import Helpers, TextTower, state_of

STILL = 3
"""The stem and so many blocks of the body stay as published: edges and corners are the same everywhere. So do the
depthwise filters of all: their gradients would take three quarters of the time."""
BODY_RATE = 0.25
"""Learning rate of the rest of the body, as a share of that of what starts from nothing."""
WITHOUT = ("teacher", "drawings", "photos", "text")
"""What --without leaves out: the teacher's answers; drawn scenes and worlds; photographs, teacher and cut-outs
included; learning the text table with the pictures."""
SHARES = {"backbone": Shares(0.3, 0.3), "regions": Shares(0.3, 0.45, outlines_only=True, near=0.35)}


class Run:
    """The modules of a training run, and which of them learn."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.stage: str = args.stage
        self.detail_learns = not args.first  # what the first one saw is kept
        self.net = TinyNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.text, self.helpers = TextTower(args.text), Helpers(len(load_drawings()))
        if args.start:
            self.load(halves.load(args.start))
        else:
            body = self.net.backbone.body
            body.load_state_dict({k: v for k, v in published().items() if k in body.state_dict()})
            if args.first:
                self.net.load_state_dict(first_regions(args.first), strict=False)
                self.net.backbone.detail.load_state_dict(first_detail(args.first))
        backbone = self.net.backbone
        if self.stage == "backbone":
            backbone.body.stem.requires_grad_(False)
            backbone.body.blocks[:STILL].requires_grad_(False)
            for block in backbone.body.blocks:
                block.depthwise.requires_grad_(False)
            backbone.detail.requires_grad_(self.detail_learns)
            head = [part for name, part in backbone.named_children() if name != "body"]
            fast = [*head, self.net.regions.text1, self.net.regions.text2, self.text, self.helpers]
            self.text.requires_grad_(args.without != "text")
            slow: list[nn.Module] = [backbone.body]
        else:
            if not args.first:
                near_identity(self.net.regions)
            backbone.requires_grad_(False)
            self.helpers.requires_grad_(False)
            fast, slow = [self.net.regions, self.net.masks, self.net.score, self.text], []
        groups = [(fast, args.lr), (slow, args.lr * BODY_RATE)]
        self.groups = [
            {"params": [p for m in modules for p in m.parameters() if p.requires_grad], "lr": lr}
            for modules, lr in groups if modules
        ]  # fmt: skip

    def state(self) -> dict[str, Any]:
        return state_of(net=self.net, text=self.text, helpers=self.helpers)

    def load(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.text.load_state_dict(state["text"], strict=False)  # buffers follow from the text folder
        self.helpers.load_state_dict(state["helpers"])

    def train(self) -> None:
        """Training mode, but for the statistics of what is published or frozen."""
        self.net.train()
        self.net.backbone.body.eval()
        self.net.backbone.detail.train(self.detail_learns)
        if self.stage == "regions":
            self.net.backbone.eval()


def spread(pool: ThreadPoolExecutor, rngs: list[np.random.Generator], batch: Batch, parameters: list[nn.Parameter],
           step: Callable[[Batch, np.random.Generator], Batch]) -> dict[str, float]:  # fmt: skip
    """Set the gradients of a batch that is cut into as many parts as there are `rngs`, each in a thread of its own:
    half of the backward pass of small convolutions runs on one core whatever it is given. Returns the mean losses."""
    parts = [{k: v[i :: len(rngs)] for k, v in batch.items()} for i in range(len(rngs))]

    def one(part: Batch, rng: np.random.Generator) -> tuple[tuple[Tensor | None, ...], dict[str, float]]:
        losses = step(part, rng)
        total = torch.stack(list(losses.values())).sum()
        return torch.autograd.grad(total, parameters, allow_unused=True), {k: v.item() for k, v in losses.items()}

    done = list(pool.map(one, parts, rngs))
    for parameter, *grads in zip(parameters, *(grads for grads, _ in done), strict=True):
        known = [g for g in grads if g is not None]
        parameter.grad = torch.stack(known).sum(0) / len(rngs) if known else None
    return {k: sum(losses.get(k, 0.0) for _, losses in done) / len(rngs) for k in done[0][1] | done[-1][1]}


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    run = Run(args)
    step_of = backbone_step if args.stage == "backbone" else region_step
    optimizer = torch.optim.AdamW(run.groups, weight_decay=0.01)

    def rate(step: int) -> float:
        warm = min(1.0, (step + 1) / args.warmup)
        return float(warm * (0.02 + 0.98 * (1 + np.cos(np.pi * min(1, step / args.steps))) / 2))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    begun, checkpoint = 0, args.out / f"{args.stage}.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        run.load(state)
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        begun = state["step"]
    shares = SHARES[args.stage]
    if args.without == "drawings":
        shares = replace(shares, worlds=0.0, photos=1.0)
    photos = args.photos if args.without != "photos" else None
    material = Material(run.text.names, args.data, photos, args.worlds, args.rooms)
    answers = torch.from_numpy(material.crops["answers"])
    first = first_backbone(args.first) if args.first and args.stage == "backbone" else None
    measure_on = measured_on(material, args.batch)
    supply = loader(material, args.seed + 1000 * (begun + 1), shares, args.batch, args.workers)
    torch.set_num_threads(args.threads)
    rngs = [np.random.default_rng((args.seed, begun, i)) for i in range(args.threads)]
    pool = ThreadPoolExecutor(args.threads, initializer=torch.set_num_threads, initargs=(1,))
    run.train()
    began, sums = time.time(), dict[str, float]()
    parameters = [p for group in run.groups for p in group["params"]]
    with (args.out / f"{args.stage}.log").open("a") as log:
        for step, batch in enumerate(supply, begun):
            if args.without == "teacher":
                batch["teachers"].fill_(-1)
            losses = spread(pool, rngs, batch, parameters, lambda part, rng: step_of(
                run.net, run.text, run.helpers, part, rng, answers, first))  # fmt: skip
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
            schedule.step()
            for k, v in losses.items():
                sums[k] = sums.get(k, 0.0) + v
            done = step + 1
            if done % args.every == 0 or done >= args.steps:
                measured: dict[str, float] = {}
                for kind, batches in measure_on.items():
                    measured |= {kind + k: v for k, v in evaluate(run.net, run.text, batches).items()}
                run.train()
                row: dict[str, Any] = {k: round(v / args.every, 4) for k, v in sums.items()} | {
                    "step": done, "s": round(time.time() - began), "lr": schedule.get_last_lr()[0],
                } | {k: round(v, 4) for k, v in measured.items()}  # fmt: skip
                print(json.dumps(row), file=log, flush=True)
                sums = {}
                partial = checkpoint.with_suffix(".part")
                torch.save(run.state() | state_of(optimizer=optimizer, schedule=schedule) | {"step": done}, partial)
                partial.replace(checkpoint)
            if done >= args.steps or (args.minutes and time.time() - began > args.minutes * 60):
                break


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--stage", choices=["backbone", "regions"], required=True)
    p.add_argument("--out", type=Path, required=True, help="folder for checkpoints and logs")
    p.add_argument("--start", type=Path, help="a checkpoint, or what halves.py wrote, to take weights"
                   " from; else the published body")
    p.add_argument("--text", type=Path, required=True, help="what vidmem.train.photo.text_space wrote")
    p.add_argument("--data", type=Path, help="folder with caltech101.tar, photos.tar, clips/")
    p.add_argument("--photos", type=Path, help="what vidmem.train.photo.teacher wrote")
    p.add_argument("--worlds", type=Path, help="frames and masks of worlds (vidmem.train.tren.world.render_worlds)")
    p.add_argument("--first", type=Path, help="weights of the first `tiny`: its features of drawings are aimed at,"
                   " and its region encoder is where that of stage 2 starts")
    p.add_argument("--rooms", type=int, default=0, help="empty rooms to make for backgrounds (1.5 s each)")
    p.add_argument("--without", choices=WITHOUT, help="leave this out, to see what it is good for")
    p.add_argument("--steps", type=int, default=4000)
    p.add_argument("--minutes", type=float, default=0, help="stop after so many minutes")
    p.add_argument("--warmup", type=int, default=200, help="steps of linear warm-up")
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--every", type=int, default=200, help="steps between checkpoints")
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seed", type=int, default=0)
    return p


if __name__ == "__main__":
    train(parser().parse_args())
