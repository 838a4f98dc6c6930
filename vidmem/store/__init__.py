"""A memory on disk: SQLite is the truth, the vector cache can be rebuilt from it."""

from .forget import Loss, Part
from .pictures import PICTURE_NS, PICTURES, Picture, PictureFile
from .reader import OWN_CLOCK, PARTED, whole_path
from .rows import ModelRecord, SourceRow, SourceState, StoreStats, TrackRow
from .store import Store
from .tokens import NewTokens
from .vectors import Columns, VectorCache

__all__ = [
    "OWN_CLOCK",
    "PARTED",
    "PICTURES",
    "PICTURE_NS",
    "Columns",
    "Loss",
    "ModelRecord",
    "NewTokens",
    "Part",
    "Picture",
    "PictureFile",
    "SourceRow",
    "SourceState",
    "Store",
    "StoreStats",
    "TrackRow",
    "VectorCache",
    "whole_path",
]
