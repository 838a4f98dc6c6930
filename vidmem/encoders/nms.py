"""Overlap and non-maximum suppression of boxes as tensors.

torchvision has both, but its operators are what may be missing (see torchvision_compat.py).
"""

from __future__ import annotations

import torch
from torch import Tensor


def box_ious(box: Tensor, boxes: Tensor) -> Tensor:
    """IoU of box `(4,)` with each of boxes `(n, 4)`, `(n,)`; 0 where both are empty."""
    shared = (torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2])).clamp(min=0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    return shared / (areas - shared).clamp(min=1e-12)


def keep_highest(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression: boxes `(n, 4)` x0, y0, x1, y1, scores `(n,)` -> rows that are kept, int64, best
    first. A box goes when its IoU with a better one that stays exceeds `iou_threshold`."""
    order = scores.argsort(descending=True, stable=True)
    sorted_boxes = dets[order].double()  # the quotient must fall on the right side of the threshold
    left = torch.ones(len(order), dtype=torch.bool)
    for i in range(len(order)):
        if left[i]:
            left[i + 1 :] &= ~(box_ious(sorted_boxes[i], sorted_boxes[i + 1 :]) > iou_threshold)
    return order[left]
