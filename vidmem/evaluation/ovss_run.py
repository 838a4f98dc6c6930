"""Open-vocabulary semantic segmentation of a data set, one picture at a time (T-REN, Table 2; TextRegion, Table 1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import nearest
from ..media.images import load
from .confusions import Cells, cells, total
from .label_pictures import check_same_size, classes_of, read_numbers
from .masks import class_accuracy, class_iou, confusion, miou, pixel_accuracy
from .ovss_context import read_mat
from .ovss_sets import Pair, SegmentationSet
from .parsed_pictures import Parser


def truth_of(data: SegmentationSet, pair: Pair) -> NDArray[np.int64]:
    """The true class of each pixel, `(H, W)` int64, IGNORED where it does not count. Raises MediaError."""
    numbers = read_mat(pair.labels) if pair.labels.suffix == ".mat" else read_numbers(pair.labels)
    return classes_of(numbers, data.table, data.others)


def picture_cells(data: SegmentationSet, pair: Pair, parser: Parser, size: int | None = None) -> Cells:
    """The confusion of one picture.

    Args:
        data: The data set.
        pair: The picture.
        parser: Names its pixels.
        size: Compare squares of this many pixels a side, the truth scaled by nearest neighbours, as T-REN's code does.
            None compares in the picture's own size.

    Raises:
        MediaError: The picture or its labels are missing, damaged, or differ in size.
    """
    wanted = truth_of(data, pair)
    image = load(str(pair.image), None, str(pair.image))
    check_same_size(wanted, image, pair.labels)
    if size is not None:
        wanted = np.asarray(nearest(wanted, size, size), np.int64)
    predicted = parser(image, str(pair.image), (wanted.shape[0], wanted.shape[1]))
    return cells(confusion(predicted, wanted, len(data.names)))


@dataclass(frozen=True, slots=True)
class Score:
    """Of all pictures together. miou, pixel_accuracy, class_accuracy: in [0, 1]. rows: name, IoU (None for a class that
    is neither there nor predicted) and true pixels of each class."""

    miou: float
    pixel_accuracy: float
    class_accuracy: float
    pictures: int
    rows: tuple[tuple[str, float | None, int], ...]


def score(results: Iterable[Cells], names: tuple[str, ...]) -> Score:
    """Score the confusions of pictures. Raises UsageError when one is of another data set."""
    kept = list(results)
    matrix = total(kept, len(names))
    iou = class_iou(matrix)
    rows = tuple(
        (name, float(value) if np.isfinite(value) else None, int(pixels))
        for name, value, pixels in zip(names, iou, matrix.sum(axis=1), strict=True)
    )
    return Score(miou(matrix), pixel_accuracy(matrix), class_accuracy(matrix), len(kept), rows)


def figures(found: Score) -> Mapping[str, Any]:
    """A score as plain values for JSON."""
    return {
        "miou": found.miou,
        "pixel_accuracy": found.pixel_accuracy,
        "class_accuracy": found.class_accuracy,
        "pictures": found.pictures,
        "classes": [{"name": name, "iou": iou, "pixels": pixels} for name, iou, pixels in found.rows],
    }
