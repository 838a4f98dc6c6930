"""Referring segmentation: expressions about pictures, one mask for each (RefCOCO, RefCOCO+, RefCOCOg, gRefCOCO).

The expressions of a picture are one item, so that an encoder looks at each picture once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError, UsageError
from ..export.rle import box
from ..export.trainset.content import Region, region_mask
from ..export.trainset.refcoco import Picture, Said, read_refcoco
from ..geometry import box_iou
from ..media.images import load
from .masks import Mask, Overlaps

BOX_THRESHOLD = 0.5
"""Of Acc@0.5 in referring comprehension; a box has to overlap by more than this (Text4Seg, section 4.3)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An expression. regions: what it means; none for nothing in the picture."""

    text: str
    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class Questions:
    """The expressions of one picture in one split."""

    split: str
    picture: Picture
    asked: tuple[Asked, ...]

    @property
    def key(self) -> str:
        """Names it within the data set, whatever folder that is in."""
        return f"{self.split} {Path(self.picture.path).name}"


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What was found for an expression.

    Attributes:
        mask: `(H, W)` bool; empty for "not there".
        note: Why there is no answer ("unknown", "unreadable" or "too long"), or "" if there is one. Without an answer
            the mask is empty, and the expression counts as missed, also if it means nothing.
    """

    mask: Mask
    note: str = ""


Answerer = Callable[[NDArray[np.uint8], str, Sequence[str]], list[Found]]
"""Takes a picture `(H, W, 3)` uint8, its path and expressions, and finds one mask each."""


class Read(NamedTuple):
    """What was read. files: As they were read. left_out: why, for each entry of the files that is damaged."""

    questions: tuple[Questions, ...]
    files: tuple[Path, ...]
    left_out: tuple[str, ...]


def read_questions(place: str | Path, images: str | Path | None, splits: Sequence[str], by: str | None = None) -> Read:
    """Read the expressions of a data set, picture by picture in the order of the file.

    Args:
        place: A folder with `instances.json` and a list of expressions; see export/trainset/refcoco.py.
        images: Folder of the pictures.
        splits: Which splits, such as val, testA and testB.
        by: Which list of several, such as unc, google or umd.

    Raises:
        MediaError: A file is missing or is not what it should be.
        UsageError: A split is not there, or there are several lists.
    """
    folder = None if images is None else Path(images)
    if folder is not None and not folder.is_dir():
        raise MediaError(f"the folder of the pictures does not exist; check the path: {folder}")
    out: list[Questions] = []
    files: tuple[Path, ...] = ()
    left_out: list[str] = []
    for split in splits:
        read = read_refcoco(Path(place), folder, split, by, left_out.append)
        files = read.files
        out += _by_picture(split, read.said)
    return Read(tuple(out), files, tuple(dict.fromkeys(left_out)))


def _by_picture(split: str, said: Iterable[Said]) -> list[Questions]:
    grouped: dict[Picture, list[Asked]] = {}
    for one in said:
        grouped.setdefault(one.picture, []).append(Asked(one.expression.text, one.expression.regions))
    return [Questions(split, picture, tuple(asked)) for picture, asked in grouped.items()]


def picture_counts(questions: Questions, answer: Answerer) -> list[list[Any]]:
    """What the answers about a picture count, a row for each expression: pixels in both masks, in the predicted and in
    the true one, the IoU of the boxes around them (None without a target), and the note of `Found`.

    Raises:
        MediaError: The picture is missing or damaged, or differs in size from its annotation.
    """
    path = questions.picture.path
    image = load(path, None, path)
    width, height = questions.picture.size
    if image.shape[:2] != (height, width):
        raise MediaError(
            f"the picture is {image.shape[1]}x{image.shape[0]}, and the annotations say {width}x{height}; fetch it "
            f"again: {path}"
        )
    found = answer(image, path, [asked.text for asked in questions.asked])
    rows = []
    for asked, one in zip(questions.asked, found, strict=True):
        wanted = np.zeros((height, width), bool)
        for region in asked.regions:
            wanted |= region_mask(region, (width, height))
        rows.append(counts(one, wanted))
    return rows


def counts(found: Found, wanted: Mask, counted: Mask | None = None) -> list[Any]:
    """The row of one answer, see `picture_counts`. counted: pixels that count; None for all."""
    said = np.asarray(found.mask, bool)
    if said.shape != wanted.shape:
        raise UsageError(f"the mask of an answer is {said.shape}, its picture {wanted.shape}")
    if counted is not None:
        said, wanted = said & counted, wanted & counted
    overlap = None if not wanted.any() else _box_iou(said, wanted)
    return [
        int(np.count_nonzero(said & wanted)),
        int(np.count_nonzero(said)),
        int(np.count_nonzero(wanted)),
        overlap,
        found.note,
    ]


def _box_iou(said: Mask, wanted: Mask) -> float:
    if not said.any():
        return 0.0
    corners = [np.array([x, y, x + w, y + h], np.float32) for x, y, w, h in (box(said), box(wanted))]
    return float(box_iou(corners[0], corners[1]))


def gathered(rows: Iterable[Sequence[Any]]) -> Overlaps:
    """The rows of many expressions as `Overlaps`. Those with a note have no answer."""
    kept = list(rows)
    table = np.array([row[:3] for row in kept], np.int64).reshape(-1, 3)
    unanswered = np.array([bool(row[4]) for row in kept], np.bool_)
    return Overlaps(table[:, 0], table[:, 1], table[:, 2], unanswered)


def box_share(rows: Iterable[Sequence[Any]]) -> float | None:
    """Acc@0.5: the share of expressions with a target whose boxes overlap by more than half; None without any."""
    right = [row[3] > BOX_THRESHOLD for row in rows if row[3] is not None]
    return sum(right) / len(right) if right else None
