"""T-REN's text tokens point by point, without merging: what its open-vocabulary segmentation compares with names."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ...records import Float32
from ..pixels import normalised
from .encoder import MEAN, STD, Tren


def point_texts(encoder: Tren, image: NDArray[np.uint8], grid: tuple[int, int] | None = None) -> Float32:
    """The text tokens of a grid of points, `(rows * columns, k, Dt)` float32 of any norm, points row by row.

    Args:
        encoder: The encoder.
        image: `(H, W, 3)` uint8 RGB, both sides in whole patches. 384 x 384 in the paper's evaluation (section 4.2).
        grid: Rows and columns of points; None for one point per patch. The paper tries 16 x 16 to 32 x 32 (Table 6).

    Raises:
        UsageError: The picture is not in whole patches, or the grid is empty.
    """
    import torch

    from .dinov3 import PATCH, features

    height, width = image.shape[:2]
    if height % PATCH or width % PATCH or not height or not width:
        raise UsageError(f"the picture must have sides in multiples of {PATCH} pixels; got {width} x {height}")
    rows, columns = grid or (height // PATCH, width // PATCH)
    if rows < 1 or columns < 1:
        raise UsageError(f"`grid` is rows and columns of points, both at least 1; got {rows} x {columns}")
    with torch.inference_mode():
        patches = features(encoder.backbone, normalised([image], MEAN, STD, encoder.device)).patches
        points = _points(rows, columns, height, width)
        tokens, _, _ = encoder.region(patches, torch.from_numpy(points)[None])
        texts: Float32 = encoder.region.project(tokens)[0].float().cpu().numpy()
    return texts


def _points(rows: int, columns: int, height: int, width: int) -> Float32:
    """Points `(rows * columns, 2)`, x and y in [0, 1], rows first, at the centres of pixels.

    As in the authors' code, they run evenly from half a patch to half a patch before the far side, in whole pixels.
    """
    from .dinov3 import PATCH

    y, x = (
        (np.linspace(PATCH // 2, side - PATCH // 2, n).astype(int) + 0.5) / side
        for n, side in ((rows, height), (columns, width))
    )
    return np.stack(np.meshgrid(y, x, indexing="ij")[::-1], axis=-1).reshape(-1, 2).astype(np.float32)
