"""The best views of each track: cut while the frame is there, encoded once by the encoder's second step.

A view is good when it is large, sharp, whole and surely of a thing. The views of a track lie apart in time, so that
they show different sides. At a checkpoint all new views are encoded together. Their tokens are kept with the open
tracks and are part of the checkpoint, so an interrupted run continues as if nothing had happened.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ..encoders.base import ViewEncoder
from ..errors import StoreError
from ..geometry import unit
from ..records import Box, Float32, Frame, RegionTokens, Track, View, ViewMark
from ..timecode import NS

MARGIN = 0.1
"""Share of a box's width and height that is added on each side: a classifier must see where a thing ends."""
APART_NS = 2 * NS
"""Views of one track that are closer in time (in ns) show the same side: only the better one stays."""
BETTER = 1.3
"""A view replaces another when it is this many times as good: encoding it costs as much as a part of a frame."""
WORTH = 0.6
"""A further view is taken when its quality is at least this share of the best one's."""
CUT_OFF = 0.5
"""Factor of the quality of a box that ends at the border of the frame: the thing may extend beyond it."""
_BORDER = 0.004
_BLURRED = 0.3
"""Relative strength of second differences at which a view counts as half sharp; see `Sharpness`."""
_LONGEST, _CELL = 480, 8
"""Pixels of the longest side of the image in which sharpness is measured, and of the side of a cell there.

What the second step sees of a thing is smaller still.
"""
WEBP_QUALITY = 80


def cut(image: NDArray[np.uint8], box: Box, frame_size: tuple[int, int], pixels: int) -> NDArray[np.uint8]:
    """Cut out the box with a margin, `(h, w, 3)` uint8, its longest side at most `pixels`.

    Args:
        image: `(H, W, 3)` uint8, the frame in any size.
        box: In pixels of the frame of `frame_size`.
        frame_size: Width and height of the original frame.
        pixels: Longest side of the result.
    """
    rows, columns = image.shape[:2]
    sx, sy = columns / frame_size[0], rows / frame_size[1]
    dx, dy = MARGIN * (box[2] - box[0]), MARGIN * (box[3] - box[1])
    x0, x1 = _inside((box[0] - dx) * sx, (box[2] + dx) * sx, columns)
    y0, y1 = _inside((box[1] - dy) * sy, (box[3] + dy) * sy, rows)
    return shrink(image[y0:y1, x0:x1], pixels)


def shrink(image: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    """Scale the image so that its longest side is at most `pixels`; a smaller one is returned as it is."""
    rows, columns = image.shape[:2]
    scale = pixels / max(rows, columns)
    if scale >= 1:
        return np.ascontiguousarray(image)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))


def _inside(low: float, high: float, size: int) -> tuple[int, int]:
    """Return whole pixels of a side, at least one."""
    start = min(max(int(low), 0), size - 1)
    return start, min(max(round(high), start + 1), size)


