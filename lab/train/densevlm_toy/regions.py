"""The regions of made scenes that can be named: things by box and mask, stuff by mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .scenes import PATCH, SIDE, THINGS, Scenes

LEAST_PIXELS = 96
"""Smaller regions, one and a half patches, are left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """The regions of one scene.

    Attributes:
        names: `(R,)` int64, indices into `NAMES`.
        boxes: `(R, 4)` float32, x0, y0, x1, y1 in patches: the tightest boxes.
        masks: `(R, h, w)` float32, the share of each patch that the region covers.
    """

    names: Tensor
    boxes: Tensor
    masks: Tensor

    @property
    def things(self) -> Tensor:
        """`(R,)` bool: True for things, False for stuff."""
        return self.names < len(THINGS)


def regions_of(scenes: Scenes, row: int) -> Regions:
    """Each thing of a scene, then each kind of stuff."""
    labels, instances = scenes.labels[row], scenes.instances[row]
    found = [(int(labels[instances == k][0]), instances == k) for k in np.unique(instances[instances > 0])]
    found += [(int(c), labels == c) for c in np.unique(labels[labels >= len(THINGS)])]
    found = [(name, mask) for name, mask in found if mask.sum() >= LEAST_PIXELS]
    boxes = np.array([_box(mask) for _, mask in found], np.float32).reshape(-1, 4) / PATCH
    cells = SIDE // PATCH
    masks = np.array([mask for _, mask in found], np.float32).reshape(-1, cells, PATCH, cells, PATCH).mean((2, 4))
    return Regions(torch.tensor([name for name, _ in found]), torch.from_numpy(boxes), torch.from_numpy(masks))


def _box(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> tuple[int, int, int, int]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
