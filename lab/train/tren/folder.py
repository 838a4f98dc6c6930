"""A folder of pictures and masks as training data.

    FOLDER/images/NAME.jpg           pictures (.jpg, .jpeg, .png, .webp)
    FOLDER/masks/NAME/dog.png        one mask a file: not 0 is inside. The file's name is the region's;
    FOLDER/masks/NAME/dog#2.png      what follows # only tells regions of one name apart;
    FOLDER/masks/NAME/#1.png         and nothing before # is a region without a name
    FOLDER/masks/NAME.png            or one picture of numbers (grey, palette, or 16 bit): 0 is nothing, and each
                                     other number one region
    FOLDER/masks/NAME.json           {"1": "dog", "2": null}: the names of the numbers of that picture; without
    FOLDER/names.json                it this one, for all pictures

Masks have the size of their picture. Masks in files of their own may overlap.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidmem.errors import MediaError
from vidmem.export.coco import Masks, Sample, open_picture, rgb

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
INDEX_MODES = frozenset({"L", "P", "I", "I;16", "1"})
DIGITS = 10
"""Of the largest number that a mask can have, 32 bits."""


class Folder:
    """Training data in the layout above. Raises MediaError for a picture without masks, a mask without a picture, or a
    number without a name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        images, masks = folder / "images", folder / "masks"
        for part in (images, masks):
            if not part.is_dir():
                raise MediaError(f"a folder of masks has images/ and masks/, and {part.name}/ is missing: {folder}")
        pictures = {p.stem: p for p in sorted(images.iterdir()) if p.suffix.lower() in PICTURES}
        if not pictures:
            raise MediaError(f"there is no picture ({', '.join(PICTURES)}) in {images}")
        for path in sorted(masks.iterdir()):
            if path.suffix in (".png", ".json", "") and path.stem not in pictures and path.name not in pictures:
                raise MediaError(f"no picture in {images} has the name of these masks; add it or remove them: {path}")
        shared = folder / "names.json"
        self.shared = _names(shared) if shared.exists() else None
        self.rows: list[tuple[Path, list[Path]]] = []
        found: set[str] = set()
        for stem, picture in pictures.items():
            files = sorted((masks / stem).glob("*.png")) if (masks / stem).is_dir() else []
            if files:
                found |= {name for name in map(_own_name, files) if name}
            elif (masks / f"{stem}.png").is_file():
                files = [masks / f"{stem}.png"]
                found |= {name for name in self._numbers(files[0]).values() if name}
            else:
                raise MediaError(f"a picture has neither masks/{stem}.png nor masks/{stem}/*.png; add it: {picture}")
            self.rows.append((picture, files))
        self.names = tuple(sorted(found))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        path, files = self.rows[index]
        picture = open_picture(path)
        first = files[0]
        if first.parent.name == "masks" and first.parent.parent == self.folder:
            numbers = _pixels(first, picture.size)
            names = self._numbers(first)
            present = [int(v) for v in np.unique(numbers) if v]
            for value in present:
                if value not in names:
                    raise MediaError(f"number {value} has no name in {self._names_file(first)}: {first}")
            masks = np.stack([numbers == v for v in present]) if present else np.zeros((0, *numbers.shape), np.bool_)
            return Sample(rgb(picture), masks, tuple(names[v] for v in present), str(path))
        stack: Masks = np.stack([_pixels(file, picture.size) != 0 for file in files])
        return Sample(rgb(picture), stack, tuple(map(_own_name, files)), str(path))

    def _names_file(self, mask: Path) -> Path:
        own = mask.with_suffix(".json")
        return own if own.exists() else self.folder / "names.json"

    def _numbers(self, mask: Path) -> dict[int, str | None]:
        own = mask.with_suffix(".json")
        if own.exists():
            return _names(own)
        if self.shared is None:
            shared = self.folder / "names.json"
            raise MediaError(f"the names of its numbers are missing; write {own} or {shared}: {mask}")
        return self.shared


def _own_name(path: Path) -> str | None:
    return path.stem.partition("#")[0].strip() or None


def _names(path: Path) -> dict[int, str | None]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MediaError(f"the names cannot be read ({error}); correct the file: {path}") from None
    if not isinstance(document, dict):
        raise MediaError(f'the names are not an object such as {{"1": "dog"}}; correct the file: {path}')
    out: dict[int, str | None] = {}
    for key, name in document.items():
        number = key.isdecimal() and len(key) <= DIGITS
        if not number or not (name is None or (isinstance(name, str) and name.strip())):
            raise MediaError(
                f"{key[:40]!r}: {repr(name)[:40]} is not a number with a name or null; correct the file: {path}"
            )
        out[int(key)] = name.strip() if name else None
    return out


def _pixels(path: Path, size: tuple[int, int]) -> NDArray[Any]:
    """Read the numbers `(H, W)` of a mask and check them against the picture's size."""
    picture = open_picture(path)
    if picture.mode not in INDEX_MODES:
        raise MediaError(f"a mask has one number a pixel (grey, palette or 16 bit), this has {picture.mode}: {path}")
    if picture.size != size:
        raise MediaError(
            f"the mask is {picture.width}x{picture.height}, its picture {size[0]}x{size[1]}; make them one size: {path}"
        )
    return np.asarray(picture)