class Sharpness:
    """How sharp boxes of an image `(H, W, 3)` uint8 are.

    The measure is second differences of the grey values, which blur takes away first, against their spread. Sums over
    cells are made once, so a box costs four look-ups.
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        step = max(1, -(-max(image.shape[:2]) // _LONGEST))
        grey = image[::step, ::step, 1].astype(np.float32)  # green is most of what is seen as bright
        second = np.zeros_like(grey)
        if min(grey.shape) > 2:
            second[1:-1, 1:-1] = 4 * grey[1:-1, 1:-1]
            for near in (grey[:-2, 1:-1], grey[2:, 1:-1], grey[1:-1, :-2], grey[1:-1, 2:]):
                second[1:-1, 1:-1] -= near
        self._cell = step * _CELL
        self._sums = [_summed(part) for part in (np.ones_like(grey), grey, grey * grey, second * second)]

    def of(self, boxes: Float32) -> Float32:
        """Return the sharpness in [0, 1] of boxes `(M, 4)` in pixels of the image, to whole cells: `(M,)`."""
        h, w = self._sums[0].shape[0] - 1, self._sums[0].shape[1] - 1
        low, high = np.floor(boxes[:, :2] / self._cell), np.ceil(boxes[:, 2:] / self._cell)
        x0, y0 = np.clip(low.T, 0, [[w - 1], [h - 1]]).astype(np.intp)
        x1, y1 = np.clip(high.T, [x0 + 1, y0 + 1], [[w], [h]]).astype(np.intp)
        count, mean, square, second = (t[y1, x1] - t[y0, x1] - t[y1, x0] + t[y0, x0] for t in self._sums)
        mean, square, second = mean / count, square / count, second / count
        spread = np.sqrt(np.maximum(square - mean * mean, 0))
        strength = np.sqrt(np.maximum(second, 0)) / (spread + 2)  # 2: noise of a plain wall is no detail
        return np.asarray(strength / (strength + _BLURRED), np.float32)


def _summed(values: Float32) -> NDArray[np.float64]:
    """Return sums over all cells above and to the left, `(h + 1, w + 1)`."""
    h, w = (-(-side // _CELL) for side in values.shape)
    padded = np.zeros((h * _CELL, w * _CELL), np.float32)
    padded[: values.shape[0], : values.shape[1]] = values
    out = np.zeros((h + 1, w + 1))
    out[1:, 1:] = padded.reshape(h, _CELL, w, _CELL).sum((1, 3)).cumsum(0, dtype=np.float64).cumsum(1)
    return out


def sharpness(image: NDArray[np.uint8]) -> float:
    """Return the sharpness of a whole image; see `Sharpness`."""
    return float(Sharpness(image).of(np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32))[0])


def whole_view(picture: NDArray[np.uint8], pixels: int) -> View:
    """Make a view of a query image `(h, w, 3)` uint8, with the whole image as its box."""
    h, w = picture.shape[:2]
    image = shrink(picture, pixels)
    return View(image, (0.0, 0.0, float(w), float(h)), (w, h), 0, np.zeros(0, np.float32), sharpness(image), 1.0)


def encode_views(
    encoder: ViewEncoder, image: NDArray[np.uint8], regions: RegionTokens, size: tuple[int, int], t_ns: int = 0
) -> tuple[RegionTokens, list[View]]:
    """Encode a view of each region of a single image.

    Args:
        encoder: The second step.
        image: `(H, W, 3)` uint8.
        regions: Its regions.
        size: Width and height of the original, in whose pixels the boxes are.
        t_ns: Time of the image.

    Returns:
        The regions with the tokens of their views, and the views.
    """
    sharp = _sharp(image, regions.boxes, size)
    views = [_view(image, regions, i, size, t_ns, encoder.view_pixels, float(sharp[i])) for i in range(len(regions))]
    tokens = encoder.look(views)
    return replace(regions, visual=tokens.visual, text=tokens.text), views


def view_marks(views: Sequence[View]) -> list[ViewMark]:
    """Return what a memory keeps of the only view of each thing, with its picture."""
    return [ViewMark(v.t_ns, v.box, 1.0, _webp(v.image), tuple(map(float, v.hint)), v.confidence) for v in views]


def _view(
    image: NDArray[np.uint8],
    regions: RegionTokens,
    row: int,
    size: tuple[int, int],
    t_ns: int,
    pixels: int,
    sharp: float,
) -> View:
    x0, y0, x1, y1 = map(float, regions.boxes[row])
    picture = cut(image, (x0, y0, x1, y1), size, pixels)
    return View(picture, (x0, y0, x1, y1), size, t_ns, regions.text[row].copy(), sharp, float(regions.confidence[row]))


def _sharp(image: NDArray[np.uint8], boxes: Float32, size: tuple[int, int]) -> Float32:
    """Return the sharpness `(M,)` of boxes in pixels of a frame of `size`; `image` is a copy of it in any size."""
    scale = np.array([image.shape[1] / size[0], image.shape[0] / size[1]] * 2, np.float32)
    return Sharpness(image).of(boxes * scale)


def _quality(regions: RegionTokens, size: tuple[int, int], pixels: int, sharp: Float32) -> Float32:
    """`(M,)`: how large, whole, sharp and sure each region is; 1 is the best."""
    sides = regions.boxes[:, 2:] - regions.boxes[:, :2]
    large = np.sqrt(np.clip(sides.prod(1), 1, None)) / pixels  # more pixels than are looked at would not improve it
    far = np.array(size, np.float32) * _BORDER
    open_ends = (regions.boxes[:, :2] <= far).any(1) | (regions.boxes[:, 2:] >= np.array(size) - far).any(1)
    whole = np.where(open_ends, CUT_OFF, 1)
    return np.asarray(np.minimum(large, 1) * whole * regions.confidence * (0.5 + 0.5 * sharp), np.float32)


@dataclass(slots=True)
class _Slot:
    """One view of a track: the cutting until it was looked at, then what was seen."""

    quality: float
    t_ns: int
    box: Box
    view: View | None
    visual: Float32 | None = None
    text: Float32 | None = None


class Views:
    """The views of the open tracks of one source.

    keep: hand the pictures themselves out with the tracks, as WebP. on_view: called with the ordinal of a track and
    each new view of it when it is encoded.
    """

    def __init__(
        self, encoder: ViewEncoder, keep: bool = False, on_view: Callable[[int, View], None] | None = None
    ) -> None:
        self._encoder, self._keep, self._on_view = encoder, keep, on_view
        self._slots: dict[int, list[_Slot]] = {}

    def offer(self, frame: Frame, ordinals: NDArray[np.int64], regions: RegionTokens, size: tuple[int, int]) -> None:
        """Cut the regions that are better views of their tracks than those there are.

        Args:
            frame: The frame.
            ordinals: `(M,)`, the track of each region, -1 for none.
            regions: Its regions.
            size: Width and height in whose pixels boxes are.
        """
        pixels = self._encoder.view_pixels
        sharp = _sharp(frame.image, regions.boxes, size)
        quality = _quality(regions, size, pixels, sharp)
        for row in np.flatnonzero(ordinals >= 0).tolist():
            slots, good = self._slots.setdefault(int(ordinals[row]), []), float(quality[row])
            place = _place(slots, good, frame.t_ns, self._encoder.max_views)
            if place is None:
                continue
            view = _view(frame.image, regions, row, size, frame.t_ns, pixels, float(sharp[row]))
            slots[place : place + 1] = [_Slot(good, frame.t_ns, view.box, view)]

    def settle(self, tracks: list[Track]) -> list[Track]:
        """Encode the new views and return the tracks with the tokens of their views."""
        if self._on_view is not None:
            for track in tracks:
                for slot in self._slots[track.ordinal]:
                    if slot.view is not None:
                        self._on_view(track.ordinal, slot.view)
        new = [slot for track in tracks for slot in self._slots[track.ordinal] if slot.view is not None]
        pictures: dict[int, View] = {}
        if new:
            seen = self._encoder.look([slot.view for slot in new if slot.view is not None])
            for slot, visual, text in zip(new, seen.visual, seen.text, strict=True):
                if self._keep and slot.view is not None:
                    pictures[id(slot)] = slot.view
                slot.visual, slot.text, slot.view = visual, text, None
        return [_with_views(track, self._slots[track.ordinal], pictures) for track in tracks]

    def forget(self, open_ordinals: set[int]) -> None:
        """Keep only the views of these tracks: the others have ended."""
        self._slots = {ordinal: slots for ordinal, slots in self._slots.items() if ordinal in open_ordinals}

    def state(self) -> bytes:
        """Return what a resumed run needs. Call it right after `settle` and `forget`."""
        rows = [(ordinal, slot) for ordinal, slots in self._slots.items() for slot in slots]
        seen = [(s.visual, s.text) for _, s in rows if s.visual is not None and s.text is not None]
        if len(seen) != len(rows):
            raise ValueError("a view is not encoded yet; settle first")
        return save(
            {
                "ordinal": np.array([ordinal for ordinal, _ in rows], np.int64),
                "quality": np.array([slot.quality for _, slot in rows], np.float64),
                "t_ns": np.array([slot.t_ns for _, slot in rows], np.int64),
                "box": np.array([slot.box for _, slot in rows], np.float64).reshape(-1, 4),
                "visual": np.stack([v for v, _ in seen]) if seen else np.zeros((0, 0), np.float32),
                "text": np.stack([t for _, t in seen]) if seen else np.zeros((0, 0), np.float32),
            }
        )

    def restore(self, state: bytes) -> None:
        """Continue from `state`. Raises StoreError when the bytes are not such a state."""
        try:
            saved = load(state)
            columns = [saved[name] for name in ("ordinal", "quality", "t_ns", "box", "visual", "text")]
            if len({len(column) for column in columns}) != 1 or columns[3].shape[1:] != (4,):
                raise ValueError("columns of unequal length")
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"the saved views are damaged or of another version ({error}); index again") from error
        self._slots = {}
        for ordinal, quality, t_ns, box, visual, text in zip(*columns, strict=True):
            x0, y0, x1, y1 = map(float, box)
            slot = _Slot(float(quality), int(t_ns), (x0, y0, x1, y1), None, visual, text)
            self._slots.setdefault(int(ordinal), []).append(slot)


def _place(slots: list[_Slot], quality: float, t_ns: int, limit: int) -> int | None:
    """Return the number of the slot that a view of this quality takes, which may be a new one, or None."""
    near = [i for i, slot in enumerate(slots) if abs(slot.t_ns - t_ns) < APART_NS]
    if near:
        place = min(near, key=lambda i: slots[i].quality)
        return place if len(near) == 1 and quality > BETTER * slots[place].quality else None
    if len(slots) < limit:
        return len(slots) if not slots or quality > WORTH * max(slot.quality for slot in slots) else None
    worst = min(range(len(slots)), key=lambda i: slots[i].quality)
    return worst if quality > BETTER * slots[worst].quality else None


def combined(visual: Float32, text: Float32, quality: Float32) -> tuple[Float32, Float32, float]:
    """Combine the tokens of views into those of their track.

    Args:
        visual: `(n, Dv)`.
        text: `(n, Dt)`.
        quality: `(n,)`, the weights of the means.

    Returns:
        visual `(Dv,)` and text `(Dt,)`, both unit, and the confidence of the text: views that name different things
        lower it.
    """
    weight = (quality / max(float(quality.sum()), 1e-12)).astype(np.float32)
    mean = weight @ text
    return unit(weight @ visual), unit(mean), min(float(np.linalg.norm(mean)), 1.0)


def _with_views(track: Track, slots: list[_Slot], pictures: dict[int, View]) -> Track:
    order = sorted(slots, key=lambda slot: -slot.quality)
    visual, text, sure = combined(
        np.array([slot.visual for slot in order], np.float32),
        np.array([slot.text for slot in order], np.float32),
        np.array([slot.quality for slot in order], np.float32),
    )
    marks = tuple(_mark(slot, pictures.get(id(slot))) for slot in order)
    return replace(
        track, visual=visual, text=text, best_ns=order[0].t_ns, best_box=order[0].box, text_confidence=sure, views=marks
    )


def _mark(slot: _Slot, kept: View | None) -> ViewMark:
    if kept is None:
        return ViewMark(slot.t_ns, slot.box, slot.quality)
    hint = tuple(map(float, kept.hint))
    return ViewMark(slot.t_ns, slot.box, slot.quality, _webp(kept.image), hint, kept.confidence)


def _webp(image: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "WEBP", quality=WEBP_QUALITY)
    return out.getvalue()
