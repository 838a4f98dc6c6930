"""A memory on disk: SQLite is the truth, and the vector cache can be rebuilt from it."""

from .checkpoint import Checkpoint
from .forget import Loss, Part
from .new_tokens import NewTokens
from .picture_files import PICTURE_NS, Picture, PictureFile
from .proof import Down, Proof
from .rows import ModelRecord, SourceRow, SourceState, StoreStats, TrackRow
from .store import Store
from .vector_cache import VectorCache
from .vectors import Vectors
from .within import Columns, Spans, Within

__all__ = [
    "PICTURE_NS",
    "Checkpoint",
    "Columns",
    "Down",
    "Loss",
    "ModelRecord",
    "NewTokens",
    "Part",
    "Picture",
    "PictureFile",
    "Proof",
    "SourceRow",
    "SourceState",
    "Spans",
    "Store",
    "StoreStats",
    "TrackRow",
    "VectorCache",
    "Vectors",
    "Within",
]
