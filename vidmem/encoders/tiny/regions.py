"""Regions from the shipped detector, for encoders whose tokens come from views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...records import RegionTokens
from ..onnx import cores, providers
from ..shipped import REGIONS, shipped
from .detector import Detector, working_size

LONGEST = 1920
"""Maximum pixels of the longer side of a frame that views are cut from; more would not help the networks."""
MOST_WORKERS = 4
"""Maximum batches at a time on a CPU. With more, one decoding thread cannot keep up, and memory grows."""


class DetectedRegions:
    """The region half of an encoder. The `visual` tokens of its regions only serve to track things."""

    def __init__(self, device: str | None = None) -> None:
        self.device = device
        self._on_cpu = providers(device)[0] == "CPUExecutionProvider"

    @cached_property
    def detector(self) -> Detector:
        """Loaded on first use: a question by picture does not need it."""
        return Detector(*map(shipped, REGIONS), threads=1 if self._on_cpu else 0, device=self.device)

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        """As Encoder. Pictures keep their size, so that views can be cut from them."""
        scale = min(1.0, LONGEST / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))

    @contextmanager
    def parallel(self) -> Iterator[int]:
        """As Encoder. Pictures side by side, a thread each, are faster than threads within one picture."""
        yield min(cores(), MOST_WORKERS) if self._on_cpu else 1

    def encode(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[RegionTokens]:
        """As Encoder."""
        h, w = images[0].shape[:2]
        size = working_size(w, h)
        small = [image if size == (w, h) else _resized(image, size) for image in images]
        return self.detector.regions(small, width, height)


def _resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0))
