"""ReasonSeg, reasoning segmentation (LISA; Lai et al., CVPR 2024): its files, and the masks that count.

ROOT/val/NAME.jpg
ROOT/val/NAME.json     {"text": [...], "is_sentence": bool, "shapes": [{"label": "target", "points": [[x, y], ...]}]}

The first text is the question. Polygons are drawn from the largest to the smallest, of equal ones the later first:
"target" is what is meant, pixels of "ignore" do not count, and "flag" means nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..errors import MediaError
from ..media.images import load
from ..text_files import parse_json, read_bytes
from .masks import Mask, ciou, giou
from .referring import Answerer, counts, gathered

_FARTHEST = 1 << 20
"""Coordinates of points beyond this are damage."""


@dataclass(frozen=True, slots=True)
class Question:
    """A picture with its question. text and polygons are read from `annotation` when it is worked on."""

    image: Path
    annotation: Path

    @property
    def key(self) -> str:
        """Its name within the split."""
        return self.image.stem

    @property
    def files(self) -> tuple[Path, Path]:
        """What is read for it."""
        return self.image, self.annotation


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What is asked. text: the question. long: it is a sentence, not a short phrase. mask, counted: `(H, W)` bool."""

    text: str
    long: bool
    mask: Mask
    counted: Mask


def read_reasonseg(root: str | Path, split: str = "val") -> tuple[Question, ...]:
    """The pictures of a split, sorted by name.

    Args:
        root: The folder with the splits, ReasonSeg; or that of one split.
        split: val, test or train.

    Raises:
        MediaError: The folder is missing, or has no picture with a JSON file.
    """
    place = Path(root)
    folder = place / split
    if not folder.is_dir() and place.name == split and place.is_dir():
        folder = place
    if not folder.is_dir():
        raise MediaError(f"the folder of the split is missing; give the folder ReasonSeg, with val and test: {folder}")
    images = sorted(folder.glob("*.jpg"))
    if not images:
        raise MediaError(f"the folder has no picture *.jpg; unpack the data set again: {folder}")
    return tuple(Question(image, image.with_suffix(".json")) for image in images)


def read_target(question: Question, size: tuple[int, int]) -> Target:
    """The question and the masks of a picture. size: its width and height.

    Raises MediaError when the JSON file is missing, damaged or not of this data set.
    """
    path = question.annotation
    data = _json(path)
    text = data.get("text")
    texts = [text] if isinstance(text, str) else text
    if not isinstance(texts, list) or not texts or not isinstance(texts[0], str) or not texts[0].strip():
        raise MediaError(f"`text` is not a question or a list of some; fetch the data set again: {path}")
    shapes = data.get("shapes")
    if not isinstance(shapes, list):
        raise MediaError(f"`shapes` is not a list; fetch the data set again: {path}")
    drawn = []
    for number, shape in enumerate(shapes):
        label = shape.get("label") if isinstance(shape, Mapping) else None
        if not isinstance(label, str):
            raise MediaError(f"shapes[{number}] has no label; fetch the data set again: {path}")
        if label.lower() == "flag":
            continue
        mask = polygon_mask(_points(shape.get("points"), f"shapes[{number}].points", path), size)
        drawn.append((-int(mask.sum()), -number, "ignore" not in label.lower(), mask))
    wanted, ignored = np.zeros(size[::-1], bool), np.zeros(size[::-1], bool)
    for *_, target, mask in sorted(drawn, key=lambda each: each[:2]):
        wanted[mask], ignored[mask] = target, not target
    return Target(texts[0].strip(), bool(data.get("is_sentence")), wanted, ~ignored)


def polygon_mask(points: NDArray[np.int64], size: tuple[int, int]) -> Mask:
    """The pixels `(H, W)` of a polygon, its outline included, as the data set's program draws it.

    That program truncates coordinates to whole pixels and draws with OpenCV. Here Pillow draws, and some pixels of a
    slanting outline differ.

    Args:
        points: `(n, 2)` x and y.
        size: Width and height.
    """
    picture = Image.new("L", size)
    corners = [(int(x), int(y)) for x, y in points]
    draw = ImageDraw.Draw(picture)
    if len(corners) > 2:
        draw.polygon(corners, fill=1, outline=1)
    elif corners:
        draw.line([*corners, corners[0]], fill=1)
    return np.asarray(picture) > 0


def question_counts(question: Question, answer: Answerer) -> dict[str, Any]:
    """What the answer to a question counts: `row` as from `referring.counts`, and `long`, as plain data.

    Raises:
        MediaError: The picture or its JSON file is missing or damaged.
    """
    image = load(str(question.image), None, str(question.image))
    target = read_target(question, (image.shape[1], image.shape[0]))
    (found,) = answer(image, str(question.image), [target.text])
    return {"row": counts(found, target.mask, target.counted), "long": target.long}


def reason_figures(results: Iterable[Mapping[str, Any]]) -> dict[str, float | None]:
    """gIoU and cIoU of short questions, of long ones and of all, in [0, 1]; None where there are none."""
    found = list(results)
    parts: dict[str, Sequence[Mapping[str, Any]]] = {
        "short": [each for each in found if not each["long"]],
        "long": [each for each in found if each["long"]],
        "overall": found,
    }
    figures = {}
    for name, part in parts.items():
        counted = gathered([each["row"] for each in part])
        figures[f"{name} gIoU"], figures[f"{name} cIoU"] = giou(counted), ciou(counted)
    return {name: None if math.isnan(value) else value for name, value in figures.items()}


def _json(path: Path) -> Mapping[str, Any]:
    raw = read_bytes(path, "the annotation cannot", remedy="fetch it again")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:  # some files of the data set are in Windows' own encoding
        text = raw.decode("cp1252", errors="replace")
    try:
        data = parse_json(text)
    except ValueError as error:
        raise MediaError(f"the annotation is not JSON ({str(error)[:80]}); fetch it again: {path}") from None
    if not isinstance(data, Mapping):
        raise MediaError(f"the annotation is not an object; fetch it again: {path}")
    return data


def _points(value: Any, where: str, path: Path) -> NDArray[np.int64]:
    wrong = MediaError(f"{where} is not a list of points x, y; fetch it again: {path}")
    if not isinstance(value, list):
        raise wrong
    for point in value:
        if not isinstance(point, list) or len(point) != 2:
            raise wrong
        if not all(isinstance(v, int | float) and abs(v) < _FARTHEST for v in point):  # NaN is not less
            raise wrong
    return np.array(value, np.float64).reshape(-1, 2).astype(np.int64)
