"""From a picture of a thing to its visual token: for `where --image` and `where --crop`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..encoders.base import Encoder
from ..errors import MediaError, UsageError
from ..geometry import box_iou, cell_share, unit
from ..indexer.step import view_encoder
from ..indexer.views import whole_view
from ..media.images import rgb
from ..records import Box, Float32, RegionTokens
from ..store import SourceRow, Store, VectorCache
from .paper import crop_region

CANVAS = (1280, 720)
HEIGHTS = (110, 170, 260)
"""Heights in pixels at which the picture is laid on the canvas, from a thing across the room to one at hand. Longer
sides are kept under 1.6 times that."""
OWN = (24, 400)
"""It is laid there in its own height too, which for a cutting from a video is the right one, within these bounds."""
INSIDE = 0.75
"""A region of which so much lies in the picture is of it."""
NEAR_NS = 1_000_000_000
"""A crop's time may lie this far from the next indexed frame."""


def load_picture(path: str | Path) -> Image.Image:
    """An upright RGB picture; transparent parts become grey. Raises MediaError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = ImageOps.exif_transpose(Image.open(path))
            return opaque(picture)
    except FileNotFoundError:
        raise MediaError(f"no such picture; check the path: {path}") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise MediaError(f"the picture cannot be read ({error}); save it as JPEG or PNG: {path}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise MediaError(f"the picture is too large; scale it down first: {path}") from None


def opaque(picture: Image.Image) -> Image.Image:
    """An RGB picture; transparent parts become grey."""
    rgba = (rgb(picture) if picture.mode.startswith(("I", "F")) else picture).convert("RGBA")
    grey = Image.new("RGBA", rgba.size, (128, 128, 128, 255))
    grey.alpha_composite(rgba)
    return grey.convert("RGB")


def picture_token(encoder: Encoder, picture: Image.Image) -> Float32:
    """The visual token `(Dv,)` of the thing that fills `picture`.

    An encoder that looks at views looks at it as at one. For others it is the mean of the tokens found for it at
    several sizes, at two places each: the picture is laid on a plain canvas at each size. What is found inside of it
    is it: the mean of these regions' tokens, by area, since of a thing seen close the parts stand out. Where there is
    none, the region is taken that covers the middle of the picture and leaves its rim free, or else fits the picture
    best.
    """
    looker = view_encoder(encoder)
    if looker is not None:
        return np.asarray(looker.look([whole_view(np.asarray(picture), looker.view_pixels)]).visual[0], np.float32)
    heights = [*HEIGHTS, min(max(picture.height, OWN[0]), OWN[1])]
    laid = [_lay(picture, order) for order in (heights, heights[::-1])]
    size = encoder.working_size(*CANVAS)
    small = [np.asarray(canvas.resize(size, Image.Resampling.BOX)) for canvas, _ in laid]
    found = []
    for regions, (_, boxes) in zip(encoder.encode(small, *CANVAS), laid, strict=True):
        for box in boxes if len(regions) else ():
            found.append(unit(_token(regions, box)))
    if not found:
        raise UsageError("no region stands out in the picture; crop it closer to the thing")
    return unit(np.mean(found, axis=0, dtype=np.float32))


def _token(regions: RegionTokens, box: Box) -> Float32:
    held = (regions.masks > 0.5).astype(np.float32)
    area = held.sum((1, 2))
    inside = np.tensordot(held, cell_share(box, (held.shape[1], held.shape[2]), *CANVAS), 2)
    weight = np.where(inside > INSIDE * area, area, 0)
    out: Float32 = weight @ unit(regions.visual) if weight.any() else regions.visual[_choose(regions.masks, box)]
    return out


def _lay(picture: Image.Image, heights: Sequence[int]) -> tuple[Image.Image, list[Box]]:
    """A canvas in the colour of the picture's rim with the picture on it in each height, from left to right, and where
    it lies."""
    pixels = np.asarray(picture.convert("RGB"))
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    canvas = Image.new("RGB", CANVAS, tuple(int(c) for c in np.median(rim, axis=0)))
    scales = [min(height / picture.height, 1.6 * height / picture.width) for height in heights]
    sizes = [(max(8, round(picture.width * s)), max(8, round(picture.height * s))) for s in scales]
    gap = (CANVAS[0] - sum(w for w, _ in sizes)) / (len(sizes) + 1)
    boxes: list[Box] = []
    x = gap
    for w, h in sizes:
        left, top = round(x), (CANVAS[1] - h) // 2
        canvas.paste(picture.resize((w, h), Image.Resampling.LANCZOS), (left, top))
        boxes.append((left, top, left + w, top + h))
        x += w + gap
    return canvas, boxes


def _choose(masks: Float32, box: Box) -> int:
    grid = (masks.shape[1], masks.shape[2])
    x0, y0, x1, y1 = box
    dx, dy = (x1 - x0) * 0.25, (y1 - y0) * 0.25
    inside = cell_share(box, grid, *CANVAS)
    middle = cell_share((x0 + dx, y0 + dy, x1 - dx, y1 - dy), grid, *CANVAS)
    around = np.clip(cell_share((x0 - dx, y0 - dy, x1 + dx, y1 + dy), grid, *CANVAS) - inside, 0, 1)
    held = (masks > 0.5).astype(np.float32)
    flat = held.reshape(len(held), -1)
    covers = flat @ middle.ravel() / max(float(middle.sum()), 1e-6)
    spills = flat @ around.ravel() / max(float(around.sum()), 1e-6)
    overlap = flat @ inside.ravel()
    fit = overlap / np.maximum(flat.sum(1) + float(inside.sum()) - overlap, 1e-6)
    return int(np.argmax(covers - spills + fit))


def crop_track(
    store: Store,
    cache: VectorCache,
    source: SourceRow,
    t_ns: int,
    box: Box,
    *,
    rule: Literal["default", "paper"] = "default",
) -> int:
    """The row in `cache` of the track whose region at the indexed frame nearest to t_ns fits `box` best (T-REN's crop
    to region, on what the memory holds, so that the video need not be at hand).

    rule "default": by the cells that a region holds and its box together, for things that are bent or hollow share
    their box with others; "paper": by the authors' box alone (see paper.crop_region), whatever its overlap.

    Raises UsageError when nothing was indexed within a second of t_ns or no region overlaps the box.
    """
    frames = list(store.regions(source.id, t_ns - NEAR_NS, t_ns + NEAR_NS))
    if not frames:
        raise UsageError(f"nothing was indexed within a second of {t_ns / 1e9:g} s in {source.uri}")
    frame = min(frames, key=lambda f: abs(f.t_ns - t_ns))
    nothing = UsageError(f"no region was found in that box at {frame.t_ns / 1e9:g} s; draw it around one thing")
    if not len(frame):
        raise nothing
    if rule == "paper":
        best = crop_region(frame.masks.astype(np.float32), box, source.width, source.height)
        return _row(cache, source, int(frame.tracks[best]))
    grid = (frame.masks.shape[1], frame.masks.shape[2])
    share = cell_share(box, grid, source.width, source.height)
    held = frame.masks.reshape(len(frame), -1).astype(np.float32)
    inter = held @ share.ravel()
    by_mask = inter / np.maximum(held.sum(1) + float(share.sum()) - inter, 1e-6)
    fit = by_mask + box_iou(frame.boxes, box)
    if fit.max() <= 0.05:
        raise nothing
    return _row(cache, source, int(frame.tracks[int(fit.argmax())]))


def _row(cache: VectorCache, source: SourceRow, ordinal: int) -> int:
    columns = cache.columns
    return int(np.flatnonzero((columns.source_ids == source.id) & (columns.ordinals == ordinal))[0])
