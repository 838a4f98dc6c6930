"""Open training data by its name on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vidmem.errors import UsageError
from vidmem.export.coco import Coco, Crowd, require_pycocotools

from .folder import Folder
from .sample import Data, Joined
from .world import SIZE, render_worlds

FORMS = "annotations.json, annotations.json@images/, a folder with images/ and masks/, or lostfound:0:40"


def open_data(specs: Sequence[str], cache: Path, *, crowd: Crowd = "skip", size: tuple[int, int] = SIZE) -> Data:
    """Open the data sets named by `specs`, joined in order.

    `FILE.json` is COCO annotations; the pictures are beside it, or in the folder after an @. `lostfound:A:B` renders
    the worlds of the seeds A to B - 1 into `cache`, at `size` (width, height). Anything else is a folder of masks.
    Raises UsageError for a form that is none of these, MediaError for data that is missing or damaged.
    """
    if not specs:
        raise UsageError(f"no training data was given; give {FORMS}")
    parts = [_open(spec, cache, crowd, size) for spec in specs]
    return parts[0] if len(parts) == 1 else Joined(parts)


def _open(spec: str, cache: Path, crowd: Crowd, size: tuple[int, int]) -> Data:
    if spec.startswith("lostfound:"):
        first, _, last = spec.removeprefix("lostfound:").partition(":")
        if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
            raise UsageError(f"{spec!r} is not a range of worlds; write lostfound:0:40 for the seeds 0 to 39")
        name = f"lostfound-{int(first)}-{int(last)}-{size[0]}x{size[1]}"
        return render_worlds(cache / name, range(int(first), int(last)), size=size, report=True)
    file, at, images = spec.partition("@")
    if file.endswith(".json"):
        require_pycocotools()
        return Coco(Path(file), Path(images) if at else None, crowd)
    if not Path(spec).is_dir():
        raise UsageError(f"{spec!r} is not training data; give {FORMS}")
    return Folder(Path(spec))
