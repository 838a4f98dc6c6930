"""Every threshold, with its symbol in the paper, its default and its source; presets.

`default` is used unless the encoder names another preset. `paper` reproduces T-REN (arXiv 2604.18573) with the choices
of its public code. `boxes` is for encoders with a detector (`tiny`, `clip`), which gives each thing one region with a
confidence: nothing is merged. `patches` and `patches-tracked` are for T-REN's baseline, which merges nothing within a
frame; `patches-tracked` still links patches over time.

The folder of the default memory is here too, because this module imports nothing slow.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from .errors import StoreError, UsageError

MEMORY_VARIABLE = "VIDMEM_MEMORY"


def default_address() -> str:
    """The folder or the fleet that VIDMEM_MEMORY names, else `memory` in the platform's folder for data."""
    if given := os.environ.get(MEMORY_VARIABLE):
        return given
    import platformdirs

    return os.path.join(platformdirs.user_data_dir("vidmem", appauthor=False), "memory")


@dataclass(frozen=True, slots=True)
class MergeConfig:
    """Merging region tokens within one frame (T-REN section 3.1, "Merge similar visual region tokens").

    token_threshold: tau_token, cosine above which two tokens are merged (paper .975).
    mask_threshold: tau_mask, IoU of the binarised masks above which two tokens are merged (paper .8).
    binarise: a patch is in a mask if its max-normalised attention exceeds this (authors' code .5).
    keep_singletons: keep regions that only one token found. The authors' code drops them, and small objects with
    them; if all are single it keeps the one with the largest mask.
    touching: merge similar tokens only if their masks overlap or touch, so that two bottles of a kind stay two (the
    paper merges them anywhere in the frame).
    """

    token_threshold: float = 0.975
    mask_threshold: float = 0.8
    binarise: float = 0.5
    keep_singletons: bool = True
    touching: bool = False


@dataclass(frozen=True, slots=True)
class TrackConfig:
    """Following regions over frames (T-REN section 3.1, "Temporal aggregation for videos").

    threshold: tau_track, minimum cosine of a region to a track's running mean to join it (paper .65).
    max_gap: sampled frames that a track may miss and still be continued; 0 in the paper.
    overlap: weight of the IoU with the track's last box, which is added to the cosine: of similar things, the one that
    stayed in place wins. 0 in the paper.
    reach: maximum distance of a region from the track, in longest sides of the smaller of the two boxes, plus a tenth
    of the frame. It is measured from the track's last box and from that box moved with the picture; the longest sides
    may differ as much. So two similar things do not swap. 0 means anywhere, as in the paper.
    start: minimum confidence to start a track; a weaker region may only continue one, as the low detections of
    ByteTrack (arXiv 2110.06864). 0 in the paper, and for encoders without confidences.
    """

    threshold: float = 0.65
    max_gap: int = 2
    overlap: float = 0.0
    reach: float = 0.0
    start: float = 0.0


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """Indexing.

    fps: sampled frames per second of media time, 0 for every frame (Ego4D VQ2D uses 5).
    checkpoint_frames: sampled frames per transaction, a multiple of `batch`; a crash loses at most these.
    batch: frames per encoder call.
    still: maximum number of frames in a row that are not encoded while the picture stands still (indexer/gating.py); 0
    encodes every frame, as the paper does.
    """

    fps: float = 5.0
    checkpoint_frames: int = 48
    batch: int = 4
    still: int = 24
    merge: MergeConfig = MergeConfig()
    track: TrackConfig = TrackConfig()

    def __post_init__(self) -> None:
        if not 0 <= self.fps <= 1000:
            raise UsageError(f"`fps` must lie in (0, 1000], or be 'all'; got {self.fps}")

        if self.still < 0:
            raise UsageError(f"`still` must be a number of frames, 0 or more; got {self.still}")
        if self.batch < 1 or self.checkpoint_frames < 1 or self.checkpoint_frames % self.batch:
            raise UsageError(
                f"`checkpoint_frames` ({self.checkpoint_frames}) must be a multiple of `batch` ({self.batch})"
            )

    def as_dict(self) -> dict[str, object]:
        """The settings as plain data, as the store keeps them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The settings that `as_dict` wrote, maybe in another version: unknown names are left out.

        Raises:
            StoreError: a value that `as_dict` cannot have written.
        """
        kept = {"still": 0} | _known(cls, data)  # older memories encoded every frame, and still do
        kept["merge"] = MergeConfig(**_known(MergeConfig, kept.get("merge", {})))
        kept["track"] = TrackConfig(**_known(TrackConfig, kept.get("track", {})))
        try:
            return cls(**kept)
        except UsageError as error:
            raise _damaged(error) from None


_MAX_FLOAT, _MAX_INT = 1e6, 100_000
"""Maximum of a number in the settings of a memory, which may come from a stranger."""


def _known(cls: type[Any], data: Any) -> dict[str, Any]:
    """The entries of `data` that are fields of `cls`; their values must have the type of the default."""
    if not isinstance(data, Mapping):
        raise _damaged("they are not names with values")
    names = {f.name: f.default for f in fields(cls) if f.name in data}
    for name, default in names.items():
        if not _fits(data[name], default):
            raise _damaged(f"{name} has a wrong value")
    return {name: data[name] for name in names}


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float) and -_MAX_FLOAT <= value <= _MAX_FLOAT  # false for NaN
    if isinstance(default, int):
        return isinstance(value, int) and 0 <= value <= _MAX_INT
    return isinstance(value, Mapping)


def _damaged(what: object) -> StoreError:
    return StoreError(f"the memory is damaged (its settings: {what}); restore it from a backup")


NEVER = 2.0
"""A threshold that no cosine and no IoU reaches."""

PRESETS = {
    "default": IndexConfig(),
    "boxes": IndexConfig(
        merge=MergeConfig(NEVER, NEVER), track=TrackConfig(0.5, 5, overlap=0.15, reach=1.0, start=0.2)
    ),
    "paper": IndexConfig(still=0, merge=MergeConfig(keep_singletons=False), track=TrackConfig(max_gap=0)),
    "patches": IndexConfig(still=0, merge=MergeConfig(NEVER, NEVER), track=TrackConfig(NEVER, max_gap=0)),
    "patches-tracked": IndexConfig(still=0, merge=MergeConfig(NEVER, NEVER), track=TrackConfig(max_gap=0)),
}


def preset(name: str) -> IndexConfig:
    """The preset called `name`. Raises UsageError for an unknown name."""
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(f"no preset {name!r}; there are: {', '.join(PRESETS)}") from None
