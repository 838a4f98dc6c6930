"""Dense evaluation: are the boxes and masks of things and of stuff named rightly (DenseVLM, arXiv 2412.06244, Table 1)?

The features under each true box (RoIAlign) and under each true mask (mean) are compared with the names of all classes.
Each figure is the mean over classes of the share of their regions that are named rightly with the first guess (top 1),
or with one of the first five (top 5). `Boxes` are those of things, `Masks-T` the masks of things, `Masks-S` of stuff.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..encoders.base import Encoder
from ..errors import MediaError, UsageError
from ..geometry import unit
from ..media.images import load
from ..records import Float32
from .panoptic import PanopticSet, Picture, segment_masks

GUESSES = 5


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Mean accuracies over classes.

    Attributes:
        top1: Of the first guess; None if there is no region.
        top5: Of the first five guesses; None if there is no region.
        classes: Number of classes that have regions, over which the mean is taken.
        regions: Number of regions.
    """

    top1: float | None
    top5: float | None
    classes: int
    regions: int


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A class that has regions: shares of its boxes and of its masks that are named rightly."""

    name: str
    thing: bool
    regions: int
    box_top1: float
    box_top5: float
    mask_top1: float
    mask_top5: float


@dataclass(frozen=True, slots=True)
class DenseReport:
    """What an evaluation found.

    Attributes:
        boxes: Boxes of things.
        masks_thing: Masks of things.
        masks_stuff: Masks of stuff.
        boxes_stuff: Boxes of stuff, which the paper does not report.
        stuff_as_thing: Share of the masks of stuff whose first guess is a thing, which is foreground bias; None if
            there is no stuff.
        rows: One row for each class that has regions, in the order of the classes.
        pictures: Number of pictures that were read.
        skipped: One line for each picture that could not be read.
    """

    boxes: Accuracy
    masks_thing: Accuracy
    masks_stuff: Accuracy
    boxes_stuff: Accuracy
    stuff_as_thing: float | None
    rows: tuple[ClassRow, ...]
    pictures: int = 0
    skipped: tuple[str, ...] = ()

    def figures(self) -> dict[str, float | None]:
        """The six figures of the paper's table, from `boxes_top1` to `masks_stuff_top5`."""
        parts = {"boxes": self.boxes, "masks_thing": self.masks_thing, "masks_stuff": self.masks_stuff}
        return {f"{name}_{top}": getattr(part, top) for name, part in parts.items() for top in ("top1", "top5")}


def guesses(features: Float32, texts: Float32) -> NDArray[np.int64]:
    """The classes of the highest cosines, best first: `(n, min(5, C))`. Of equal cosines the earlier class wins.

    features: `(n, D)`; texts: `(C, D)`; neither has to be of unit length.
    """
    scores = unit(features) @ unit(texts).T
    return np.argsort(-scores, axis=1, kind="stable")[:, :GUESSES]


def class_accuracies(guessed: NDArray[np.int64], truth: NDArray[np.int64], top: int) -> dict[int, float]:
    """The share of each class's regions that are named rightly within the first `top` guesses.

    guessed: `(n, k)` as from `guesses`. truth: `(n,)`. Classes without regions are left out.
    """
    right = (guessed[:, :top] == truth[:, None]).any(axis=1)
    return {int(c): float(right[truth == c].mean()) for c in np.unique(truth)}


def accuracy(guessed: NDArray[np.int64], truth: NDArray[np.int64]) -> Accuracy:
    """Mean accuracies over the classes of `truth` `(n,)`. guessed: `(n, k)` as from `guesses`."""
    if not len(truth):
        return Accuracy(None, None, 0, 0)
    first, five = (list(class_accuracies(guessed, truth, top).values()) for top in (1, GUESSES))
    return Accuracy(float(np.mean(first)), float(np.mean(five)), len(first), len(truth))


def dense_report(
    boxes: NDArray[np.int64],
    masks: NDArray[np.int64],
    truth: NDArray[np.int64],
    things: NDArray[np.bool_],
    names: Sequence[str],
    *,
    pictures: int = 0,
    skipped: Sequence[str] = (),
) -> DenseReport:
    """All figures, from the guesses for n regions.

    Args:
        boxes: Guesses from the boxes, `(n, k)` as from `guesses`.
        masks: Guesses from the masks, `(n, k)`.
        truth: Classes of the regions, `(n,)`.
        things: Which of the C classes are things, `(C,)`.
        names: The names of the classes.
        pictures: Number of pictures that were read.
        skipped: One line for each picture that could not be read.
    """
    thing = things[truth] if len(truth) else np.zeros(0, np.bool_)
    shares = [class_accuracies(each, truth, top) for each in (boxes, masks) for top in (1, GUESSES)]
    counts = Counter(truth.tolist())
    rows = tuple(
        ClassRow(names[c], bool(things[c]), counts[c], *(share[c] for share in shares)) for c in sorted(counts)
    )
    stuff = masks[~thing, 0] if len(truth) else np.zeros(0, np.int64)
    return DenseReport(
        boxes=accuracy(boxes[thing], truth[thing]),
        masks_thing=accuracy(masks[thing], truth[thing]),
        masks_stuff=accuracy(masks[~thing], truth[~thing]),
        boxes_stuff=accuracy(boxes[~thing], truth[~thing]),
        stuff_as_thing=float(things[stuff].mean()) if len(stuff) else None,
        rows=rows,
        pictures=pictures,
        skipped=tuple(skipped),
    )


