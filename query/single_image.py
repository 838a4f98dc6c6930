"""One picture, looked at now: what an encoder finds in it, as `index` would see it. For heat maps, `ground` and
`segment`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..config import MergeConfig
from ..encoders.base import Encoder
from ..geometry import unit
from ..records import Box, Float32, Frame, RegionTokens, SourceInfo, SourceKind, View

if TYPE_CHECKING:
    from .grounding import Pointed


def small(encoder: Encoder, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture `(H, W, 3)` in the size in which the encoder wants it."""
    size = encoder.working_size(image.shape[1], image.shape[0])
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def regions_of(encoder: Encoder, image: NDArray[np.uint8], config: MergeConfig, path: str = "") -> RegionTokens:
    """The regions of a picture `(H, W, 3)`, those that are one merged, with the tokens that a track of theirs would
    have; or those of the masks that the encoder was given, which are as fine as its working picture. path: of the
    picture, for masks in a folder."""
    from ..indexer.merge import merge
    from ..indexer.views import looked_at

    height, width = image.shape[:2]
    if path and encoder.masks is not None:
        info = SourceInfo(path, SourceKind.PICTURE, width, height, 0, "")
        found = encoder.encode_fine(Frame(small(encoder, image), 0, 0), info)
        return replace(found, text=unit(found.text))
    working = small(encoder, image)
    (found,) = encoder.encode([working], width, height)
    merged = merge(found, config, frame_width=width, frame_height=height)
    looker = encoder.views
    if looker is None:
        return replace(merged, text=unit(merged.text))
    return looked_at(looker, working, merged, (width, height))[0]


def cosine_map(encoder: Encoder, image: NDArray[np.uint8], vector: Float32, config: MergeConfig) -> Float32:
    """Raw cosines `(h, w)` of the patches of a picture `(H, W, 3)` to a unit vector `(Dt,)`.

    Of the patches themselves where the encoder has them in the space of texts (`patches`, see Encoder). Else of the
    best region that holds the patch, NaN where none does.
    """
    if encoder.has_patches:
        return np.asarray(encoder.patches([small(encoder, image)])[0] @ vector, np.float32)
    from .region_scores import by_regions

    return by_regions(regions_of(encoder, image, config), vector)


CELLS, COVER = 8, 3
"""A box with its surroundings is cut into as many cells as a square of so many along each side, and a patch covers so
many along each of its own."""
AROUND = 0.25
"""What is covered beyond the box, of its sides: a look sees a rim around the box too."""


@dataclass(frozen=True, slots=True, eq=False)
class Covered:
    """How much a thing's score falls where it is covered. falls `(h, w)` float32: of each cell of `area`, pixels, the
    mean over all patches that held it; score: with nothing covered; patch: its side in pixels."""

    falls: Float32
    area: Box
    score: float
    patch: float


def cover(encoder: Encoder, image: NDArray[np.uint8], box: Box, vector: Float32, config: MergeConfig) -> Covered:
    """Occlusion, after Zeiler and Fergus (2014, "Visualizing and understanding convolutional networks", section 4.2): a
    plain patch slides over the thing in a picture `(H, W, 3)`, and each time it is looked at anew, by the detector as
    well.

    encoder: one that looks at views. vector: of a text, unit, `(Dt,)`.
    """
    from concurrent.futures import ThreadPoolExecutor

    height, width = image.shape[:2]
    dx, dy = AROUND * (box[2] - box[0]), AROUND * (box[3] - box[1])
    area = max(box[0] - dx, 0.0), max(box[1] - dy, 0.0), min(box[2] + dx, float(width)), min(box[3] + dy, float(height))
    cell = max(float(np.sqrt(max((area[2] - area[0]) * (area[3] - area[1]), 1.0))) / CELLS, 1.0)
    across, down = (max(1, round((area[i + 2] - area[i]) / cell)) for i in (0, 1))
    x = np.linspace(area[0], area[2], across + 1)
    y = np.linspace(area[1], area[3], down + 1)
    inside = image[int(area[1]) : int(np.ceil(area[3])), int(area[0]) : int(np.ceil(area[2]))]
    plain = inside.reshape(-1, 3).mean(0).astype(np.uint8) if inside.size else np.full(3, 128, np.uint8)
    places = [(i, j) for j in range(1 - COVER, down) for i in range(1 - COVER, across)]

    def score(place: tuple[int, int] | None) -> float:
        picture = image
        if place is not None:
            (x0, x1), (y0, y1) = (_ends(edges, first) for edges, first in ((x, place[0]), (y, place[1])))
            picture = image.copy()
            picture[y0:y1, x0:x1] = plain
        return _score(encoder, picture, box, vector, config)

    with encoder.parallel() as workers, ThreadPoolExecutor(workers) as pool:
        whole, *scores = pool.map(score, [None, *places])
    total, count = np.zeros((down, across)), np.zeros((down, across))
    for (i, j), one in zip(places, scores, strict=True):
        held = slice(max(j, 0), j + COVER), slice(max(i, 0), i + COVER)
        total[held] += whole - one
        count[held] += 1
    return Covered((total / count).astype(np.float32), area, whole, COVER * cell)


