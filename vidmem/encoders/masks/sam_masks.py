"""From what SAM2 answers to a grid of points to the masks of TextRegion (section 3.2 and appendix A.2, and its code).

Pure functions of tensors: they need no SAM2. Each point has three answers, from the smallest thing under it (level 0)
to the largest (level 2), as logits on 256 x 256.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..nms import box_ious, keep_highest


@dataclass(frozen=True, slots=True)
class SamLimits:
    """iou: least quality that SAM2 foresees, exclusive. stability, offset: least share of the area that is left when
    the threshold of the logits moves from -offset to +offset. nms: box IoU above which the worse of two goes. pixels:
    masks of at most so many of the 256 x 256 go. contained, box_iou: two masks are one when the smaller lies in the
    other by more than `contained` (the paper calls it IoU > .8) and their boxes' IoU exceeds `box_iou`."""

    iou: float = 0.6
    stability: float = 0.6
    offset: float = 1.0
    nms: float = 0.9
    pixels: int = 100
    contained: float = 0.8
    box_iou: float = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class SamMasks:
    """Masks that passed, best first. logits `(n, 256, 256)` float32 in [-32, 32]; iou, stability `(n,)` float32; level
    `(n,)` int64, 0 to 2; boxes `(n, 4)` int64 x0, y0, x1, y1 in their pixels, x1 and y1 the last ones inside."""

    logits: Tensor
    iou: Tensor
    stability: Tensor
    level: Tensor
    boxes: Tensor

    def __len__(self) -> int:
        return len(self.iou)

    def take(self, rows: Tensor) -> SamMasks:
        return SamMasks(self.logits[rows], self.iou[rows], self.stability[rows], self.level[rows], self.boxes[rows])


def pick(logits: Tensor, iou: Tensor, limits: SamLimits | None = None) -> SamMasks:
    """The answers worth keeping: logits `(points, 3, h, w)`, iou `(points, 3)`. May be none."""
    limits = limits or SamLimits()
    level = torch.arange(logits.shape[1]).expand(len(logits), -1).flatten()
    flat, quality = logits.flatten(0, 1).float().clamp(-32, 32), iou.flatten().float()
    good = quality > limits.iou
    flat, quality, level = flat[good], quality[good], level[good]
    inside = (flat > limits.offset).sum((1, 2)).float()
    stability = inside / (flat > -limits.offset).sum((1, 2)).clamp(min=1)
    found = SamMasks(flat, quality, stability, level, mask_extents(flat > 0))
    found = found.take(((stability >= limits.stability) & (flat > 0).any(2).any(1)).nonzero().squeeze(1))
    found = found.take(keep_highest(found.boxes, found.iou, limits.nms))
    return found.take(((found.logits > 0).sum((1, 2)) > limits.pixels).nonzero().squeeze(1))


def fuse(found: SamMasks, height: int, width: int, limits: SamLimits | None = None) -> Tensor:
    """Soft masks `(m, height, width)` float32 in [0, 3] of the picture, those that are one joined by the maximum.

    Wholes come first, then parts, then parts of parts, each by quality; a mask joins the first before it that it fits.
    """
    limits = limits or SamLimits()
    if not len(found):
        return found.logits.new_zeros(0, height, width)
    # Clamped before it is stretched; the other way round edges would be sharper.
    soft = F.interpolate(found.logits.clamp(0, 3)[None], (height, width), mode="bilinear")[0]
    boxes = mask_extents(soft > 0).float()
    joined: list[Tensor] = []
    where: list[Tensor] = []
    for i in found.level.argsort(descending=True, stable=True).tolist():
        if not bool(soft[i].any()):  # too thin for so small a picture
            continue
        near = box_ious(boxes[i], torch.stack(where)) > limits.box_iou if where else soft.new_zeros(0)
        for j in near.nonzero().flatten().tolist():
            shared = torch.minimum(joined[j], soft[i]).sum() / torch.minimum(joined[j].sum(), soft[i].sum())
            if shared > limits.contained:
                joined[j] = torch.maximum(joined[j], soft[i])
                low, high = torch.minimum(where[j][:2], boxes[i, :2]), torch.maximum(where[j][2:], boxes[i, 2:])
                where[j] = torch.cat([low, high])
                break
        else:
            joined.append(soft[i])
            where.append(boxes[i])
    return torch.stack(joined) if joined else soft[:0]


def mask_extents(masks: Tensor) -> Tensor:
    """Masks `(n, h, w)` bool -> `(n, 4)` int64 x0, y0, x1, y1, the first and last columns and rows that hold any; 0 for
    an empty one."""
    ends = []
    for side in (masks.any(1), masks.any(2)):
        ends += [side.int().argmax(1), (side.shape[1] - 1 - side.flip(1).int().argmax(1)) * side.any(1)]
    return torch.stack([ends[0], ends[2], ends[1], ends[3]], dim=1)