def evaluate_dense(
    encoder: Encoder,
    panoptic: PanopticSet,
    *,
    names: Sequence[str] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> DenseReport:
    """Evaluate an encoder on the pictures of a panoptic set. A picture that cannot be read is skipped and reported.

    Args:
        encoder: An encoder with patches in the space of texts (`gem`, `densevlm`).
        panoptic: As from `read_panoptic`.
        names: Names of the categories for the text side; None for `panoptic.names`.
        say: Called with a line after every hundred pictures.

    Raises:
        UsageError: The encoder has no patches, there is not one name for each category, or two categories have the same
            name, so that no guess could tell them apart.
        MediaError: No picture can be read; the message is that of the first.
    """
    results: list[Guesses] = []
    skipped: list[str] = []
    name = namer(encoder, panoptic, names)
    for number, picture in enumerate(panoptic.pictures, 1):
        try:
            results.append(name(picture))
        except MediaError as error:
            skipped.append(str(error))
            continue
        if number % 100 == 0:
            say(f"{number} of {len(panoptic.pictures)} pictures")
    if not results:
        raise MediaError(skipped[0] if skipped else "the panoptic set has no picture")
    return gathered(results, panoptic, names=names, skipped=skipped)


class Guesses(TypedDict):
    """The guesses for the segments of a picture, as from `guesses`, and their categories; plain data."""

    boxes: list[list[int]]
    masks: list[list[int]]
    truth: list[int]


def namer(encoder: Encoder, panoptic: PanopticSet, names: Sequence[str] | None = None) -> Callable[[Picture], Guesses]:
    """A function that names the segments of a picture; it raises MediaError for one that cannot be read.

    Arguments and what is raised are those of `evaluate_dense`.
    """
    if not encoder.has_patches:
        raise UsageError(f"{encoder.info.name!r} has no patches in the space of texts; use `gem` or `densevlm`")
    words = list(panoptic.names if names is None else names)
    if len(words) != len(panoptic.categories):
        raise UsageError(f"`names` has {len(words)} names for {len(panoptic.categories)} categories")
    if twice := [word for word, count in Counter(words).items() if count > 1]:
        raise UsageError(f"two categories have the name {twice[0]!r}; give each its own in `names`")
    texts = encoder.encode_names(words)

    def name(picture: Picture) -> Guesses:
        under_boxes, under_masks, truth = region_features(encoder, picture)
        boxes, masks = (guesses(features, texts).tolist() for features in (under_boxes, under_masks))
        return {"boxes": boxes, "masks": masks, "truth": truth.tolist()}

    return name


def gathered(
    results: Iterable[Guesses],
    panoptic: PanopticSet,
    *,
    names: Sequence[str] | None = None,
    skipped: Sequence[str] = (),
) -> DenseReport:
    """All figures, from the guesses of each picture."""
    found = list(results)
    width = min(GUESSES, len(panoptic.categories))
    boxes = np.array([row for each in found for row in each["boxes"]], np.int64).reshape(-1, width)
    masks = np.array([row for each in found for row in each["masks"]], np.int64).reshape(-1, width)
    truth = np.array([category for each in found for category in each["truth"]], np.int64)
    words = list(panoptic.names if names is None else names)
    return dense_report(boxes, masks, truth, panoptic.things, words, pictures=len(found), skipped=skipped)


def region_features(encoder: Encoder, picture: Picture) -> tuple[Float32, Float32, NDArray[np.int64]]:
    """Features `(n, Dt)` under the boxes and under the masks of a picture's segments, and their categories `(n,)`.

    A box is the extent of its mask. A mask on the patches is the share of each patch that it covers, so a segment that
    is smaller than a patch still counts.

    Raises:
        MediaError: The picture or its segments are missing, damaged, or differ in size.
    """
    image, masks, categories = read_segments(picture)
    size = encoder.working_size(image.shape[1], image.shape[0])
    working = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    return *pooled(encoder.patches([working])[0], masks), categories


def read_segments(picture: Picture) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.int64]]:
    """A picture `(H, W, 3)`, the masks of its segments `(n, H, W)`, and their categories `(n,)`.

    Raises:
        MediaError: The picture or its segments are missing, damaged, or differ in size.
    """
    masks, categories = segment_masks(picture)
    image = load(str(picture.image), None, str(picture.image))
    height, width = image.shape[:2]
    if (width, height) != (picture.width, picture.height):
        raise MediaError(
            f"the picture is {width} x {height}, its annotation says {picture.width} x {picture.height}; fetch it "
            f"again: {picture.image}"
        )
    return image, masks, categories


def pooled(patches: Float32, masks: NDArray[np.bool_]) -> tuple[Float32, Float32]:
    """Features `(n, D)` under the boxes and under the masks, by RoIAlign and by weighted means.

    patches: `(h, w, D)`, which cover the picture. masks: `(n, H, W)`; each has a pixel.
    """
    import torch

    from ..encoders.clip.dense import mask_pool, roi_align

    rows, columns = patches.shape[:2]
    features = torch.from_numpy(np.ascontiguousarray(patches.transpose(2, 0, 1)))[None]
    small = np.zeros((len(masks), rows, columns), np.float32)
    boxes = np.zeros((len(masks), 4), np.float32)
    scale = np.array([columns, rows] * 2, np.float32) / np.array([masks.shape[2], masks.shape[1]] * 2, np.float32)
    for i, mask in enumerate(masks):
        shares = Image.fromarray(mask.astype(np.float32)).resize((columns, rows), Image.Resampling.BOX)
        small[i] = np.asarray(shares)
        across, down = (np.flatnonzero(mask.any(axis=axis)) for axis in (0, 1))
        boxes[i] = np.array([across[0], down[0], across[-1] + 1, down[-1] + 1]) * scale
    under_boxes = roi_align(features, [torch.from_numpy(boxes)])
    under_masks = mask_pool(features, [torch.from_numpy(small)])
    return under_boxes.numpy(), under_masks.numpy()
