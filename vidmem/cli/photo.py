"""What `vidmem ground` and `vidmem segment` share: one photo, and the encoder for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import preset
from ..encoders import DEFAULT, check, check_masks, find, load

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..config import MergeConfig
    from ..encoders import Encoder


def open_photo(
    picture: str, *, encoder: str | None, device: str | None, weights: str | None, masks: str | None
) -> tuple[NDArray[np.uint8], Encoder, MergeConfig]:
    """Read the photo, then load the encoder.

    Args:
        picture: Path of the photo.
        encoder: Name of the encoder; None is the default one.
        device: As for `load`.
        weights: As for `load`.
        masks: As for `load`.

    Returns:
        The photo as `(H, W, 3)` uint8 RGB, the encoder, and the settings that merge its regions.
    """

    from ..query.picture import load_picture  # imports PyAV

    spec = encoder or DEFAULT
    check(spec, weights)
    if masks is not None:
        check_masks(spec)
    image: Any = np.asarray(load_picture(picture))
    return image, load(spec, device, weights, masks=masks), preset(find(spec).preset).merge
