"""From a picture of a thing to its visual token: a picture file, or a box in an indexed video."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Literal, cast

import numpy as np
from PIL import Image, ImageOps

from ..encoders.base import Encoder
from ..errors import MediaError, UsageError
from ..geometry import box_iou, cell_share, unit
from ..indexer.views import whole_view
from ..picture_reading import opened, rgb
from ..records import Box, Float32, RegionTokens
from ..store import SourceRow, Store, Vectors
from .paper import crop_region

CANVAS = (1280, 720)
"""Width and height in pixels of the plain canvas that the picture is laid on."""
HEIGHTS = (110, 170, 260)
"""Heights in pixels at which the picture is laid on the canvas, from a thing across the room to one at hand. Longer
sides are at most 1.6 times that."""
OWN_HEIGHTS = (24, 400)
"""The picture is laid there in its own height too, which is the right one for a crop of a video frame, within these
bounds in pixels."""
INSIDE = 0.75
"""A region with more than this share of its area in the picture belongs to it."""
MIN_FIT = 0.05
"""A region with a fit (overlap of cells plus box IoU) of at most this is not meant by a box."""
NEAR_NS = 1_000_000_000
"""How far the time of a crop may be from the nearest indexed frame, in ns."""


def load_picture(path: str | Path) -> Image.Image:
    """Read an upright RGB picture; transparent parts become grey. Raises MediaError."""
    if not os.path.exists(path):
        raise MediaError(f"no such picture; check the path: {path}")
    return _read(path, path)


def picture_from(data: bytes, name: str) -> Image.Image:
    """As `load_picture`, from the bytes of a file. name: what to call it in errors."""
    return _read(io.BytesIO(data), name)


def _read(file: str | Path | IO[bytes], name: str | Path) -> Image.Image:
    with opened(file, name, remedy="save it as JPEG or PNG") as held:
        picture = held.load(more=16)
        held.exif()  # checks them
        return opaque(ImageOps.exif_transpose(picture))


def opaque(picture: Image.Image) -> Image.Image:
    """An RGB picture; transparent parts become grey."""
    rgba = (rgb(picture) if picture.mode.startswith(("I", "F")) else picture).convert("RGBA")
    grey = Image.new("RGBA", rgba.size, (128, 128, 128, 255))
    grey.alpha_composite(rgba)
    return grey.convert("RGB")


def picture_token(encoder: Encoder, picture: Image.Image) -> Float32:
    """The visual token `(Dv,)` of the thing that fills `picture`.

    An encoder that looks at views looks at the picture as a view. For others it is the mean of the tokens found at
    several sizes, at two places each: the picture is laid on a plain canvas at each size. The token at one place is the
    mean of the tokens of the regions inside of the picture, by area, since a thing that is close is found in parts. If
    no region is inside, it is that of the region that covers the middle of the picture and leaves its rim free, or else
    fits the picture best.

    Raises:
        UsageError: the encoder finds no region in the picture.
    """
    looker = encoder.views
    if looker is not None:
        return np.asarray(looker.look([whole_view(np.asarray(picture), looker.view_pixels)]).visual[0], np.float32)
    heights = [*HEIGHTS, min(max(picture.height, OWN_HEIGHTS[0]), OWN_HEIGHTS[1])]
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
    """The token of the thing in a box of the canvas, of any norm."""
    held = (regions.masks > 0.5).astype(np.float32)
    area = held.sum((1, 2))
    inside = np.tensordot(held, cell_share(box, (held.shape[1], held.shape[2]), *CANVAS))
    weight = np.where(inside > INSIDE * area, area, 0)
    out: Float32 = weight @ unit(regions.visual) if weight.any() else regions.visual[_best_region(regions.masks, box)]
    return out


def _lay(picture: Image.Image, heights: Sequence[int]) -> tuple[Image.Image, list[Box]]:
    """A canvas in the colour of the picture's rim, with the picture on it in each height from left to right; and the
    boxes of the pictures."""
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


def _best_region(masks: Float32, box: Box) -> int:
    """The region that covers the middle of a box of the canvas, leaves its rim free and fits it."""
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


def crop_token(store: Store, cache: Vectors, name: str, t_ns: int, box: Box) -> Float32:
    """The visual token `(Dv,)` of the track that is in a box of an indexed video, or of one of the photos of a folder.

    Args:
        store: The memory.
        cache: Its vectors.
        name: Path or name of the video, or of the folder.
        t_ns: The time, also by the clock of a log; of a photo, its `frame_ns`.
        box: x0, y0, x1, y1 in pixels.

    Raises:
        UsageError: no such source or photo, the box is empty or outside of the frame, or as `crop_track`.
    """
    if box[2] <= box[0] or box[3] <= box[1]:
        raise UsageError("the crop's box is empty; it is X,Y,W,H in pixels with W and H above 0")
    source = store.source_at(name, t_ns)
    if source.kind.single_pictures:
        photo = store.picture(source.id, t_ns)
        if photo is None:
            raise UsageError("there is no photo at that time; take it from an answer, or cut the box out as `image`")
        source = replace(source, width=photo.width, height=photo.height)
    if source.kind.own_clock and source.start_ns and t_ns >= source.start_ns:
        t_ns -= source.start_ns
    if min(box[:2]) < 0 or box[2] > source.width or box[3] > source.height:
        raise UsageError(
            f"the crop's box reaches beyond the frame, which has {source.width} x {source.height} pixels; it is X,Y,W,H"
        )
    row = crop_track(store, cache, source, t_ns, box)
    return cast(Float32, cache.reconstruct("visual", np.array([row]))[0])


def crop_track(
    store: Store,
    cache: Vectors,
    source: SourceRow,
    t_ns: int,
    box: Box,
    *,
    rule: Literal["default", "paper"] = "default",
) -> int:
    """The row in `cache` of the track whose region fits `box` best: T-REN's crop to region, on what the memory holds.

    The video need not be at hand.

    Args:
        store: The memory.
        cache: Its vectors.
        source: The video.
        t_ns: The time; the nearest indexed frame is used.
        box: x0, y0, x1, y1 in pixels.
        rule: "default" compares the cells that a region holds and its box, since a bent or hollow thing shares its box
            with others. "paper" compares the authors' box alone (see `paper.crop_region`), whatever its overlap.

    Raises:
        UsageError: nothing was indexed within a second of `t_ns`, or no region overlaps the box.
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
    share = cell_share(box, (frame.masks.shape[1], frame.masks.shape[2]), source.width, source.height)
    held = frame.masks.reshape(len(frame), -1).astype(np.float32)
    inter = held @ share.ravel()
    by_mask = inter / np.maximum(held.sum(1) + float(share.sum()) - inter, 1e-6)
    fit = by_mask + box_iou(frame.boxes, box)
    if fit.max() <= MIN_FIT:
        raise nothing
    return _row(cache, source, int(frame.tracks[int(fit.argmax())]))


def _row(cache: Vectors, source: SourceRow, ordinal: int) -> int:
    rows = cache.rows_of_source(source.id)
    return int(rows[cache.columns_of(rows).ordinals == ordinal][0])
