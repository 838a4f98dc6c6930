"""The layouts in which the data sets of T-REN's training are published, read as they come from their archives.

Every reader gives samples by number (see ../sample.py) and raises MediaError with the path of what is missing or
damaged.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..sample import Data
from .mapillary import Mapillary
from .openimages import OpenImages
from .phrasecut import PhraseCut
from .sa1b import Sa1b

LAYOUTS: dict[str, Callable[[Path], Data]] = {
    "openimages": OpenImages,
    "phrasecut": PhraseCut,
    "mapillary": Mapillary,
    "sa1b": Sa1b,
}
"""Readers by the word before the colon of `--data`."""
