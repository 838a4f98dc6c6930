"""Random grids of boxes, the regions of DenseVLM (section 3.2). Their sizes follow the paper's public code."""

from __future__ import annotations

import torch
from torch import Tensor

CHOICES = tuple((m, n) for m in range(2, 7) for n in range((m + 1) // 2 + 1, min(2 * m, 6) + 1))
"""The 17 pairs of rows and columns: 2 to 6 rows, and from half as many columns and one more to twice as many or 6."""


def grid_boxes(rows: int, columns: int, width: float = 1.0, height: float = 1.0) -> Tensor:
    """Boxes `(rows * columns, 4)` float32 that tile a picture, row by row, as x0, y0, x1, y1 in the unit of its size.

    Args:
        rows: Rows of boxes.
        columns: Columns of boxes.
        width: Width of the picture, without any padding at its right.
        height: Height of the picture, without any padding below it.
    """
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    left, top = x.flatten() / columns, y.flatten() / rows
    right, bottom = (x.flatten() + 1) / columns, (y.flatten() + 1) / rows
    return torch.stack([left * width, top * height, right * width, bottom * height], 1).float()


def draw(generator: torch.Generator) -> tuple[int, int]:
    """One of the pairs of CHOICES, each with the same chance. generator: on the CPU."""
    return CHOICES[int(torch.randint(len(CHOICES), (), generator=generator))]
