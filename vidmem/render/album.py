"""Pictures of answers, for whoever still has the answer and maybe no longer the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..encoders import DEFAULT
from ..query.query import Query
from ..store import Store
from .pictures import Pictures

if TYPE_CHECKING:
    from PIL import Image

    from ..records import Sighting


@dataclass(frozen=True, slots=True)
class Album:
    """The way to the pictures of a memory. folder: of the memory. It holds no open file, and can be pickled."""

    folder: str

    def __call__(self, sighting: Sighting, title: str = "", *, others: Sequence[Sighting] = ()) -> Image.Image:
        """As `Memory.picture`. Raises MediaError and StoreError when the video or the memory is gone."""
        with Store.open(Path(self.folder)) as store:
            made = store.model()
            return Pictures(Query(store, made.encoder if made else DEFAULT, None)).picture(
                sighting, title, others=others
            )
