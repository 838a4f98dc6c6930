"""Open training data by its name on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from vidmem.errors import MediaError, UsageError
from vidmem.export.coco import Coco, Crowd, require_pycocotools

from .folder import Folder
from .layouts import LAYOUTS
from .sample import Data, Joined, Kind
from .world import SIZE, render_worlds

FORMS = (
    "annotations.json, annotations.json@images/, a folder with images/ and masks/, lostfound:0:40, or "
    f"{', '.join(LAYOUTS)} and a colon before a folder"
)
AFTER = re.compile(r"(?P<data>.+?)(=(?P<weight>\d+\.?\d*|\.\d+))?(=(?P<kind>regions|texts|both))?", re.DOTALL)
"""The data, its weight, and what it serves."""


def open_data(specs: Sequence[str], cache: Path, *, crowd: Crowd = "skip", size: tuple[int, int] = SIZE) -> Data:
    """Open the data sets named by `specs`, joined in order.

    `FILE.json` is COCO annotations; the pictures are beside it, or in the folder after an @. `lostfound:A:B` renders
    the worlds of the seeds A to B - 1 into `cache`, at `size` (width, height). `NAME:FOLDER` is a folder in one of the
    published LAYOUTS. Anything else is a folder of masks. `=WEIGHT` after it is the share of the pictures that are
    taken from it, and `=regions` or `=texts` what it serves where batches are apart.

    Raises UsageError for a form that is none of these or a weight of 0, MediaError for data that is missing or damaged.
    """
    if not specs:
        raise UsageError(f"no training data was given; give {FORMS}")
    parts: list[Data] = []
    weights: list[float | None] = []
    kinds: list[Kind] = []
    for spec in specs:
        found = AFTER.fullmatch(spec)
        if found is None:
            raise UsageError(f"{spec!r} is not training data; give {FORMS}")
        weight = found["weight"]
        if weight and not float(weight):
            raise UsageError(f"{spec!r} has the weight 0; give it a weight above 0, or leave it out")
        try:
            parts.append(_open(found["data"], cache, crowd, size))
        except OSError as error:  # such as a name that is too long
            raise MediaError(f"the data cannot be read ({error.strerror}); check the path: {spec}") from None
        weights.append(float(weight) if weight else None)
        kinds.append(cast("Kind", found["kind"] or "both"))
    plain = len(parts) == 1 and weights == [None] and kinds == ["both"]
    return parts[0] if plain else Joined(parts, weights, kinds)


def _open(spec: str, cache: Path, crowd: Crowd, size: tuple[int, int]) -> Data:
    if spec.startswith("lostfound:"):
        first, _, last = spec.removeprefix("lostfound:").partition(":")
        if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
            raise UsageError(f"{spec!r} is not a range of worlds; write lostfound:0:40 for the seeds 0 to 39")
        name = f"lostfound-{int(first)}-{int(last)}-{size[0]}x{size[1]}"
        return render_worlds(cache / name, range(int(first), int(last)), size=size, report=True)
    layout, colon, folder = spec.partition(":")
    if colon and layout in LAYOUTS:
        return LAYOUTS[layout](Path(folder))
    file, at, images = spec.partition("@")
    if file.endswith(".json"):
        require_pycocotools()
        return Coco(Path(file), Path(images) if at else None, crowd)
    if not Path(spec).is_dir():
        raise UsageError(f"{spec!r} is not training data; give {FORMS}")
    return Folder(Path(spec))
