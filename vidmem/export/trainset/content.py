"""What a record of a training set is made of, before any picture is read. Small plain data, sent between processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import MediaError
from ...picture_reading import opened
from ..coco import decode_segmentation
from ..textmask import BACKGROUND, Grid, Label, TextMask, from_classes, from_masks, numbered

UNLABELLED = 255
"""Value of pixels without a label in label pictures of 8 bits, as in COCO-Stuff and ADE20K."""

ORIENTATION = 274
"""The Exif tag; from 5 on it turns a picture by a quarter."""


class Region(NamedTuple):
    """An outlined thing. segmentation: as in a COCO file, without a fault. where: its place in the file."""

    name: str
    segmentation: Any
    where: str


@dataclass(frozen=True, slots=True)
class Outlined:
    """A picture with outlined things, from a COCO file.

    Attributes:
        picture: Its path.
        size: Width and height that the file gives, in pixels.
        regions: Its things.
        present: All names that must not be asked for as absent.
        pool: All names of the data set.
        instances: Number things of the same name.
    """

    picture: str
    size: tuple[int, int]
    regions: tuple[Region, ...]
    present: frozenset[str]
    pool: tuple[str, ...]
    instances: bool = False


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture with a label picture of the same size.

    Attributes:
        picture: Its path.
        labels: Path of the label picture.
        first: The value of the first of `names`; smaller values are none.
        names: All names of the data set.
        upright: The label picture has the size of the picture as its Exif data turns it.
    """

    picture: str
    labels: str
    first: int
    names: tuple[str, ...]
    upright: bool = False


class Expression(NamedTuple):
    """A phrase and the regions that it means; none when it means nothing in the picture."""

    text: str
    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class Referred:
    """A picture and expressions about it. size: width and height that the file gives, in pixels."""

    picture: str
    size: tuple[int, int]
    expressions: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Questions and answers that are passed through. picture: None for text alone."""

    picture: str | None
    turns: tuple[tuple[str, str], ...]


Content = Outlined | Labelled | Referred | Conversation


class Unit(NamedTuple):
    """What one record is made of. key: identifies it; with the seed it decides all that is chosen at random."""

    key: str
    content: Content


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A picture's masks in pixels.

    Attributes:
        size: Width and height.
        masks: `(n, H, W)` bool of labels that may overlap; None when `classes` is given.
        classes: `(H, W)` int indices into `labels`, BACKGROUND for none; None when `masks` is given.
        labels: What the masks or the classes show.
        present: All names that must not be asked for as absent.
        pool: All names of the data set.
    """

    size: tuple[int, int]
    masks: NDArray[np.bool_] | None
    classes: NDArray[np.integer] | None
    labels: tuple[Label, ...]
    present: frozenset[str]
    pool: tuple[str, ...]

    def at(self, grid: Grid) -> TextMask:
        """The labels on a grid. Things smaller than a cell may get lost."""
        if self.masks is not None:
            return from_masks(self.masks, self.labels, grid)
        assert self.classes is not None
        used = np.unique(self.classes[self.classes >= 0]).tolist()
        return from_classes(self.classes, {i: self.labels[i] for i in used}, grid)

    def cropped(self, box: tuple[int, int, int, int]) -> Seen:
        """The part in a box x0, y0, x1, y1 of pixels."""
        x0, y0, x1, y1 = box
        masks = None if self.masks is None else self.masks[:, y0:y1, x0:x1]
        classes = None if self.classes is None else self.classes[y0:y1, x0:x1]
        return Seen((x1 - x0, y1 - y0), masks, classes, self.labels, self.present, self.pool)


def see(content: Outlined | Labelled) -> Seen:
    """Read the masks of a picture. The picture itself is checked, too.

    Raises MediaError when a file is missing or damaged, or the sizes differ.
    """
    if isinstance(content, Outlined):
        check_picture(content.picture, content.size)
        names = [region.name for region in content.regions]
        labels = numbered(names) if content.instances else [Label(name) for name in names]
        masks = np.stack([region_mask(region, content.size) for region in content.regions])
        return Seen(content.size, masks, None, tuple(labels), content.present, content.pool)
    size = check_picture(content.picture, upright=content.upright)
    classes = _label_picture(content, size)
    if classes.max(initial=BACKGROUND) >= len(content.names):
        raise MediaError(
            f"label {int(classes.max()) + content.first} is in the label picture and there are {len(content.names)} "
            f"names; give the names of this data set: {content.labels}"
        )
    present = frozenset(content.names[i] for i in np.unique(classes[classes >= 0]).tolist())
    labels = [Label(name) for name in content.names]
    return Seen(size, None, classes, tuple(labels), present, content.names)


def region_mask(region: Region, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask `(H, W)` of a region. Raises MediaError when its run lengths cannot be decoded."""
    try:
        return decode_segmentation(region.segmentation, *size)
    except ValueError as error:
        raise MediaError(f"the outline cannot be decoded ({error}); correct it: {region.where}") from None


def check_picture(path: str, size: tuple[int, int] | None = None, *, upright: bool = False) -> tuple[int, int]:
    """Width and height of a picture that can be read to its end. upright: as its Exif data turns it.

    Raises MediaError when it cannot, or is not of the size that the annotations give.
    """
    with opened(path) as held:
        turned = upright and held.exif().get(ORIENTATION, 1) >= 5
        found = held.image.size[::-1] if turned else held.image.size
        held.image.draft("L", (1, 1))  # a JPEG is then read whole, but not decoded in full size
        held.load()
    if size is not None and found != size:
        raise MediaError(f"the picture is {found[0]}x{found[1]}, and the annotations say {size[0]}x{size[1]}: {path}")
    return found


def _label_picture(content: Labelled, size: tuple[int, int]) -> NDArray[np.int32]:
    path = content.labels
    with opened(path, what="the label picture") as held:
        picture = held.image
        if picture.mode not in ("L", "P", "I;16", "I"):
            raise MediaError(f"the label picture has mode {picture.mode}, not one number per pixel: {path}")
        if picture.size != size:
            raise MediaError(
                f"the label picture is {picture.width}x{picture.height}, the picture {size[0]}x{size[1]}: {path}"
            )
        values, wide = np.asarray(held.load(more=8)).astype(np.int32), picture.mode.startswith("I")
    if not wide:
        values[values == UNLABELLED] = content.first - 1
    return np.maximum(values - content.first, BACKGROUND)
