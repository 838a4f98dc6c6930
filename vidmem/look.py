"""One picture, looked at now: what an encoder finds in it, as `index` would see it. For heat maps, `ground` and
`segment`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .config import MergeConfig
from .encoders.base import Encoder
from .geometry import unit
from .records import Float32, Frame, RegionTokens, SourceInfo

if TYPE_CHECKING:
    from .query.point_out import Pointed


def small(encoder: Encoder, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture `(H, W, 3)` in the size in which the encoder wants it."""
    size = encoder.working_size(image.shape[1], image.shape[0])
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def regions_of(encoder: Encoder, image: NDArray[np.uint8], config: MergeConfig, path: str = "") -> RegionTokens:
    """The regions of a picture `(H, W, 3)`, those that are one merged, with the tokens that a track of theirs would
    have; or those of the masks that the encoder was given, which are as fine as its working picture. path: of the
    picture, for masks in a folder."""
    from .indexer.merge import merge
    from .indexer.step import view_encoder
    from .indexer.views import looked_at

    height, width = image.shape[:2]
    if path and getattr(encoder, "encode_frames", None) is not None:
        from .encoders.masks import PICTURE, Masked

        assert isinstance(encoder, Masked)
        info = SourceInfo(path, PICTURE, width, height, 0, "")
        found = encoder.encode_fine(Frame(small(encoder, image), 0, 0), info)
        return replace(found, text=unit(found.text))
    working = small(encoder, image)
    (found,) = encoder.encode([working], width, height)
    merged = merge(found, config, frame_width=width, frame_height=height)
    looker = view_encoder(encoder)
    if looker is None:
        return replace(merged, text=unit(merged.text))
    return looked_at(looker, working, merged, (width, height))[0]


def cosine_map(encoder: Encoder, image: NDArray[np.uint8], vector: Float32, config: MergeConfig) -> Float32:
    """Raw cosines `(h, w)` of the patches of a picture `(H, W, 3)` to a unit vector `(Dt,)`.

    Of the patches themselves where the encoder has them in the space of texts (`patches`, see Encoder). Else of the
    best region that holds the patch, NaN where none does.
    """
    if hasattr(encoder, "patches"):
        return np.asarray(encoder.patches([small(encoder, image)])[0] @ vector, np.float32)
    from .query.explain import by_regions

    return by_regions(regions_of(encoder, image, config), vector)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What was found in one picture of `size` (H, W). nearest: the highest cosine of any region to the phrase, or None
    without regions; what is left when nothing counts as found."""

    size: tuple[int, int]
    things: tuple[Pointed, ...]
    nearest: float | None


def ground(
    encoder: Encoder, image: NDArray[np.uint8], phrase: str, config: MergeConfig, *, everything: bool = False,
    threshold: float | None = None, path: str = "",
) -> Seen:  # fmt: skip
    """Where `phrase` is in a picture `(H, W, 3)`: the one thing that is meant, or with `everything` all of them.

    threshold: least cosine, in place of the encoder's calibrated test. path: of the picture, for masks in a folder.
    An encoder that pools in another way for this than for naming regions has `referring()`, itself in that form: so
    TextRegion, whose paper also takes the whole of a mask that was given. Raises UsageError for a phrase that the
    encoder cannot read, ModelError for masks that do not fit or are none.
    """
    from .query.explain import cosines
    from .query.point_out import asked, one, passing, several

    whole = False
    if hasattr(encoder, "referring"):
        encoder = encoder.referring()
        whole = getattr(encoder, "masks", None) is not None
    what = asked(encoder, [phrase])
    found = regions_of(encoder, image, config, path)
    size = image.shape[0], image.shape[1]
    passed = passing(found, what, encoder.info.calibration, threshold)
    things = several(found, what, passed, size) if everything else one(found, what, passed, size, whole=whole)
    scores = cosines(found, what.vectors)[:, 0]
    return Seen(size, tuple(things), float(scores.max()) if len(scores) else None)


def segment(
    encoder: Encoder, image: NDArray[np.uint8], names: Sequence[str], config: MergeConfig, *, closed: bool = False,
    threshold: float | None = None, path: str = "",
) -> NDArray[np.int32]:  # fmt: skip
    """The label of each pixel of a picture `(H, W, 3)`: `(H, W)` int32, an index into `names`, -1 for none of them.

    closed: each region has one of the labels, whatever it is. Raises as `ground`.
    """
    from .query.point_out import asked, labelled, labelled_closed, passing

    what = asked(encoder, names)
    found = regions_of(encoder, image, config, path)
    size = image.shape[0], image.shape[1]
    if closed:
        return labelled_closed(found, what, size)
    return labelled(found, what, passing(found, what, encoder.info.calibration, threshold), size)
