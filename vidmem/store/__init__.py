"""A memory on disk: SQLite is the truth, and the vector cache can be rebuilt from it."""

from .checkpoint import Checkpoint
from .forget import Loss, Part
from .new_tokens import NewTokens
from .picture_files import PICTURE_NS, Picture, PictureFile
from .rows import ModelRecord, SourceRow, SourceState, StoreStats, TrackRow
from .store import Store
from .vector_cache import Columns, VectorCache

__all__ = [
    "PICTURE_NS",
    "Checkpoint",
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
]
