"""Pictures of answers, for whoever still has the answer and maybe no longer the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from .records import Sighting


@dataclass(frozen=True, slots=True)
class Album:
    """The way to the pictures of a memory. folder: of the memory. It holds no open file, and can be pickled."""

    folder: str

    def __call__(self, sighting: Sighting, title: str = "", *, others: Sequence[Sighting] = ()) -> Image.Image:
        """As `Memory.picture`. Raises MediaError and StoreError when the video or the memory is gone."""
        from .memory import Memory

        with Memory.open(self.folder, read_only=True, any_weights=True) as memory:
            return memory.picture(sighting, title, others=others)
