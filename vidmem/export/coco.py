"""Reads COCO annotations: polygons and run lengths (cocodataset.org, "Data format"), decoded by pycocotools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import MediaError, UsageError
from ..limits import check_bytes
from ..picture_reading import opened
from ..text_files import read_json
from .files import inside
from .rle import total

Crowd = Literal["skip", "keep"]
Masks = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image and its R regions.

    Attributes:
        image: `(H, W, 3)` uint8 RGB.
        masks: `(R, H, W)` bool; they may overlap, and R may be 0.
        names: `(R,)`, None for a region without a name, which takes no part in Eq. 2 of the T-REN paper.
        source: Where it comes from, for messages.
    """

    image: NDArray[np.uint8]
    masks: Masks
    names: tuple[str | None, ...]
    source: str

    def __post_init__(self) -> None:
        """Raises ValueError when a shape or type is wrong."""
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"image is {self.image.shape} {self.image.dtype}, want (H, W, 3) uint8: {self.source}")
        if self.masks.dtype != np.bool_ or self.masks.shape != (len(self.names), *self.image.shape[:2]):
            raise ValueError(
                f"masks are {self.masks.shape} {self.masks.dtype}, want {(len(self.names), *self.image.shape[:2])} "
                f"bool: {self.source}"
            )


class Coco:
    """The annotated pictures of one annotation file, as a sequence of samples.

    Pictures without an annotation are left out: no point can be sampled on them.

    Args:
        annotations: The JSON file.
        images: Folder of the pictures; by default that of the file.
        crowd: What to do with annotations with iscrowd 1, which outline many things at once: "skip" or "keep".
        bad: Is told of each picture and annotation that is wrong, and they are left out. By default the first one is
            an error.

    Attributes:
        rows: File, width, height and regions (place in the file, segmentation, name) of each picture.
        shown: For each row all names that are annotated, also those of crowds and of annotations that were left out.
        names: All names of regions, sorted.

    Raises:
        MediaError: The file does not exist or is not JSON, or a field is missing or wrong; the message names the field,
            such as annotations[12].segmentation.
    """

    def __init__(
        self,
        annotations: Path,
        images: Path | None = None,
        crowd: Crowd = "skip",
        bad: Callable[[str], None] | None = None,
    ) -> None:
        self.path, self.folder, self._bad = annotations, images or annotations.parent, bad
        document = self._read()
        self.categories = self._categories(document)
        pictures = self._pictures(document)
        by_picture: dict[int, list[tuple[int, Any, str]]] = {}
        shown: dict[int, set[str]] = {}
        for place, item in enumerate(document["annotations"]):
            try:
                image, name = self._annotation(f"annotations[{place}]", item, pictures)
                shown.setdefault(image, set()).add(name)
                if item.get("iscrowd") and crowd == "skip":
                    continue
                self._check(f"annotations[{place}].segmentation", item["segmentation"], *pictures[image][1:])
            except MediaError as error:
                self._report(error)
                continue
            by_picture.setdefault(image, []).append((place, item["segmentation"], name))
        kept = [key for key in pictures if key in by_picture]
        self.rows = [(*pictures[key], by_picture[key]) for key in kept]
        self.shown = [frozenset(shown[key]) for key in kept]
        self.names = tuple(sorted({name for *_, regions in self.rows for _, _, name in regions}))
        if not self.rows:
            self._fail("annotations", "outlines nothing")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        file, width, height, regions = self.rows[index]
        path = self.folder / file
        picture = open_picture(path)
        if picture.size != (width, height):
            raise MediaError(
                f"the picture is {picture.width}x{picture.height}, and {self.path} says {width}x{height}; "
                f"correct one of them: {path}"
            )
        check_bytes(len(regions) * height * width, f"the masks of {len(regions)} regions", path)
        masks = np.zeros((len(regions), height, width), np.bool_)
        for mask, (place, segmentation, _) in zip(masks, regions, strict=True):
            mask[:] = self._mask(f"annotations[{place}].segmentation", segmentation, width, height)
        return Sample(rgb(picture), masks, tuple(name for *_, name in regions), str(path))

    def _annotation(self, where: str, item: Any, pictures: dict[Any, tuple[str, int, int]]) -> tuple[int, str]:
        """Picture and name of an annotation."""
        if not isinstance(item, dict):
            self._fail(where, "is not an object")
        for name in ("image_id", "category_id", "segmentation"):
            if name not in item:
                self._fail(f"{where}.{name}", "is missing")
        if not isinstance(item["image_id"], int) or item["image_id"] not in pictures:
            self._fail(f"{where}.image_id", f"is {item['image_id']!r}, and no picture has that id")
        if not isinstance(item["category_id"], int) or item["category_id"] not in self.categories:
            self._fail(f"{where}.category_id", f"is {item['category_id']!r}, and no category has that id")
        return item["image_id"], self.categories[item["category_id"]]

    def _report(self, error: MediaError) -> None:
        if self._bad is None:
            raise error
        self._bad(str(error))

    def _fail(self, where: str, what: str) -> NoReturn:
        raise MediaError(f"{where} {what}; correct the annotations: {self.path}")

    def _read(self) -> dict[str, Any]:
        document = read_json(self.path, "the annotations cannot")
        for name in ("images", "annotations", "categories"):
            if not isinstance(document, dict) or not isinstance(document.get(name), list):
                self._fail(name, "is missing or not a list, so this is not a COCO file")
        assert isinstance(document, dict)
        return document

    def _categories(self, document: dict[str, Any]) -> dict[Any, str]:
        out: dict[Any, str] = {}
        for place, item in enumerate(document["categories"]):
            if not isinstance(item, dict) or not isinstance(item.get("id"), int):
                self._fail(f"categories[{place}].id", "is missing or not a number")
            if not isinstance(item.get("name"), str) or not item["name"].strip():
                self._fail(f"categories[{place}].name", "is missing or empty")
            out[item["id"]] = item["name"].strip()
        return out

    def _pictures(self, document: dict[str, Any]) -> dict[Any, tuple[str, int, int]]:
        out: dict[Any, tuple[str, int, int]] = {}
        for place, item in enumerate(document["images"]):
            try:
                number = self._picture_id(f"images[{place}]", item, out)
                out[number] = item["file_name"], item["width"], item["height"]
            except MediaError as error:
                self._report(error)
        return out

    def _picture_id(self, where: str, item: Any, known: dict[Any, tuple[str, int, int]]) -> int:
        if not isinstance(item, dict):
            self._fail(where, "is not an object")
        if not isinstance(item.get("id"), int) or item["id"] in known:
            self._fail(f"{where}.id", "is missing, not a number, or used twice")
        if not isinstance(item.get("file_name"), str) or not item["file_name"]:
            self._fail(f"{where}.file_name", "is missing or empty")
        # The file may be from anyone: it must not lead to files outside the folder.
        if inside(self.folder, item["file_name"]) is None:
            self._fail(f"{where}.file_name", f"{item['file_name']!r} leads out of the folder of the pictures")
        for name in ("width", "height"):
            if not isinstance(item.get(name), int) or item[name] < 1:
                self._fail(f"{where}.{name}", "is missing or not a size in pixels")
        return int(item["id"])

    def _check(self, where: str, segmentation: Any, width: int, height: int) -> None:
        if fault := segmentation_fault(segmentation, width, height):
            self._fail(where + fault[0], fault[1])

    def _mask(self, where: str, segmentation: Any, width: int, height: int) -> Masks:
        try:
            return decode_segmentation(segmentation, width, height)
        except ValueError as error:
            self._fail(where, f"cannot be decoded ({error})")


