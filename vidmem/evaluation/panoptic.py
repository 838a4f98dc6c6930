"""Reads panoptic annotations in COCO's format: a JSON file, and a PNG per picture (cocodataset.org, "Data format").

ADE20K's panoptic files (`ade20k_panoptic_val.json`) have the same format. A pixel's segment is R + 256 G + 65536 B, and
0 is void. Segments with `iscrowd` 1 stand for many things at once and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..export.files import inside
from ..export.trainset.show import short
from ..limits import check_bytes
from ..picture_reading import opened
from ..text_files import read_json

_MATERIALS_FIRST = ("wall", "floor")
"""COCO writes `wall-brick` and `floor-wood` for a brick wall and a wood floor."""
_DROPPED = ("merged", "other", "stuff")
MOST_PIXELS = 1_000_000
"""A picture has at most this width and height."""


@dataclass(frozen=True, slots=True)
class Category:
    """A class. thing: True if it can be counted, False for stuff (COCO's `isthing`)."""

    name: str
    thing: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """An annotated picture.

    Attributes:
        image: Its file.
        labels: The PNG with a segment for each pixel.
        width: In pixels.
        height: In pixels.
        segments: Index of the category of each segment, by the segment's number in the PNG. Without crowds.
        crowds: Numbers of the segments that are crowds.
    """

    image: Path
    labels: Path
    width: int
    height: int
    segments: dict[int, int]
    crowds: frozenset[int]


@dataclass(frozen=True, slots=True)
class PanopticSet:
    """Pictures and the categories that their segments have."""

    categories: tuple[Category, ...]
    pictures: tuple[Picture, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the categories as words, see `plain_name`."""
        return tuple(plain_name(category.name) for category in self.categories)

    @property
    def things(self) -> NDArray[np.bool_]:
        """`(C,)`, True for things."""
        return np.array([category.thing for category in self.categories], np.bool_)


def plain_name(name: str) -> str:
    """A category's name as words: `wall-brick` is a brick wall, `floor-other-merged` a floor, `door-stuff` a door.

    ADE20K lists synonyms behind commas; the first is taken.
    """
    parts = [part for part in name.split(",")[0].strip().split("-") if part not in _DROPPED]
    if len(parts) == 2 and parts[0] in _MATERIALS_FIRST:
        parts.reverse()
    return " ".join(parts) or name.strip()


def read_panoptic(
    annotations: str | Path, images: str | Path | None = None, labels: str | Path | None = None
) -> PanopticSet:
    """Read an annotation file. PNGs are read later, by `segment_masks`.

    Args:
        annotations: The JSON file, such as `panoptic_val2017.json` or `ade20k_panoptic_val.json`.
        images: Folder of the pictures; by default that of the file.
        labels: Folder of the PNGs; by default the file's name without `.json`.

    Raises:
        MediaError: The file is missing or is not JSON, a field is missing or wrong, or a picture has no annotation;
            the message names the field, such as annotations[12].segments_info[0].category_id.
    """
    path = Path(annotations)
    data = read_json(path, "the annotation file cannot")
    here = _Fields(path)
    rows = here.rows(data, "categories")
    categories = tuple(
        Category(here.text(row, "name", where), bool(here.number(row, "isthing", where))) for where, row in rows
    )
    index = {here.number(row, "id", where): i for i, (where, row) in enumerate(rows)}
    if len(index) != len(rows):
        raise MediaError(f"two categories have the same id; fetch the file again: {path}")
    pictures: dict[int | str, tuple[str, dict[str, Any]]] = {}
    for where, row in here.rows(data, "images"):
        pictures[here.key(row, "id", where)] = where, row
    image_folder = path.parent if images is None else Path(images)
    label_folder = path.with_suffix("") if labels is None else Path(labels)
    found = []
    for where, row in here.rows(data, "annotations"):
        key = here.key(row, "image_id", where)
        if key not in pictures:
            raise MediaError(f"{where}.image_id is {short(key)}, which no picture has; fetch the file again: {path}")
        place, picture = pictures[key]
        segments: dict[int, int] = {}
        crowds = set()
        for part, segment in here.rows(row, "segments_info", where):
            number, category = here.number(segment, "id", part), here.number(segment, "category_id", part)
            if category not in index:
                raise MediaError(f"{part}.category_id is {short(category)}, which no category has: {path}")
            if not 0 < number < 1 << 24 or number in segments or number in crowds:
                raise MediaError(f"{part}.id is {short(number)}; ids are different and between 1 and 16777215: {path}")
            if segment.get("iscrowd"):
                crowds.add(number)
            else:
                segments[number] = index[category]
        found.append(
            Picture(
                here.file(picture, image_folder, place),
                here.file(row, label_folder, where),
                here.pixels(picture, "width", place),
                here.pixels(picture, "height", place),
                segments,
                frozenset(crowds),
            )
        )
    return PanopticSet(categories, tuple(found))


def segment_masks(picture: Picture) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """The masks of a picture's segments `(n, H, W)`, and their categories `(n,)`. Crowds and void have none.

    Raises:
        MediaError: The PNG is missing, damaged or of another size, a segment has no pixel, or a pixel has a segment
            that the annotation file does not list.
    """
    with opened(picture.labels, what="the file of segments", remedy="fetch it again") as held:
        pixels = np.asarray(held.load(more=20).convert("RGB"), np.uint32)
    if pixels.shape[:2] != (picture.height, picture.width):
        raise MediaError(
            f"the file of segments is {pixels.shape[1]} x {pixels.shape[0]}, its picture {picture.width} x "
            f"{picture.height}; fetch it again: {picture.labels}"
        )
    numbers = pixels[..., 0] | pixels[..., 1] << 8 | pixels[..., 2] << 16
    present = {int(number) for number in np.unique(numbers)} - {0}
    if unknown := present - picture.segments.keys() - picture.crowds:
        raise MediaError(f"the segment {min(unknown)} is in no annotation; fetch both files again: {picture.labels}")
    if missing := picture.segments.keys() - present:
        raise MediaError(f"the segment {min(missing)} has no pixel; fetch both files again: {picture.labels}")
    check_bytes(len(picture.segments) * numbers.size, f"the masks of {len(picture.segments)} segments", picture.labels)
    masks = np.zeros((len(picture.segments), *numbers.shape), np.bool_)
    for mask, number in zip(masks, picture.segments, strict=True):
        np.equal(numbers, number, out=mask)
    return masks, np.array(list(picture.segments.values()), np.int64)


class _Fields:
    """Reads fields of the JSON file. Raises MediaError with the field's name if one is missing or of another type."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, owner: Any, name: str, where: str = "") -> list[tuple[str, dict[str, Any]]]:
        label = f"{where}.{name}" if where else name
        value = owner.get(name) if isinstance(owner, dict) else None
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            raise MediaError(f"{label} is no list of objects; is this a panoptic file in COCO's format? {self.path}")
        return [(f"{label}[{i}]", row) for i, row in enumerate(value)]

    def number(self, row: dict[str, Any], name: str, where: str) -> int:
        value = row.get(name)
        if not isinstance(value, int):
            raise MediaError(f"{where}.{name} is {short(value)}, not a whole number: {self.path}")
        return int(value)

    def pixels(self, row: dict[str, Any], name: str, where: str) -> int:
        value = self.number(row, name, where)
        if not 1 <= value <= MOST_PIXELS:
            raise MediaError(
                f"{where}.{name} is {short(value)}, not a number of pixels; fetch the file again: {self.path}"
            )
        return value

    def text(self, row: dict[str, Any], name: str, where: str) -> str:
        value = row.get(name)
        if not isinstance(value, str) or not value.strip():
            raise MediaError(f"{where}.{name} is {short(value)}, not a text: {self.path}")
        return value

    def file(self, row: dict[str, Any], folder: Path, where: str) -> Path:
        path = inside(folder, self.text(row, "file_name", where))
        if path is None:
            raise MediaError(f"{where}.file_name leads out of the folder of the pictures: {self.path}")
        return path

    def key(self, row: dict[str, Any], name: str, where: str) -> int | str:
        value = row.get(name)
        if not isinstance(value, int | str):
            raise MediaError(f"{where}.{name} is {short(value)}, not an id: {self.path}")
        return value