def _ends(edges: NDArray[np.float64], first: int) -> tuple[int, int]:
    """From where to where the patch lies whose first cell is this, in whole pixels."""
    return int(edges[max(first, 0)]), int(np.ceil(edges[min(first + COVER, len(edges) - 1)]))


def _score(encoder: Encoder, image: NDArray[np.uint8], box: Box, vector: Float32, config: MergeConfig) -> float:
    """The score by a text of what is in the box, with what the detector says of the region that fits it, if any
    does."""
    from ..geometry import box_iou
    from ..indexer.merge import merge
    from ..indexer.views import cut, sharpness

    looker = encoder.views
    assert looker is not None
    height, width = image.shape[:2]
    working = small(encoder, image)
    (found,) = encoder.encode([working], width, height)
    found = merge(found, config, frame_width=width, frame_height=height)
    overlap = box_iou(found.boxes, box) if len(found) else np.zeros(1)
    best = int(overlap.argmax())
    known = overlap[best] >= 0.5
    hint = found.text[best].copy() if known else np.zeros(0, np.float32)
    picture = cut(working, box, (width, height), looker.view_pixels)
    sure = float(found.confidence[best]) if known else 0.0
    view = View(picture, box, (width, height), 0, hint, sharpness(picture), sure)
    return float(looker.look([view]).text[0] @ vector)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What was found in one picture of `size` (H, W). nearest: the highest cosine of any region to the phrase, or None
    without regions; what is left when nothing counts as found."""

    size: tuple[int, int]
    things: tuple[Pointed, ...]
    nearest: float | None


def ground(
    encoder: Encoder,
    image: NDArray[np.uint8],
    phrase: str,
    config: MergeConfig,
    *,
    everything: bool = False,
    threshold: float | None = None,
    path: str = "",
) -> Seen:
    """Where `phrase` is in a picture `(H, W, 3)`: the one thing that is meant, or with `everything` all of them.

    threshold: least cosine, in place of the encoder's calibrated test. path: of the picture, for masks in a folder.
    Raises UsageError for a phrase that the
    encoder cannot read, ModelError for masks that do not fit or are none.
    """
    from .grounding import asked, one, passing, several
    from .region_scores import cosines

    encoder = encoder.referring()
    what = asked(encoder, [phrase])
    found = regions_of(encoder, image, config, path)
    size = image.shape[0], image.shape[1]
    passed = passing(found, what, encoder.info.calibration, threshold)
    things = (
        several(found, what, passed, size)
        if everything
        else one(found, what, passed, size, whole=encoder.whole_regions)
    )
    scores = cosines(found, what.vectors)[:, 0]
    return Seen(size, tuple(things), float(scores.max()) if len(scores) else None)


def segment(
    encoder: Encoder,
    image: NDArray[np.uint8],
    names: Sequence[str],
    config: MergeConfig,
    *,
    closed: bool = False,
    threshold: float | None = None,
    path: str = "",
    guess: bool = False,
) -> NDArray[np.int32]:
    """The label of each pixel of a picture `(H, W, 3)`: `(H, W)` int32, an index into `names`, -1 for none of them.

    closed: each region has one of the labels, whatever it is. guess: names with words that the encoder does not know
    are taken as they are. Raises as `ground`.
    """
    from .grounding import asked, labelled, labelled_closed, passing

    what = asked(encoder, names, guess)
    found = regions_of(encoder, image, config, path)
    size = image.shape[0], image.shape[1]
    if closed:
        return labelled_closed(found, what, size)
    return labelled(found, what, passing(found, what, encoder.info.calibration, threshold), size)
