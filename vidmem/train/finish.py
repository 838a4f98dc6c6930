"""What is fitted when the network has learned all that it will, on the tokens of its region encoder: the map of the
visual tokens (whiten.py), and the text table once more (refit.py).

    python -m vidmem.train.finish runs/b/regions.pt runs/final.pt --text runs/text --text-out runs/text-final ...
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from ..encoders.tiny_net import TinyNet, choose_points, soft_masks
from . import halves
from .refit import refit
from .steps import pixels
from .supply import Batch, Material, Shares, loader
from .towers import TextTower
from .whiten import within_class_map

SHARES = Shares(0.35, 0.25, outlines_only=True)


@torch.inference_mode()
def collect(net: TinyNet, scenes: Iterable[Batch], batches: int) -> tuple[Tensor, Tensor]:
    """Tokens `(N, D)` that found an object (mask IoU above one half) and its label `(N,)`."""
    tokens, labels = [], []
    for _, batch in zip(range(batches), scenes, strict=False):
        features, heat = net.backbone(pixels(batch))
        token, attention, _ = net.regions(features, choose_points(heat, (6, 10), 68))
        mask = (soft_masks(attention) > 0.5).flatten(1, 2).float()
        cover = batch["cover"].flatten(2) * (batch["labels"] >= 0)[..., None]
        inter = mask @ cover.transpose(1, 2)
        iou = inter / (mask.sum(-1)[..., None] + cover.sum(-1)[:, None] - inter).clamp_min(1e-3)
        best = iou.max(-1)
        good = best.values > 0.5
        tokens.append(token.flatten(1, 2)[good])
        labels.append(batch["labels"].gather(1, best.indices)[good])
    return torch.cat(tokens), torch.cat(labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start", type=Path, help="checkpoint of the stage `regions`")
    parser.add_argument("out", type=Path, help="checkpoint to write")
    parser.add_argument("--text", type=Path, required=True, help="this and the next as for vidmem.train.tiny")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--worlds", type=Path)
    parser.add_argument("--text-out", type=Path, help="folder for the text table, fitted once more; else it is kept")
    parser.add_argument("--batches", type=int, default=60, help="of 8 scenes each")
    parser.add_argument("--steps", type=int, default=2000, help="of the fit of the text table")
    args = parser.parse_args()
    state = halves.load(args.start)
    net, tower = TinyNet(), TextTower(args.text)
    net.load_state_dict(state["net"])
    tower.load_state_dict(state["text"], strict=False)  # buffers follow from the text folder
    net.eval()
    material = Material(tower.names, args.data, args.photos, args.worlds)
    tokens, labels = collect(net, loader(material, 31337, SHARES, 8, 1), args.batches)
    net.visual_mean, net.visual_map = within_class_map(tokens, labels)
    print(f"{len(tokens)} tokens of {len(set(labels.tolist()))} names")
    if args.text_out:
        with torch.inference_mode():
            named = net.regions.project(tokens)
        print(json.dumps(refit(tower, named.clone(), labels, args.text, args.text_out, args.steps), indent=1))
    torch.save(state | {"net": net.state_dict(), "text": tower.state_dict()}, args.out)


if __name__ == "__main__":
    main()
