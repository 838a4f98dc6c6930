"""Turn SAM2's masks for a grid of points into those of TextRegion (section 3.2, appendix A.2 and the authors' code).

Pure functions of tensors, without SAM2. Each point has three masks, from the smallest object under it (level 0) to the
largest (level 2), as logits on 256 x 256 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..nms import box_ious, keep_highest


@dataclass(frozen=True, slots=True)
class SamLimits:
    """Which masks are kept, and which are fused.

    Two masks are fused if both `contained` and `box_iou` are exceeded.

    Attributes:
        iou: The IoU that SAM2 predicts for a mask must be higher.
        stability: Minimum share of a mask's area that is left when the threshold of its logits rises from -offset to
            +offset.
        offset: See `stability`.
        nms: Box IoU above which the worse of two masks is dropped.
        pixels: Masks of at most this many of the 256 x 256 pixels are dropped.
        contained: Share of the smaller mask that lies in the other one. The paper calls it IoU > .8.
        box_iou: IoU of the boxes of the two masks.
    """

    iou: float = 0.6
    stability: float = 0.6
    offset: float = 1.0
    nms: float = 0.9
    pixels: int = 100
    contained: float = 0.8
    box_iou: float = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class SamMasks:
    """Masks that are kept, best first.

    Attributes:
        logits: `(n, 256, 256)` float32 in [-32, 32].
        iou: Predicted IoU, `(n,)` float32.
        stability: `(n,)` float32; see `SamLimits`.
        level: `(n,)` int64, 0 to 2.
        boxes: `(n, 4)` int64 x0, y0, x1, y1 in the masks' pixels; x1 and y1 are the last column and row inside.
    """

    logits: Tensor
    iou: Tensor
    stability: Tensor
    level: Tensor
    boxes: Tensor

    def __len__(self) -> int:
        return len(self.iou)

    def take(self, rows: Tensor) -> SamMasks:
        """The masks with the numbers in `rows`."""
        return SamMasks(self.logits[rows], self.iou[rows], self.stability[rows], self.level[rows], self.boxes[rows])


def pick(logits: Tensor, iou: Tensor, limits: SamLimits | None = None) -> SamMasks:
    """The masks that satisfy the limits; there may be none. logits: `(points, 3, h, w)`. iou: `(points, 3)`."""
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
    """Scale the masks to the picture and fuse those of one object: `(m, height, width)` float32 in [0, 3].

    Whole objects come first, then parts, then parts of parts, each by quality. A mask is fused by maximum with the
    first mask before it that satisfies the limits.
    """
    limits = limits or SamLimits()
    if not len(found):
        return found.logits.new_zeros(0, height, width)
    # Clamp before scaling; the other way round gives sharper edges.
    soft = F.interpolate(found.logits.clamp(0, 3)[None], (height, width), mode="bilinear")[0]
    boxes = mask_extents(soft > 0).float()
    fused: list[Tensor] = []
    fused_boxes: list[Tensor] = []
    for i in found.level.argsort(descending=True, stable=True).tolist():
        if not bool(soft[i].any()):  # too thin for so small a picture
            continue
        near = box_ious(boxes[i], torch.stack(fused_boxes)) > limits.box_iou if fused_boxes else soft.new_zeros(0)
        for j in near.nonzero().flatten().tolist():
            shared = torch.minimum(fused[j], soft[i]).sum() / torch.minimum(fused[j].sum(), soft[i].sum())
            if shared > limits.contained:
                fused[j] = torch.maximum(fused[j], soft[i])
                low = torch.minimum(fused_boxes[j][:2], boxes[i, :2])
                fused_boxes[j] = torch.cat([low, torch.maximum(fused_boxes[j][2:], boxes[i, 2:])])
                break
        else:
            fused.append(soft[i])
            fused_boxes.append(boxes[i])
    return torch.stack(fused) if fused else soft[:0]


def mask_extents(masks: Tensor) -> Tensor:
    """First and last columns and rows of masks `(n, h, w)` bool: `(n, 4)` int64 x0, y0, x1, y1; 0 for an empty mask."""
    ends = []
    for side in (masks.any(1), masks.any(2)):
        ends += [side.int().argmax(1), (side.shape[1] - 1 - side.flip(1).int().argmax(1)) * side.any(1)]
    return torch.stack([ends[0], ends[2], ends[1], ends[3]], dim=1)
