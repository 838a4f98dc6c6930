"""A plain implementation of merging and tracking, after a description of T-REN's public code, for comparison.

Written for this benchmark from the description; no code was copied: tensors in lists, dense n x n matrices, label
propagation with a cap on its hops, one Python step per group, per pair and per track, and a walk over all tracks ever
made for each frame. Where the description leaves a choice, the faster one is taken; the authors' own code may well be
slower than this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import normalize


def merge(
    visual: list[Tensor],
    text: list[Tensor],
    masks: list[Tensor],
    *,
    token_threshold: float,
    mask_threshold: float,
    keep_singletons: bool,
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Merged visual `(Dv,)`, text `(Dt,)` and masks `(h, w)`, one per group, of as many tokens and masks."""
    tokens = torch.stack(visual)
    texts = torch.stack(text)
    stacked = torch.stack(masks)
    labels = propagate(edges(tokens, stacked, token_threshold, mask_threshold))
    out: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    for label in labels.unique():
        members = labels == label
        if keep_singletons or members.sum() > 1:
            for merged, each in zip(out, (tokens, texts, stacked), strict=True):
                merged.append(each[members].mean(dim=0))
    if not out[0]:
        largest = int(stacked.flatten(1).sum(dim=1).argmax())
        return [visual[largest]], [text[largest]], [masks[largest]]
    return out


def edges(tokens: Tensor, masks: Tensor, token_threshold: float, mask_threshold: float) -> Tensor:
    """Which pairs `(n, n)` bool are merged: IoU of the binarised masks or cosine above its threshold."""
    flat = masks.flatten(1)
    held = (flat / flat.amax(dim=1, keepdim=True).clamp_min(1e-12) > 0.5).float()
    common = held @ held.T
    area = held.sum(dim=1)
    iou = common / (area[:, None] + area[None] - common).clamp_min(1)
    unit = normalize(tokens, dim=1)
    return (iou > mask_threshold) | (unit @ unit.T > token_threshold)


def propagate(adjacent: Tensor) -> Tensor:
    """Labels `(n,)`: each takes the smallest of its neighbours, for at most ceil(log2(n + 1)) + 1 hops."""
    n = len(adjacent)
    labels = torch.arange(n, dtype=torch.int32)
    adjacent = adjacent | torch.eye(n, dtype=torch.bool)
    none = torch.tensor(n, dtype=torch.int32)
    for _ in range(math.ceil(math.log2(n + 1)) + 1):
        least = torch.where(adjacent, labels[None], none).amin(dim=1)
        if torch.equal(least, labels):
            break
        labels = least
    return labels


@dataclass
class PlainTrack:
    """One track: running means, and its last place."""

    visual: Tensor
    text: Tensor
    frames: list[int]
    regions: list[int]


@dataclass
class PlainTracker:
    """All tracks ever made, in a list; each frame is compared with every one of them."""

    threshold: float
    tracks: list[PlainTrack] = field(default_factory=list)

    def update(self, frame: int, visual: list[Tensor], text: list[Tensor]) -> list[int]:
        """The track of each region of the frame; only tracks of the previous frame may be continued."""
        owner: dict[int, int] = {}
        if self.tracks and visual:
            means = normalize(torch.stack([track.visual for track in self.tracks]), dim=1)
            cosines = means @ normalize(torch.stack(visual), dim=1).T
            idle = torch.tensor([track.frames[-1] != frame - 1 for track in self.tracks])
            cosines[idle] = -2
            close = (cosines >= self.threshold).nonzero()
            values = cosines[close[:, 0], close[:, 1]].tolist()
            pairs = sorted(zip(values, close.tolist(), strict=True), key=lambda pair: -pair[0])
            taken: set[int] = set()
            for _, (i, j) in pairs:
                if i not in taken and j not in owner:
                    taken.add(i)
                    owner[j] = i
        for j in range(len(visual)):
            if j in owner:
                track = self.tracks[owner[j]]
                count = len(track.frames)
                track.visual = (track.visual * count + visual[j]) / (count + 1)
                track.text = (track.text * count + text[j]) / (count + 1)
                track.frames.append(frame)
                track.regions.append(j)
            else:
                owner[j] = len(self.tracks)
                self.tracks.append(PlainTrack(visual[j], text[j], [frame], [j]))
        return [owner[j] for j in range(len(visual))]
