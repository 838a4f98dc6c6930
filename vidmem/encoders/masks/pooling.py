"""What encoders that pool features under masks have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...records import Float32, Frame, RegionTokens, SourceInfo
from ..base import Encoder, MaskSource
from .fitting import NO_MASKS, fitted_masks


class MaskPooling(Encoder):
    """Base of encoders that pool features under masks: those of `masks`, or their own where that is None."""

    @abstractmethod
    def under(
        self, image: NDArray[np.uint8], width: int, height: int, masks: Float32, *, fine: bool = False
    ) -> RegionTokens:
        """Tokens of one working picture `(h, w, 3)` under soft masks `(n, h, w)` in [0, 1]; n may be 0.

        Args:
            image: The working picture.
            width: Width of the original, in whose pixels points and boxes are given.
            height: Height of the original.
            masks: In the size of the working picture.
            fine: Return the masks as they are given, not on the patch grid.
        """

    def encode_frames(self, frames: Sequence[Frame], info: SourceInfo) -> list[RegionTokens]:
        """As `Encoder.encode_frames`, under the masks that are given for the frames."""
        if self.masks is None:
            return super().encode_frames(frames, info)
        return self._under_given(self.masks, frames, info)

    def encode_fine(self, frame: Frame, info: SourceInfo) -> RegionTokens:
        """As `Encoder.encode_fine`. Raises ModelError if no mask is given."""
        if self.masks is None:
            return super().encode_fine(frame, info)
        (found,) = self._under_given(self.masks, [frame], info, fine=True)
        if not len(found):
            raise ModelError(NO_MASKS)
        return found

    def _under_given(
        self, source: MaskSource, frames: Sequence[Frame], info: SourceInfo, *, fine: bool = False
    ) -> list[RegionTokens]:
        found = []
        for frame, given in zip(frames, source.of_frames(frames, info), strict=True):
            masks = fitted_masks(given, frame.image.shape[1], frame.image.shape[0])
            found.append(self.under(frame.image, info.width, info.height, masks, fine=fine))
        return found
