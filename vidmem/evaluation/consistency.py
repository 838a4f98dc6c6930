"""Video consistency (VC) of video scene parsing (VSPW; Miao et al., CVPR 2021, section 5.2).

Of the pixels whose true class stays the same over n frames in a row, VC_n is the share whose predicted class stays the
same, too. It says nothing about whether the class is right. `Consistency` needs one pass and keeps two counters per
pixel: for how many frames the truth and the prediction have not changed. A pixel is in the common area of the n frames
that end now when its counter has reached n.

The benchmark's published program and its paper average differently, and both are here. The program leaves out the last
n frames of each video and takes the mean over all stretches of all videos; its figures are those that papers publish.
The paper's formula takes all stretches, then the mean per video, then the mean of the videos.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

LENGTHS = (8, 16)
"""Frames of VC8 and VC16."""

Stretches = list[list[int]]
"""For each stretch of n frames, in order: pixels in the common area of both, and in that of the truth alone."""


class Consistency:
    """Counts the common areas of one video. lengths: numbers of frames n, each at least 2."""

    def __init__(self, lengths: Sequence[int] = LENGTHS) -> None:
        if any(length < 2 for length in lengths):
            raise UsageError(f"`lengths` are at least 2 frames; got {min(lengths)}")
        self.stretches: dict[int, Stretches] = {length: [] for length in lengths}
        self._frames = 0
        self._last: tuple[NDArray[np.integer], NDArray[np.integer]] | None = None
        self._same: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None

    def add(self, predicted: NDArray[np.integer], wanted: NDArray[np.integer]) -> None:
        """Add the next frame: predicted and true numbers `(H, W)`. "No class" is a number like any other, as in the
        published program. Raises UsageError when the size changes."""
        new = np.asarray(predicted), np.asarray(wanted)
        if self._last is None or self._same is None:
            self._same = np.ones(new[0].shape, np.int32), np.ones(new[1].shape, np.int32)
        else:
            for now, before, count in zip(new, self._last, self._same, strict=True):
                if now.shape != before.shape:
                    raise UsageError(f"the frames of a video have one size; got {before.shape} and then {now.shape}")
                np.multiply(count, now == before, out=count)
                count += 1
        self._last = new
        self._frames += 1
        said, true = self._same
        for length, found in self.stretches.items():
            if self._frames >= length:
                common = true >= length
                found.append([int(np.count_nonzero(common & (said >= length))), int(np.count_nonzero(common))])


def published(videos: Iterable[Stretches]) -> float:
    """VC as the benchmark's program averages it, in [0, 1]; NaN when no video is long enough.

    videos: The stretches of each video for one n. The last one of each is left out, so that a video needs n + 1 frames.
    """
    shares = [share for stretches in videos for share in _shares(stretches[:-1])]
    return float(np.mean(shares)) if shares else math.nan


def by_formula(videos: Iterable[Stretches]) -> float:
    """mVC by the paper's formula: the mean over videos of the mean over all of their stretches; NaN without any."""
    means = [float(np.mean(shares)) for stretches in videos if (shares := _shares(stretches))]
    return float(np.mean(means)) if means else math.nan


def _shares(stretches: Iterable[Sequence[int]]) -> list[float]:
    """Stretches without a common area say nothing and are left out."""
    return [both / common for both, common in stretches if common]
