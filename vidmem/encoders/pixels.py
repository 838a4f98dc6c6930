"""Pictures as a network takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def normalised(
    images: Sequence[NDArray[np.uint8]], mean: Sequence[float], std: Sequence[float], device: torch.device
) -> Tensor:
    """Normalise pictures `(h, w, 3)` uint8 RGB of one size: `(B, 3, h, w)` float32 on `device`.

    mean, std: Of RGB in [0, 1].
    """
    import torch

    batch = torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2).float().div_(255)
    centre, spread = (torch.tensor(v, device=device).view(3, 1, 1) for v in (mean, std))
    return batch.sub_(centre).div_(spread)
