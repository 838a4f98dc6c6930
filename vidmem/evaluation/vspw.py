"""VSPW, video scene parsing (Miao et al., CVPR 2021): its files, and what one video counts.

ROOT/val.txt                      names of videos, one a line
ROOT/data/VIDEO/origin/*.jpg      frames
ROOT/data/VIDEO/mask/*.png        0 and 255 do not count, class i is i + 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MediaError
from ..media.images import pictures_in
from ..query.parse import Labels
from ..text_files import is_plain_name, read_text
from .confusions import cells
from .consistency import LENGTHS, Consistency
from .label_pictures import classes_of, read_numbers
from .masks import confusion

CLASSES = 124
_TABLE = {i + 1: i for i in range(CLASSES)}


@dataclass(frozen=True, slots=True)
class Video:
    """A video of the data set. folder: with `origin` and `mask`."""

    name: str
    folder: Path

    def frames(self) -> list[tuple[Path, Path]]:
        """Its frames in order, each with its mask. Raises MediaError when one has no mask, or there are none."""
        origin, masks = self.folder / "origin", self.folder / "mask"
        if not origin.is_dir():
            raise MediaError(f"the frames of the video are missing; unpack the data set again: {origin}")
        pictures = [Path(path) for path in pictures_in(str(origin))]
        if not pictures:
            raise MediaError(f"the video has no frame; unpack the data set again: {origin}")
        pairs = [(picture, masks / f"{picture.stem}.png") for picture in pictures]
        if missing := [mask for _, mask in pairs if not mask.is_file()]:
            raise MediaError(f"{len(missing)} of {len(pairs)} frames have no mask; fetch it again: {missing[0]}")
        return pairs


def read_vspw(root: str | Path, split: str = "val") -> tuple[Video, ...]:
    """The videos of a split.

    Raises MediaError when the list is missing, empty or not a list of names.
    """
    place = Path(root)
    path = place / f"{split}.txt"
    if not path.exists():
        raise MediaError(f"the list of the videos is missing; give the folder that has data/ and it: {path}")
    lines = read_text(path, "the list of the videos cannot", remedy="unpack the data set again").splitlines()
    names = [line.strip() for line in lines if line.strip()]
    if wrong := [name for name in names if not is_plain_name(name)]:
        raise MediaError(f"{wrong[0][:40]!r} is not the name of a video; unpack the data set again: {path}")
    if not names:
        raise MediaError(f"the list of the videos is empty; unpack the data set again: {path}")
    return tuple(Video(name, place / "data" / name) for name in names)


LabelsAt = Callable[[int, int], Labels]
"""Gives the labels of a frame in a height and a width."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A labelled video. frames: one for each frame, in order. tracks: how many tokens it became, or None."""

    frames: Iterator[LabelsAt]
    tracks: int | None


Scenes = Callable[[Sequence[Path]], Labelled]
"""Labels the frames of a video."""


def video_counts(video: Video, scenes: Scenes) -> dict[str, Any]:
    """What a video adds to the figures, as plain data: `cells`, `stretches` by their length, `frames` and
    `tracks`.

    One frame is in memory at a time.

    Raises:
        MediaError: A file is missing, damaged, or differs in size from the others.
    """
    frames = video.frames()
    matrix = np.zeros((CLASSES, CLASSES + 1), np.int64)
    consistency = Consistency()
    found = scenes([picture for picture, _ in frames])
    size: tuple[int, ...] | None = None
    for (_, mask), labels_at in zip(frames, found.frames, strict=True):
        numbers = read_numbers(mask)
        if size is not None and numbers.shape != size:
            raise MediaError(f"the masks of the video differ in size; fetch them again: {mask}")
        size = numbers.shape
        predicted = labels_at(numbers.shape[0], numbers.shape[1])
        matrix += confusion(predicted, classes_of(numbers, _TABLE), CLASSES)
        consistency.add(predicted, numbers)
    stretches = {str(length): consistency.stretches[length] for length in LENGTHS}
    return {"cells": cells(matrix), "stretches": stretches, "frames": len(frames), "tracks": found.tracks}
