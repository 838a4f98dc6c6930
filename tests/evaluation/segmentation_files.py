"""Small data sets for semantic segmentation in the layouts in which they are published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEIGHT, WIDTH = 96, 160
BLOCKS = {"red": (16, 32, 48, 80), "blue": (48, 96, 88, 144)}
"""Rows and columns y0, x0, y1, x1 of the coloured blocks in each picture."""
COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255)}
GROUND = (100, 100, 100)


def picture() -> NDArray[np.uint8]:
    image = np.full((HEIGHT, WIDTH, 3), GROUND, np.uint8)
    for name, (y0, x0, y1, x1) in BLOCKS.items():
        image[y0:y1, x0:x1] = COLOURS[name]
    return image


def labels(red: int, blue: int, ground: int) -> NDArray[np.uint8]:
    out = np.full((HEIGHT, WIDTH), ground, np.uint8)
    for number, (y0, x0, y1, x1) in zip((red, blue), BLOCKS.values(), strict=True):
        out[y0:y1, x0:x1] = number
    return out


def save(path: Path, array: NDArray[np.uint8], palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image = image.convert("P") if array.ndim == 3 else Image.fromarray(array, "L")
        image.putpalette([value for i in range(256) for value in (i, 255 - i, i // 2)])
    image.save(path, quality=95) if path.suffix == ".jpg" else image.save(path)


def write_lines(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def ade20k(root: Path, count: int = 2) -> Path:
    """Red is class 3 (sky), blue 12 (person); the ground is unlabelled."""
    for i in range(count):
        save(root / f"images/validation/ADE_val_{i:08}.jpg", picture())
        save(root / f"annotations/validation/ADE_val_{i:08}.png", labels(3, 13, 0))
    return root


def cityscapes(root: Path, trained: bool = False) -> Path:
    """Red is a car (labelId 26, trainId 13), blue the sky (23, 10), the ground is out of the region of interest (3)."""
    stem = "frankfurt_000000_000294"
    save(root / f"leftImg8bit/val/frankfurt/{stem}_leftImg8bit.png", picture())
    numbers = (13, 10, 255) if trained else (26, 23, 3)
    kind = "labelTrainIds" if trained else "labelIds"
    save(root / f"gtFine/val/frankfurt/{stem}_gtFine_{kind}.png", labels(*numbers))
    return root


def voc(root: Path) -> Path:
    """Red is a car (7), blue a cat (8), the ground is background, a line is void."""
    truth = labels(7, 8, 0)
    truth[0] = 255
    place = root / "VOCdevkit/VOC2012"
    save(place / "JPEGImages/2007_000033.jpg", picture())
    save(place / "SegmentationClass/2007_000033.png", truth, palette=True)
    write_lines(place / "ImageSets/Segmentation/val.txt", "2007_000033")
    return root


def context(root: Path) -> Path:
    """As MMSegmentation has it: red is a bench (5), blue the sky (47), the ground is background."""
    save(root / "JPEGImages/2008_000002.jpg", picture())
    save(root / "SegmentationClassContext/2008_000002.png", labels(5, 47, 0))
    write_lines(root / "ImageSets/SegmentationContext/val.txt", "2008_000002")
    return root


def coco(root: Path, trained: bool = False) -> Path:
    """Red is a person (id 1), blue the sky (sky-other, id 157), the ground is unlabelled (255)."""
    save(root / "val2017/000000000139.jpg", picture())
    if trained:
        save(root / "annotations/val2017/000000000139_labelTrainIds.png", labels(0, 145, 255))
    else:
        save(root / "stuffthingmaps/val2017/000000000139.png", labels(0, 156, 255))
    return root
