"""A small panoptic set in COCO's format: pictures, PNGs of segments and the annotation file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CATEGORIES = [
    {"id": 1, "name": "cup", "supercategory": "kitchen", "isthing": 1, "color": [220, 20, 60]},
    {"id": 18, "name": "dog", "supercategory": "animal", "isthing": 1, "color": [0, 0, 9]},
    {"id": 181, "name": "wall-brick", "supercategory": "wall", "isthing": 0, "color": [1, 1, 1]},
    {"id": 200, "name": "floor-other-merged", "supercategory": "floor", "isthing": 0, "color": [2, 2, 2]},
]
COLOURS = {1: (200, 30, 30), 18: (30, 200, 30), 181: (120, 60, 40), 200: (90, 90, 120)}
"""The colour of each category in the pictures."""


def scene(number: int) -> tuple[NDArray[np.int64], dict[int, int]]:
    """Segments `(48, 64)` of a picture, and the category of each: a wall over a floor, a cup, a dog and a void."""
    wall, floor, cup, dog = 7, 300 + number, 70_000, 5
    segments = np.full((48, 64), wall, np.int64)
    segments[24:] = floor
    segments[16:32, 8:24] = cup
    segments[30:46, 30 + number % 20 : 60] = dog
    segments[:2] = 0
    return segments, {wall: 181, floor: 200, cup: 1, dog: 18}


def write(folder: Path, count: int = 2, *, ade: bool = False) -> Path:
    """Write a set and return the path of its annotation file. ade: ids of pictures are names, as in ADE20K."""
    file = folder / ("ade20k_panoptic_val.json" if ade else "panoptic_val2017.json")
    labels = folder / file.stem
    labels.mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(count):
        segments, categories = scene(number)
        name = f"ADE_val_{number:08}" if ade else f"{number:012}"
        picture = np.zeros((*segments.shape, 3), np.uint8)
        infos = []
        for segment, category in categories.items():
            picture[segments == segment] = COLOURS[category]
            ys, xs = np.nonzero(segments == segment)
            box = [int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1]
            infos.append({"id": segment, "category_id": category, "iscrowd": 0, "bbox": box, "area": len(xs)})
        Image.fromarray(picture).save(folder / f"{name}.png")
        coded = np.stack([segments & 255, segments >> 8 & 255, segments >> 16], axis=-1).astype(np.uint8)
        Image.fromarray(coded).save(labels / f"{name}.png")
        key: int | str = name if ade else number
        images.append({"id": key, "file_name": f"{name}.png", "height": 48, "width": 64})
        annotations.append({"image_id": key, "file_name": f"{name}.png", "segments_info": infos})
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES}))
    return file


def changed(file: Path, change: Any) -> Path:
    """The annotation file after `change` of its data."""
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))
    return file
