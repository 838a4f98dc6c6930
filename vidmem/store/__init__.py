"""A memory on disk: SQLite is the truth, the vector cache can be rebuilt from it."""

from .forget import Loss, Part
from .reader import PARTED
from .rows import ModelRecord, SourceRow, StoreStats, TrackRow
from .store import Store
from .vectors import Columns, VectorCache

__all__ = [
    "PARTED", "Columns", "Loss", "ModelRecord", "Part", "SourceRow", "Store", "StoreStats", "TrackRow", "VectorCache",
]  # fmt: skip
