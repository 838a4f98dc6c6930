"""Things to name in held-out photographs and in the clips, each with its box and everyday name.

All of photos.tar and the last third of each Caltech-101 folder are held out: no fit of the package may look at them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from lab.names import Names, clip_names, plain
from lab.photos import Photo, middle, read_caltech, read_photos
from vidmem.media import open_source
from vidmem.records import Box
from vidmem.timecode import NS

__all__ = [
    "DATA",
    "Names",
    "Photo",
    "Thing",
    "caltech_things",
    "clip_names",
    "clip_things",
    "household_things",
    "lines",
    "middle",
    "plain",
    "read_caltech",
]
HERE = Path(__file__).parent
DATA = HERE.resolve().parents[1] / "shared" / "data"
OBJECTS = HERE / "real_objects.json"
MOST_OF_A_NAME = 12
"""Household things of one name, so that persons do not decide."""
LEAST_SIDE = 24
"""Pixels of the shorter side of a box in a photo of 384 pixels at most."""
ALSO = {"mug": "cup", "sofa": "couch", "sports ball": "ball"}


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """Something to name.

    where: the file in the tar, or clip and time; things of one picture share it. box: in pixels of `image()`.
    """

    where: str
    image: Callable[[], Image.Image]
    box: Box
    name: str
    photo: Photo | None = None


def lines(name: str) -> list[str]:
    """The lines of a file of names beside this one, without comments."""
    kept = (HERE / name).read_text("utf-8").splitlines()
    return [line.strip() for line in kept if line.strip() and not line.startswith("#")]


def _of_photo(photo: Photo, box: Box, name: str) -> Thing:
    return Thing(f"{photo.source}/{photo.name}", photo.image, box, name, photo)


def caltech_things(data: Path, each: int, held_out: bool = True) -> list[Thing]:
    """At most `each` photos of a Caltech-101 folder, under the name of the folder; the box is the middle."""
    count: Counter[str] = Counter()
    out = []
    for photo in read_caltech(data / "caltech101.tar"):
        folder = Path(photo.name).parent.name
        if photo.held_out == held_out and count[folder] < each:
            count[folder] += 1
            out.append(_of_photo(photo, middle(photo), photo.regions[0].name))
    return out


def household_things(
    data: Path, names: Sequence[str], held_out: bool | None = None, most: int = MOST_OF_A_NAME
) -> list[Thing]:
    """Boxes of photos.tar with one of these names, at most `most` of each.

    held_out: only of photos with this `Photo.held_out` (the current weights were trained on the others); None for all.
    """
    out, count = [], Counter[str]()
    for photo in read_photos(data / "photos.tar"):
        if held_out is not None and photo.held_out != held_out:
            continue
        for region in photo.regions:
            name = ALSO.get(region.name, region.name)
            x0, y0, x1, y1 = region.box
            if name in names and min(x1 - x0, y1 - y0) >= LEAST_SIDE and count[name] < most:
                count[name] += 1
                out.append(_of_photo(photo, region.box, name))
    return out


def clip_things(clips: Path) -> list[Thing]:
    """The things of real_objects.json in the clips that are present."""

    def frame(path: Path, t_ns: int) -> Callable[[], Image.Image]:
        def read() -> Image.Image:
            with open_source(path) as source:
                return Image.fromarray(source.frame_at(t_ns).image)

        return read

    out = []
    for entry in json.loads(OBJECTS.read_text("utf-8"))["objects"]:
        path, t_ns = clips / entry["clip"], round(entry["t_s"] * NS)
        if path.exists():
            x0, y0, x1, y1 = entry["box"]
            out.append(Thing(f"{path.name} {entry['t_s']}", frame(path, t_ns), (x0, y0, x1, y1), entry["name"]))
    return out
