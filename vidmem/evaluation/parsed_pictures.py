"""The class of each pixel of one picture, by whichever features an encoder has.

- `points`: T-REN's grid of points, merged into nothing (`tren`).
- `patches`: patches in the space of texts (`gem`, `densevlm`, `patches`).
- `regions`: the regions that the encoder finds, each with the class that its token is most like, spread by TextRegion's
  rule (arXiv 2505.23769, Eq. 4). A pixel that no region holds has no class. Every encoder has regions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..config import MergeConfig
from ..encoders.base import Encoder
from ..errors import UsageError
from ..query.grounding import labelled, labelled_closed, passing
from ..query.parse import UNLABELLED, Labels
from ..query.single_image import regions_of
from .ovss import VOC_THRESHOLD, Windows, by_patches, by_points, class_map
from .readable import Classes

Features = Literal["points", "patches", "regions"]
FEATURES: tuple[Features, ...] = get_args(Features)

Parser = Callable[[NDArray[np.uint8], str, tuple[int, int]], Labels]
"""Maps a picture `(H, W, 3)` uint8, its path and a size (H, W) to numbers of classes `(H, W)`, UNLABELLED for none."""


def best_features(encoder: Encoder) -> Features:
    """The finest features that an encoder has."""
    if _has_points(encoder):
        return "points"
    return "patches" if encoder.has_patches else "regions"


def picture_parser(
    encoder: Encoder,
    classes: Classes,
    features: Features,
    *,
    windows: Windows,
    merge: MergeConfig,
    background: int | None = None,
) -> Parser:
    """A function that names the pixels of a picture.

    Args:
        encoder: Looks at the picture.
        classes: What to name, without the background.
        features: See the module.
        windows: How the picture is cut, for points and patches.
        merge: How regions are merged, for regions.
        background: The number that pixels of no class get; None when there is no background. By points and patches,
            these are pixels where no class has VOC_THRESHOLD of the softmax (GEM, section 4.1); by regions, those that
            no region holds that passes the encoder's calibrated test.

    Raises:
        UsageError: The encoder has no such features.
    """
    if features == "regions":

        def by_regions(image: NDArray[np.uint8], path: str, size: tuple[int, int]) -> Labels:
            found = regions_of(encoder, image, merge, path)
            if background is None:
                return classes.numbered(labelled_closed(found, classes.phrases, size))
            passed = passing(found, classes.phrases, encoder.info.calibration)
            return _filled(classes.numbered(labelled(found, classes.phrases, passed, size)), background)

        return by_regions
    if features not in FEATURES:
        raise UsageError(f"`features` is one of {', '.join(FEATURES)}; got {features!r}")
    scorer = by_points(encoder, classes.vectors) if features == "points" else by_patches(encoder, classes.vectors)
    threshold = None if background is None else VOC_THRESHOLD

    def by_scores(image: NDArray[np.uint8], path: str, size: tuple[int, int]) -> Labels:
        labels = classes.numbered(class_map(image, scorer, windows, size, background=threshold))
        return labels if background is None else _filled(labels, background)

    return by_scores


def _filled(labels: Labels, background: int) -> Labels:
    labels[labels == UNLABELLED] = background
    return labels


def _has_points(encoder: Encoder) -> bool:
    from ..encoders.tren.encoder import Tren  # imports no torch

    return isinstance(encoder, Tren)
