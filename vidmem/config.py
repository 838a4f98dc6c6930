"""Every threshold, with its symbol in the paper, its default and its source; presets.

`default` is what a memory gets unless its encoder asks for another; `paper` reproduces T-REN (arXiv 2604.18573) with
the choices of its public code. `boxes` is for encoders that stand on a detector (`tiny`, `clip`): it gives each thing
one region, so nothing is merged, and says how sure it is of it. `patches` and `patches-tracked` are for T-REN's
baseline: nothing is merged in a frame, and nothing or something over time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from .errors import StoreError, UsageError


@dataclass(frozen=True, slots=True)
class MergeConfig:
    """Merging region tokens within one frame (T-REN section 3.1, "Merge similar visual region tokens").

    token_threshold: tau_token, cosine above which two tokens are one (paper .975).
    mask_threshold: tau_mask, IoU of the binarised masks above which two tokens are one (paper .8).
    binarise: a mask holds a patch when its max-normalised attention exceeds this (authors' code .5).
    keep_singletons: keep regions that only one token found. The authors' code drops them, and with them small
    objects; where all are single it keeps the one with the largest mask.
    touching: tokens that are alike are one only where their masks lie on one another or side by side, so that two
    bottles of a kind stay two (the paper: anywhere in the frame).
    """

    token_threshold: float = 0.975
    mask_threshold: float = 0.8
    binarise: float = 0.5
    keep_singletons: bool = True
    touching: bool = False


@dataclass(frozen=True, slots=True)
class TrackConfig:
    """Following regions over frames (T-REN section 3.1, "Temporal aggregation for videos").

    threshold: tau_track, cosine to a track's running mean from which a region may join it (paper .65).
    max_gap: sampled frames that a track may miss and still be continued; 0 in the paper.
    overlap: of the regions that may join, how much the IoU of a box with the track's last one adds to the cosine: of
    things alike, the one that is where it was. 0 in the paper.
    reach: how far off a region may lie to join a track, in longest sides of the smaller of the two boxes, beside a
    tenth of the frame: off from where the track was, or from where the whole picture has moved it since; and by how
    much its longest side may differ. So of two things alike the one does not become the other. 0, as in the paper:
    anywhere.
    start: confidence from which a region starts a track; a weaker one may only continue one, as the low detections of
    ByteTrack (arXiv 2110.06864). 0 in the paper, and for encoders that are sure of every region.
    """

    threshold: float = 0.65
    max_gap: int = 2
    overlap: float = 0.0
    reach: float = 0.0
    start: float = 0.0


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """Indexing. fps: sampled frames per second of media time, 0 for every frame (Ego4D VQ2D uses 5).

    checkpoint_frames: sampled frames per transaction, what a crash can lose, a multiple of batch. batch: frames per
    encoder call. still: frames in a row that need not be encoded where the picture stands still (indexer/gating.py), 0
    to encode every frame as the paper does.
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
            raise UsageError(f"still is a number of frames from 0 up; got {self.still}")
        if self.batch < 1 or self.checkpoint_frames < 1 or self.checkpoint_frames % self.batch:
            raise UsageError(f"checkpoint_frames ({self.checkpoint_frames}) must be a multiple of batch ({self.batch})")

    def as_dict(self) -> dict[str, object]:
        """Plain data for the store: what makes two memories comparable."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The settings that `as_dict` wrote, maybe in an older version: what is unknown is left out. Raises StoreError
        for values that it cannot have written."""
        kept = {"still": 0} | _known(cls, data)  # memories of before encoded every frame, and go on so
        kept["merge"] = MergeConfig(**_known(MergeConfig, kept.get("merge", {})))
        kept["track"] = TrackConfig(**_known(TrackConfig, kept.get("track", {})))
        try:
            return cls(**kept)
        except UsageError as error:
            raise _damaged(error) from None


_MOST, _MOST_FRAMES = 1e6, 100_000
"""Of any number in the settings of a memory, which may come from a stranger."""


def _known(cls: type[Any], data: Any) -> dict[str, Any]:
    """What of the data are fields, each with a value like its default."""
    if not isinstance(data, Mapping):
        raise _damaged("they are no names with values")
    names = {f.name: f.default for f in fields(cls) if f.name in data}
    for name, default in names.items():
        if not _fits(data[name], default):
            raise _damaged(f"{name} has a value that is none")
    return {name: data[name] for name in names}


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float) and -_MOST <= value <= _MOST  # false for NaN
    if isinstance(default, int):
        return isinstance(value, int) and 0 <= value <= _MOST_FRAMES
    return isinstance(value, Mapping)


def _damaged(what: object) -> StoreError:
    return StoreError(f"the memory is damaged (its settings: {what}); restore it from a backup")


NEVER = 2.0
"""No cosine and no IoU reaches it: nothing is joined."""

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
    """The preset called `name`. Raises UsageError when there is none."""
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(f"no preset {name!r}; there are: {', '.join(PRESETS)}") from None
