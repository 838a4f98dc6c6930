"""What all pictures for people share: paper, colours, letters that fit, boxes with labels, pictures in a readable
size."""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..address import printable
from ..records import Box

WIDTH, TALLEST, MARGIN = 960, 720, 16
"""Pixels: a page is so wide, a picture on it at most so tall, with so much paper around it."""
INNER = WIDTH - 2 * MARGIN
INK, QUIET, PAPER, FAINT, RIM = (28, 30, 34), (96, 100, 108), (250, 250, 248), (214, 214, 210), (255, 255, 255)
EMPTY, GROUND, GREY = (236, 236, 232), (232, 232, 228), (150, 150, 150)
MARK, OTHER = (230, 57, 70), (33, 118, 255)
"""Of a thing that was found, and of a second one beside it."""
TITLE, TEXT, SMALL = 30, 17, 15
"""Sizes of letters."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Area = tuple[float, float, float, float]
"""x0, y0, x1, y1 on a page."""

_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "arial.ttf",
    "FreeSans.ttf",
)
"""What systems have for letters that Pillow's own font lacks."""


@functools.cache
def font(size: int) -> Font:
    """Pillow's own font."""
    return ImageFont.load_default(size)


def font_for(text: str, size: int) -> Font:
    """Pillow's own font; for letters that it lacks one of the system's that has most of them, if there is any."""
    missing = [_missing(text, face) for face in (font(size), *_others(size))] if not text.isascii() else [0]
    return (font(size), *_others(size))[missing.index(min(missing))] if min(missing) < missing[0] else font(size)


@functools.cache
def _others(size: int) -> tuple[Font, ...]:
    return tuple(_found(size))


def _found(size: int) -> Iterator[Font]:
    for name in _FONTS:
        try:
            yield ImageFont.truetype(name, size)
        except OSError:
            continue


def _missing(text: str, face: Font) -> int:
    """How many letters the font shows as the box for what it lacks."""
    none = bytes(face.getmask("\uffff"))
    return sum(bytes(face.getmask(c)) == none for c in set(text) if not c.isascii())


def length(text: str, size: int) -> float:
    """Pixels of a line."""
    return float(font_for(text, size).getlength(text))


def fitted(text: str, size: int, most: float) -> str:
    """`text` on one line, without control characters, cut to `most` pixels with dots."""
    text = printable(text[:500])
    if length(text, size) <= most:
        return text
    low, high = 0, len(text)  # letters that fit
    while low < high:
        half = (low + high + 1) // 2
        low, high = (half, high) if length(text[:half] + "…", size) <= most else (low, half - 1)
    return text[:low] + "…"


