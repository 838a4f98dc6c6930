"""Point segmentation of a data set, one picture at a time: a heat map for each class, and its points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..config import MergeConfig
from ..encoders.base import Encoder
from ..errors import UsageError
from ..geometry import stretching
from ..media.images import load
from ..query.parse import class_scores, dense_scores
from ..query.single_image import by_regions, regions_of
from ..records import Float32
from .open_images import PointedPicture
from .parsed_pictures import FEATURES, Features
from .points import PointScore, mask_at, score_of

Heats = Callable[[NDArray[np.uint8], str, Float32], Float32]
"""Takes a picture `(H, W, 3)`, its path and unit vectors `(n, Dt)`, and gives maps `(n, h, w)`."""


def heat_maps(
    encoder: Encoder, features: Features, *, merge: MergeConfig, short: int | None = None, side: int = 384
) -> Heats:
    """A function that gives a heat map for each of some vectors.

    Args:
        encoder: Looks at the picture.
        features: `patches` and `points` are compared with the vectors; of `regions`, each cell has the score of the
            region there that fits best, and 0 where there is none or it does not fit at all.
        merge: How regions are merged.
        short: For patches: scale the picture so that its shorter side has this many pixels, as GEM does with 448; None
            for the encoder's own size.
        side: For points: the side of the square into which the picture is squashed.

    Raises:
        UsageError: The encoder has no such features.
    """
    if features not in FEATURES:
        raise UsageError(f"`features` is one of {', '.join(FEATURES)}; got {features!r}")
    if features == "regions":

        def regions(image: NDArray[np.uint8], path: str, vectors: Float32) -> Float32:
            found = regions_of(encoder, image, merge, path)
            maps = np.stack([by_regions(found, vector) for vector in vectors])
            return np.nan_to_num(np.maximum(maps, 0), nan=0).astype(np.float32)

        return regions
    if features == "points":
        from ..encoders.tren.encoder import Tren
        from ..encoders.tren.points import point_texts

        if not isinstance(encoder, Tren):
            raise UsageError(f"points are for `tren`, and this is {encoder.info.name!r}; use patches or regions")
        tren = encoder

        def points(image: NDArray[np.uint8], path: str, vectors: Float32) -> Float32:
            squashed = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
            tokens = point_texts(tren, squashed, None)
            cells = round(len(tokens) ** 0.5)
            return dense_scores(tokens, vectors, (cells, cells))

        return points
    if not encoder.has_patches:
        raise UsageError(f"{encoder.info.name!r} has no patches in the space of texts; use `gem`, or regions")

    def patches(image: NDArray[np.uint8], path: str, vectors: Float32) -> Float32:
        height, width = image.shape[:2]
        size = encoder.working_size(width, height)
        if short is not None:
            scale = short / min(width, height)
            size = round(width * scale), round(height * scale)
        scaled = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        found = encoder.patches([scaled])[0]
        flat = class_scores(found.reshape(-1, found.shape[-1]), vectors)
        return np.ascontiguousarray(flat.T).reshape(-1, *found.shape[:2])

    return patches


def picture_points(picture: PointedPicture, vectors: dict[str, Float32], heats: Heats) -> list[list[Any]]:
    """What a picture counts: for each class its id, the points that are rightly inside, and all that are inside or
    taken as such. A class without a vector has no map, so that all of its points on the thing are missed.

    Args:
        picture: The picture and its points.
        vectors: Unit vectors `(Dt,)` of the classes that the encoder knows.
        heats: Gives the maps. They are stretched to the picture bilinearly, as GEM does.

    Raises:
        MediaError: The picture is missing or damaged.
    """
    image = load(str(picture.path), None, str(picture.path))
    known = [points for points in picture.points if points.name in vectors]
    maps: dict[str, Float32] = {}
    if known:
        found = heats(image, str(picture.path), np.stack([vectors[points.name] for points in known]))
        maps = {points.name: one for points, one in zip(known, found, strict=True)}
    rows = []
    for points in picture.points:
        taken = np.zeros(len(points.inside), bool)
        if points.name in maps:
            taken = mask_at(_stretched(maps[points.name], image.shape[0], image.shape[1]), points)
        rows.append([points.name, int((points.inside & taken).sum()), int((points.inside | taken).sum())])
    return rows


def _stretched(heat: Float32, height: int, width: int) -> Float32:
    return np.asarray(stretching(heat.shape[0], height) @ heat @ stretching(heat.shape[1], width).T, np.float32)


def gathered(results: Iterable[Sequence[Sequence[Any]]]) -> PointScore:
    """The score of many pictures, as from `picture_points`. Raises UsageError when there is nothing to measure."""
    return score_of((str(name), int(hit), int(union)) for rows in results for name, hit, union in rows)
