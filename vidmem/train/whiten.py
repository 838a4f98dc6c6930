"""Fit the affine map of the visual tokens of `tiny`: centred, and whitened by how much one thing varies by itself.

    python -m vidmem.train.whiten runs/regions.pt runs/final.pt --text runs/text --data ../shared/data ...

Pooled backbone features share a large mean, so that all cosines are high, and differ within one thing more in some
directions than in others. With S the covariance of tokens around the mean of their own name, tokens become
`S^(-1/2) (v - mean)` (within-class covariance normalisation, Hatch et al. 2006), S shrunk towards a multiple of the
identity (Ledoit and Wolf 2004, with a fixed weight).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from ..encoders.mobile_net import MobileBackbone
from ..encoders.tiny_net import TinyNet, choose_points
from . import halves
from .steps import pixels
from .supply import Batch, Material, Shares, loader
from .towers import TextTower

SHRINK = 0.1
"""Weight of the identity: the map must not blow up directions in which drawings happen not to vary."""


def within_class_map(tokens: Tensor, labels: Tensor, shrink: float = SHRINK) -> tuple[Tensor, Tensor]:
    """Mean `(D,)`, map `(D, D)` from tokens `(N, D)` and labels `(N,)`: a row vector v becomes (v - mean) @ map."""
    tokens = tokens.double()
    mean = tokens.mean(0)
    counts = torch.bincount(labels)
    sums = torch.zeros(len(counts), tokens.shape[1], dtype=torch.double).index_add_(0, labels, tokens)
    residual = tokens - (sums / counts.clamp_min(1)[:, None])[labels]
    spread = residual.T @ residual / max(1, len(tokens) - int((counts > 0).sum()))
    dim = len(spread)
    spread = (1 - shrink) * spread + shrink * torch.eye(dim) * spread.trace() / dim
    values, vectors = torch.linalg.eigh(spread)
    return mean.float(), (vectors / values.sqrt() @ vectors.T).float()


@torch.inference_mode()
def collect(net: TinyNet, scenes: Iterable[Batch], batches: int) -> tuple[Tensor, Tensor]:
    """Tokens `(N, D)` that found an object (mask IoU above one half) and its label `(N,)`."""
    tokens, labels = [], []
    for _, batch in zip(range(batches), scenes, strict=False):
        features, heat = net.backbone(pixels(batch))
        token, attention, _ = net.regions(features, choose_points(heat, (6, 10), 68))
        mask = (attention / attention.amax(-1, keepdim=True) > 0.5).flatten(1, 2).float()
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
    parser.add_argument("--batches", type=int, default=40, help="of 8 scenes each")
    args = parser.parse_args()
    state = halves.load(args.start)
    net = TinyNet(MobileBackbone())
    net.load_state_dict(state["net"])
    net.eval()
    material = Material(TextTower(args.text).names, args.data, args.photos, None)
    scenes = loader(material, 31337, Shares(0, 0.2, outlines_only=True), 8, 0)
    tokens, labels = collect(net, scenes, args.batches)
    net.visual_mean, net.visual_map = within_class_map(tokens, labels)
    print(f"{len(tokens)} tokens of {len(set(labels.tolist()))} names")
    torch.save(state | {"net": net.state_dict()}, args.out)


if __name__ == "__main__":
    main()