def fitted_path(path: str, size: int, most: float) -> str:
    """The file name in a path, cut in its middle to `most` pixels: its end tells what it is."""
    name = printable(path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1][:500])
    keep = len(name)
    while length(name, size) > most and keep > 4:
        keep = min(keep - 1, int(keep * most / length(name, size)) + 1)
        name = name[: keep - keep // 2 - 1] + "…" + name[len(name) - keep // 2 :]
    return name


def wrapped(parts: Sequence[str], size: int, most: float, gap: str = "   ") -> list[str]:
    """Parts of a line, on as many lines as they need; a part that is longer than a line is cut."""
    lines: list[str] = []
    for part in (fitted(part, size, most) for part in parts if part):
        if lines and length(lines[-1] + gap + part, size) <= most:
            lines[-1] += gap + part
        else:
            lines.append(part)
    return lines


def write(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int = TEXT,
    ink: tuple[int, int, int] = INK,
    anchor: str = "la",
) -> None:
    """A line at a place, as Pillow anchors it."""
    draw.text(at, text, fill=ink, font=font_for(text, size), anchor=anchor)


@dataclass(slots=True)
class Page:
    """A sheet of paper. image, draw: what is on it; top: where it is free below the heading."""

    image: Image.Image
    draw: ImageDraw.ImageDraw
    top: int


def heading_height(details: Sequence[str]) -> int:
    """Pixels that a title and lines of details take."""
    return 50 + 24 * len(details) + 8


def page(title: str, details: Sequence[str], height: int) -> Page:
    """A page with a title, lines of details (see `wrapped`) and so many pixels below them."""
    top = heading_height(details)
    image = Image.new("RGB", (WIDTH, top + height), PAPER)
    draw = ImageDraw.Draw(image)
    write(draw, (MARGIN, 12), fitted(title, TITLE, INNER), TITLE)
    for number, line in enumerate(details):
        write(draw, (MARGIN, 50 + 24 * number), line)
    return Page(image, draw, top)


def at_hand(
    pixels: NDArray[np.uint8] | Image.Image, width: int = INNER, height: int = TALLEST
) -> tuple[Image.Image, float]:
    """A picture as large as fits into width and height, and the scale: small ones are enlarged, large ones reduced."""
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    scale = min(width / picture.width, height / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return (picture.resize(size) if size != picture.size else picture.copy()), scale


def outline(draw: ImageDraw.ImageDraw, box: Area, colour: tuple[int, int, int] = MARK, stroke: int = 3) -> None:
    """A box with a white rim around it, so that it is seen on any ground."""
    x0, y0, x1, y1 = box
    for grow, ink in ((stroke, RIM), *((g, colour) for g in range(stroke - 1, -1, -1))):
        if x1 + grow >= x0 - grow and y1 + grow >= y0 - grow:
            draw.rectangle((x0 - grow, y0 - grow, x1 + grow, y1 + grow), outline=ink)


@dataclass(slots=True)
class Labels:
    """Labels of boxes within `frame` that do not lie on each other. taken: where they are."""

    draw: ImageDraw.ImageDraw
    frame: Area
    taken: list[Area] = field(default_factory=list)

    def add(self, text: str, box: Area, colour: tuple[int, int, int] = MARK, size: int = TEXT) -> Area | None:
        """A label at the box: over it, in it, or below it, where there is room; None where there is none at all."""
        text = fitted(text, size, min(300, self.frame[2] - self.frame[0] - 10))
        width, height = length(text, size) + 10, size + 6.0
        x = min(max(box[0], self.frame[0]), self.frame[2] - width)
        free = self.frame[3] - height
        steps = np.arange(1, free // height + 2) * height
        rows = [box[1] - height - 3, box[1] + 3, box[3] + 3, *(box[1] + steps), *(min(box[1], free) - steps)]
        for y in (float(row) for row in rows if self.frame[1] <= row <= free):
            area = (x, y, x + width, y + height)
            if not any(_meet(area, other) for other in self.taken):
                self.taken.append(area)
                self.draw.rectangle(area, fill=colour)
                write(self.draw, (x + 5, y + 2), text, size, readable_on(colour))
                return area
        return None


def _meet(a: Area, b: Area) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def readable_on(colour: Sequence[int]) -> tuple[int, int, int]:
    """Ink or white, what stands out from the colour."""
    return INK if 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 150 else RIM


def with_box(frame: NDArray[np.uint8], box: Box, width: int = INNER, height: int = TALLEST) -> Image.Image:
    """The frame as large as fits into width and height, with the box drawn on it."""
    picture, scale = at_hand(frame, width, height)
    x0, y0, x1, y1 = (v * scale for v in box)
    outline(ImageDraw.Draw(picture), (x0, y0, x1, y1))
    return picture


def close_up(frame: NDArray[np.uint8], box: Box, size: tuple[int, int]) -> Image.Image:
    """The box with some of its surroundings, in a picture of `size` (width, height), with an outline; a frame that is
    too narrow for that is shown whole in its width, on paper."""
    h, w = frame.shape[:2]
    ratio = size[0] / size[1]
    side = max(2.2 * (box[3] - box[1]), 2.2 * (box[2] - box[0]) / ratio, 48)  # the height of what is shown
    tall, wide = min(side, h), min(side * ratio, w)
    cx = min(max((box[0] + box[2]) / 2, wide / 2), w - wide / 2)
    cy = min(max((box[1] + box[3]) / 2, tall / 2), h - tall / 2)
    region = (cx - wide / 2, cy - tall / 2, cx + wide / 2, cy + tall / 2)
    scale = min(size[0] / wide, size[1] / tall)
    shape = max(1, round(wide * scale)), max(1, round(tall * scale))
    crop = Image.fromarray(frame).resize(shape, box=region)
    draw = ImageDraw.Draw(crop)
    x0, y0, x1, y1 = ((v - region[i % 2]) * scale for i, v in enumerate(box))
    if x1 > x0 and y1 > y0:
        outline(draw, (x0, y0, x1, y1), stroke=2)
    out = Image.new("RGB", size, (236, 236, 232))
    out.paste(crop, ((size[0] - shape[0]) // 2, (size[1] - shape[1]) // 2))
    return out


def colours(count: int) -> NDArray[np.uint8]:
    """A colour for each of so many, `(count, 3)`: hues apart by the golden section, so that neighbours differ."""
    golden = 0.618033988749895
    hsv = (((i * golden) % 1, 0.55 + 0.4 * (i % 2), 0.95 - 0.25 * (i // 2 % 2)) for i in range(count))
    rgb = [colorsys.hsv_to_rgb(*colour) for colour in hsv]
    return (np.array(rgb).reshape(-1, 3) * 255).astype(np.uint8)
