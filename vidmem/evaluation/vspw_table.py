"""The table of `vidmem eval vspw`: T-REN's, with video consistency beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..query.labels import BUILT_IN
from .consistency import LENGTHS, by_formula, published
from .ovss_run import Score, figures, score
from .report import Method, Table

PATCHES = 1024
"""Tokens of a frame of a patch encoder at 512 x 512 pixels, patches of 16: compression 1 in T-REN's Table 3."""
COLUMNS = ("mIoU", "VC8", "VC16", "compression")

_TABLE3, _TABLE5 = "arXiv 2604.18573, Table 3", "arXiv 2604.18573, Table 5"
_PUBLISHED = (
    Method("DINOv3 dino.txt", {"mIoU": 20.7, "compression": 1.0}, _TABLE3),
    Method("REN", {"mIoU": 18.5, "compression": 22.9}, _TABLE3),
    Method("T-REN", {"mIoU": 38.3, "compression": 254.5}, _TABLE3),
    Method("T-REN, merged in frames only", {"mIoU": 38.6, "compression": 29.2}, _TABLE5),
    Method("T-REN, nothing merged", {"mIoU": 38.6, "compression": 1.0}, _TABLE5),
)


@dataclass(frozen=True, slots=True)
class VspwScore:
    """Of all videos together.

    Attributes:
        score: The confusion of all pixels.
        consistency: VC by the number of frames, as the benchmark's program averages it; NaN without long videos.
        by_formula: The same as in the benchmark's paper.
        frames: Of all videos.
        tracks: Of all videos; None if they were labelled frame by frame.
    """

    score: Score
    consistency: Mapping[int, float]
    by_formula: Mapping[int, float]
    frames: int
    tracks: int | None

    @property
    def compression(self) -> float | None:
        """How many patch tokens one token of a track replaces, see PATCHES."""
        return PATCHES * self.frames / self.tracks if self.tracks else None


def vspw_score(results: Iterable[Mapping[str, Any]]) -> VspwScore:
    """Score the counts of videos, as from `vspw.video_counts`."""
    found = list(results)
    stretches = {length: [each["stretches"][str(length)] for each in found] for length in LENGTHS}
    tracks = [each["tracks"] for each in found]
    return VspwScore(
        score((each["cells"] for each in found), BUILT_IN["vspw"].names),
        {length: published(videos) for length, videos in stretches.items()},
        {length: by_formula(videos) for length, videos in stretches.items()},
        sum(each["frames"] for each in found),
        None if None in tracks else sum(tracks),
    )


def vspw_table(title: str, method: str, found: VspwScore, notes: list[str]) -> Table:
    """Our figures, in percent but for the compression, beside published ones."""
    shares = {"mIoU": found.score.miou, **{f"VC{length}": value for length, value in found.consistency.items()}}
    ours = {name: _percent(value) for name, value in shares.items()} | {"compression": found.compression}
    formula = ", ".join(f"VC{length} {_shown(value)}" for length, value in found.by_formula.items())
    told = [
        "VC is averaged as by the benchmark's published program, over stretches without the last frames of each video; "
        f"by the formula of its paper it is {formula}.",
        *notes,
    ]
    return Table(title, COLUMNS, [Method(method, ours)], _PUBLISHED, told)


def document(found: VspwScore) -> dict[str, Any]:
    """The whole score as plain data. NaN is None."""
    return {
        **figures(found.score),
        "frames": found.frames,
        "tracks": found.tracks,
        "compression": found.compression,
        "consistency": {f"VC{n}": _plain(value) for n, value in found.consistency.items()},
        "consistency_by_formula": {f"VC{n}": _plain(value) for n, value in found.by_formula.items()},
    }


def _plain(value: float) -> float | None:
    return value if value == value else None


def _percent(value: float) -> float | None:
    return 100 * value if value == value else None


def _shown(value: float) -> str:
    return f"{100 * value:.1f}" if value == value else "-"
