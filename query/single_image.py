"""One picture, looked at now: what an encoder finds in it, as `index` would see it. For heat maps, `ground` and
`segment`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..config import MergeConfig
from ..encoders.base import Encoder
from ..geometry import unit
from ..indexer.merge import merge
from ..indexer.views import encode_views
from ..records import Float32, Frame, RegionTokens, SourceInfo, SourceKind
from .grounding import (
    Pointed,
    all_things,
    best_thing,
    cosines,
    held_cells,
    labelled,
    labelled_closed,
    passing,
    read_phrases,
)
from .parse import Labels


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What was found in one picture of `size` (H, W). nearest: the highest cosine of any region to the phrase, for an
    answer of "not found"; None without regions."""

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
    """Where `phrase` is in a picture.

    Args:
        encoder: Looks at the picture.
        image: `(H, W, 3)` uint8 RGB.
        phrase: What to find.
        config: How regions are merged.
        everything: Find all things that are meant; by default the best one.
        threshold: Minimum cosine; overrides the encoder's calibrated test.
        path: Of the picture, for masks in a folder.

    Raises:
        UsageError: the encoder cannot read the phrase.
        ModelError: the masks do not fit the picture or are missing.
    """
    encoder = encoder.referring()
    phrases = read_phrases(encoder, [phrase])
    found = regions_of(encoder, image, config, path)
    size = image.shape[0], image.shape[1]
    passed = passing(found, phrases, encoder.info.calibration, threshold)
    if everything:
        things = all_things(found, phrases, passed, size)
    else:
        things = best_thing(found, phrases, passed, size, whole=encoder.whole_regions)
    scores = cosines(found, phrases.vectors)[:, 0]
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
) -> Labels:
    """The label of each pixel of a picture: `(H, W)` int32, an index into `names`, -1 for none of them.

    Args:
        encoder: Looks at the picture.
        image: `(H, W, 3)` uint8 RGB.
        names: The labels.
        config: How regions are merged.
        closed: Give each region one of the labels, whatever its scores.
        threshold: Minimum cosine; overrides the encoder's calibrated test.
        path: Of the picture, for masks in a folder.
        guess: Take names with words that the encoder does not know as they are.

    Raises:
        UsageError: the encoder cannot read a name.
        ModelError: the masks do not fit the picture or are missing.
    """
    phrases = read_phrases(encoder, names, guess)
    found = regions_of(encoder, image, config, path)
    size = image.shape[0], image.shape[1]
    if closed:
        return labelled_closed(found, phrases, size)
    return labelled(found, phrases, passing(found, phrases, encoder.info.calibration, threshold), size)


def cosine_map(encoder: Encoder, image: NDArray[np.uint8], vector: Float32, config: MergeConfig) -> Float32:
    """Raw cosines `(h, w)` of the patches of a picture `(H, W, 3)` to a unit vector `(Dt,)`.

    They are those of the patches themselves if the encoder has them in the space of texts (`patches`, see Encoder),
    else those of the best region that holds the patch, NaN where there is none.
    """
    if encoder.has_patches:
        return np.asarray(encoder.patches([small(encoder, image)])[0] @ vector, np.float32)
    return by_regions(regions_of(encoder, image, config), vector)


def by_regions(found: RegionTokens, vector: Float32) -> Float32:
    """For each patch `(h, w)` the cosine to a unit vector `(Dt,)` of the most similar region that holds it, NaN where
    there is none. A mean over all regions would drown a small thing in what is around it."""
    held = held_cells(found.masks)
    best = np.full(held.shape[1:], np.nan, np.float32)
    for cosine, cells in zip(cosines(found, vector[None])[:, 0], held, strict=True):
        best[cells] = np.fmax(best[cells], cosine)
    return best


def small(encoder: Encoder, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture `(H, W, 3)` in the size in which the encoder wants it."""
    size = encoder.working_size(image.shape[1], image.shape[0])
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def regions_of(encoder: Encoder, image: NDArray[np.uint8], config: MergeConfig, path: str = "") -> RegionTokens:
    """The merged regions of a picture, with the tokens that tracks of them would have.

    With masks from elsewhere, they are the regions of these masks, in the resolution of the working picture.

    Args:
        encoder: Looks at the picture.
        image: `(H, W, 3)` uint8 RGB.
        config: How regions are merged.
        path: Of the picture, for masks in a folder.
    """
    height, width = image.shape[:2]
    if path and encoder.masks is not None:
        info = SourceInfo(path, SourceKind.PICTURE, width, height, 0, "")
        found = encoder.encode_fine(Frame(small(encoder, image), 0, 0), info)
        return replace(found, text=unit(found.text))
    working = small(encoder, image)
    merged = merged_regions(encoder, working, (width, height), config)
    looker = encoder.views
    if looker is None:
        return replace(merged, text=unit(merged.text))
    return encode_views(looker, working, merged, (width, height))[0]


def merged_regions(
    encoder: Encoder, working: NDArray[np.uint8], size: tuple[int, int], config: MergeConfig
) -> RegionTokens:
    """The merged regions of a picture in its working size. size: (width, height) of the original."""
    width, height = size
    (found,) = encoder.encode([working], width, height)
    return merge(found, config, frame_width=width, frame_height=height)
