"""Masks for expressions, found by an encoder without a language model.

Every region that the encoder finds is compared with the expression. With one target, the best region is the answer,
whatever its score: a question that is about something has an answer. With any number of targets, the regions that
pass the encoder's calibrated test are, so that there may be none (TextRegion, sections 4.2 and 4.3, chooses likewise).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..config import MergeConfig
from ..encoders.base import Encoder
from ..query.grounding import Phrases, all_things, best_thing, passing
from ..query.single_image import regions_of
from ..records import RegionTokens
from .masks import Mask
from .readable import read_phrase
from .referring import Answerer, Found

UNKNOWN = "unknown"
"""The note of an expression with a word that the encoder does not know."""


def by_encoder(encoder: Encoder, merge: MergeConfig, *, many: bool = False) -> Answerer:
    """A function that answers expressions by the regions of a picture.

    Args:
        encoder: Looks at the pictures. An expression that it cannot read is answered with nothing.
        merge: How regions are merged.
        many: An expression may mean any number of things; by default exactly one.
    """
    encoder = encoder.referring()

    def answer(image: NDArray[np.uint8], path: str, texts: Sequence[str]) -> list[Found]:
        size = image.shape[0], image.shape[1]
        regions = regions_of(encoder, image, merge, path)
        out = []
        for text in texts:
            read = read_phrase(encoder, text)
            if read is None:
                out.append(Found(np.zeros(size, bool), UNKNOWN))
            else:
                phrases = Phrases(read[1][None], [encoder.contrast_for(*read)])
                out.append(Found(_mask(encoder, regions, phrases, size, many)))
        return out

    return answer


def _mask(encoder: Encoder, regions: RegionTokens, phrases: Phrases, size: tuple[int, int], many: bool) -> Mask:
    if many:
        things = all_things(regions, phrases, passing(regions, phrases, encoder.info.calibration), size)
    else:
        things = best_thing(regions, phrases, np.ones((len(regions), 1), bool), size, whole=encoder.whole_regions)
    mask = np.zeros(size, bool)
    for thing in things:
        mask |= thing.mask
    return mask