def segmentation_fault(segmentation: Any, width: int, height: int) -> tuple[str, str] | None:
    """What is wrong with a segmentation that pycocotools would misread or crash on: the field, and the fault in words.

    None when nothing is.
    """
    if isinstance(segmentation, list):
        for i, ring in enumerate(segmentation):
            if not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2:
                return f"[{i}]", "is not a polygon of three or more x, y pairs"
            if not all(isinstance(v, int | float) and abs(v) < 1e6 for v in ring):  # false for nan, too
                return f"[{i}]", "holds a value that is not a coordinate"
        return None if segmentation else ("", "is empty")
    if not isinstance(segmentation, dict):
        return "", "is neither polygons nor run lengths"
    if segmentation.get("size") != [height, width]:
        return ".size", f"is {segmentation.get('size')}, and the picture is {[height, width]}"
    counts = segmentation.get("counts")
    if isinstance(counts, list):
        if not all(isinstance(v, int) and v >= 0 for v in counts) or sum(counts) != width * height:
            return ".counts", f"are not run lengths that add up to {width * height}"
    elif isinstance(counts, str):
        if not all(48 <= ord(c) < 112 for c in counts) or total(counts) != width * height:
            return ".counts", f"are not compressed run lengths that add up to {width * height}"
    else:
        return ".counts", "are missing"
    return None


def decode_segmentation(segmentation: Any, width: int, height: int) -> Masks:
    """The mask `(height, width)` of a segmentation without a fault. Raises ValueError when it cannot be decoded."""
    from pycocotools import mask as coco

    if isinstance(segmentation, list):
        runs = coco.merge(coco.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        runs = coco.frPyObjects(segmentation, height, width)
    else:
        runs = {"size": segmentation["size"], "counts": segmentation["counts"].encode("ascii")}
    mask: Masks = coco.decode(runs).astype(np.bool_)
    return mask


def require_pycocotools() -> None:
    """Raises UsageError when pycocotools is not installed."""
    try:
        import pycocotools.mask  # noqa: F401
    except ImportError:
        raise UsageError("COCO annotations need pycocotools; pip install 'vidmem[coco]'") from None


def open_picture(path: Path) -> Image.Image:
    """Load a picture in its own mode. Raises MediaError."""
    with opened(path, remedy="replace it, or remove it from the annotations") as held:
        return held.load(more=8).copy()


def rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """The picture as `(H, W, 3)` uint8 RGB."""
    array: NDArray[Any] = np.array(picture.convert("RGB"), np.uint8)
    return array
