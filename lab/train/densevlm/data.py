"""Unlabelled pictures from folders: found, squared, cut into grids and put into batches.

Pictures are turned upright and scaled so that their longest side fits the square; the rest of the square, at the right
and below, is black. Each picture gets a random grid of boxes over itself, without the black part. The grid follows
from the seed and the position in the training, so that neither workers nor interruptions change it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from vidmem.errors import MediaError
from vidmem.media.suffixes import IMAGE_SUFFIXES

from .grids import draw, grid_boxes

TRIES = 1000
"""After so many damaged pictures in a row the training stops."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Files of pictures.

    Attributes:
        paths: The files, in an order that depends on their names alone.
        sha256: A hash of the paths within their folders and of the sizes of the files.
    """

    paths: tuple[str, ...]
    sha256: str

    def __len__(self) -> int:
        return len(self.paths)


def find_pictures(folders: Sequence[str | os.PathLike[str]]) -> Pictures:
    """All pictures in folders and the folders within them, also behind links; hidden ones are left out.

    Raises:
        MediaError: A folder is missing or has no picture.
    """
    paths: list[str] = []
    inner: list[str] = []
    for folder in (os.fspath(each) for each in folders):
        if not os.path.isdir(folder):
            raise MediaError(f"there is no such folder of pictures; check the path: {folder}")
        before, seen = len(paths), {os.path.realpath(folder)}
        for place, names, files in os.walk(folder, followlinks=True):
            kept_names = []
            for name in sorted(names):
                real = os.path.realpath(os.path.join(place, name))
                if not name.startswith(".") and real not in seen:  # a link may lead back up
                    seen.add(real)
                    kept_names.append(name)
            names[:] = kept_names
            kept = [f for f in sorted(files) if Path(f).suffix.lower() in IMAGE_SUFFIXES and not f.startswith(".")]
            paths += [os.path.join(place, file) for file in kept]
            inner += [f"{os.path.relpath(path, folder)}\t{_size(path)}" for path in paths[len(inner) :]]
        if len(paths) == before:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise MediaError(f"there is no picture ({kinds}) in the folder or below it: {folder}")
    return Pictures(tuple(paths), hashlib.sha256("\n".join(inner).encode("utf-8", "surrogateescape")).hexdigest())


def _size(path: str) -> int:
    """The size of a file in bytes; 0 if there is none, as behind a broken link."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def squared(path: str | os.PathLike[str], side: int) -> tuple[Tensor, int, int]:
    """Read a picture into a square: `(3, side, side)` uint8 RGB, and the width and height of what it fills of it.

    The longest side becomes `side`; smaller pictures are enlarged. What is not filled is black.

    Raises:
        OSError, ValueError, SyntaxError, DecompressionBombError: Pillow cannot read the file.
    """
    with Image.open(path) as opened:
        opened.draft("RGB", (side, side))  # decodes a large JPEG at half its size or less, but not below this one
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    scale = side / max(picture.size)
    width, height = (min(side, max(1, round(n * scale))) for n in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    square = torch.zeros(3, side, side, dtype=torch.uint8)
    square[:, :height, :width] = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    return square, width, height


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Pictures and the boxes of their grids.

    Attributes:
        images: `(B, 3, S, S)` uint8 RGB. What a picture does not fill is black.
        boxes: `(N, 4)` float32, the boxes of all pictures in order: x0, y0, x1, y1 as shares of the square.
        counts: Number of boxes of each picture.
        damaged: Files that could not be read, with the reason. Other pictures have taken their places.
    """

    images: Tensor
    boxes: Tensor
    counts: tuple[int, ...]
    damaged: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in ("images", "boxes")}
        return replace(self, **moved)

    def pin_memory(self) -> Batch:
        """The batch in memory that a GPU copies fast, for `DataLoader`."""
        return replace(self, **{name: getattr(self, name).pin_memory() for name in ("images", "boxes")})

    def parts(self, count: int) -> list[Batch]:
        """The batch in `count` parts of equal size."""
        each = len(self) // count
        ends = np.cumsum((0, *self.counts)).tolist()
        return [
            Batch(
                self.images[i : i + each],
                self.boxes[ends[i] : ends[i + each]],
                self.counts[i : i + each],
            )
            for i in range(0, each * count, each)
        ]

    def boxes_on(self, rows: int, columns: int) -> list[Tensor]:
        """For each picture its boxes `(n, 4)` in cells of a grid over the square, as `roi_align` takes them."""
        cells = self.boxes * self.boxes.new_tensor([columns, rows, columns, rows])
        return list(torch.split(cells, list(self.counts)))


class Squares(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Pictures in squares with a random grid. Keys are (position in the training, number of the picture)."""

    def __init__(self, pictures: Pictures, side: int, seed: int) -> None:
        self.pictures, self.side, self.seed = pictures, side, seed

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """Takes the next picture that can be read. Without one in TRIES, the item has no "image"."""
        position, number = key
        damaged: list[tuple[str, str]] = []
        for turn in range(min(TRIES, len(self.pictures))):
            path = self.pictures.paths[(number + turn) % len(self.pictures)]
            try:
                image, width, height = squared(path, self.side)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                damaged.append((path, " ".join(str(error).split())))
                continue
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + position) % 2**63)
            boxes = grid_boxes(*draw(generator), width / self.side, height / self.side)
            return {"image": image, "boxes": boxes, "damaged": damaged}
        return {"damaged": damaged}


def collate(rows: Sequence[dict[str, Any]]) -> Batch:
    """Put items of `Squares` into a batch. It is empty if an item has no picture."""
    damaged = tuple(dict.fromkeys(each for row in rows for each in row["damaged"]))
    if not all("image" in row for row in rows):
        return Batch(torch.zeros(0, 3, 1, 1), torch.zeros(0, 4), (), damaged)
    return Batch(
        torch.stack([row["image"] for row in rows]),
        torch.cat([row["boxes"] for row in rows]),
        tuple(len(row["boxes"]) for row in rows),
        damaged,
    )
