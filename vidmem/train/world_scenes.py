"""Frames of lostfound worlds as scenes: things at their true sizes, half hidden, in real rooms under a real camera.

The frames come from vidmem.train.tren.world; their seeds lie below all that is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..world.drawings import Drawing
from .scenes import GRID, HEIGHT, WIDTH, Scene, pack, per_patch
from .tren.folder import Folder
from .tren.world import SCENERY


class WorldScenes:
    """Scenes from a folder that `render_worlds` wrote. held_out: the last tenth, unchanged and in order, instead of
    random ones of the rest, mirrored and lit at random. Raises UsageError when the frames have another size."""

    def __init__(
        self, folder: Path, drawings: Sequence[Drawing], label_of: Callable[[str], int], seed: int,
        held_out: bool = False,
    ) -> None:  # fmt: skip
        self.frames = Folder(folder)
        self.labels = {drawing.name: label_of(drawing.name) for drawing in drawings}
        self.rng = np.random.default_rng(seed)
        self.held_out, self.next = held_out, len(self.frames) * 9 // 10
        # The masks know names alone: which drawing it is, is certain where a name has one.
        by_name: dict[str, list[int]] = {}
        for i, drawing in enumerate(drawings):
            by_name.setdefault(drawing.name, []).append(i)
        self.drawing = {name: found[0] for name, found in by_name.items() if len(found) == 1}

    def scene(self) -> Scene:
        """The next one."""
        if self.held_out:
            sample, self.next = self.frames[self.next], self.next + 1
        else:
            sample = self.frames[int(self.rng.integers(len(self.frames) * 9 // 10))]
        if sample.image.shape[:2] != (HEIGHT, WIDTH):
            raise UsageError(f"frames must be {WIDTH}x{HEIGHT}, this one is not: {sample.source}")
        scenery = np.zeros((HEIGHT, WIDTH), np.bool_)
        rows: list[tuple[NDArray[np.float32], int, int, int]] = []
        for mask, name in zip(sample.masks, sample.names, strict=True):
            if name == SCENERY:
                scenery |= mask
            elif name in self.labels:
                rows.append((per_patch(mask), self.labels[name], self.drawing.get(name, -1), -1))
        empty = per_patch(scenery)
        rows.append((empty, -2, -1, -1))
        image = sample.image
        if not self.held_out:
            gain = np.exp(self.rng.normal(0, 0.12)) * np.exp(self.rng.normal(0, 0.03, 3))
            image = np.clip(image * gain + self.rng.normal(0, 5), 0, 255).astype(np.uint8)
            if self.rng.random() < 0.5:
                image = image[:, ::-1].copy()
                rows = [(share[:, ::-1], *rest) for share, *rest in rows]  # type: ignore[misc]
                empty = empty[:, ::-1].copy()
        assert empty.shape == GRID
        return pack(image, rows, empty)
