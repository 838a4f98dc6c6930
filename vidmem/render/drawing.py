"""The style of all pictures: sizes, colours, fonts, text that fits, boxes with labels, pages, thumbnails."""

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

WIDTH, MAX_HEIGHT, MARGIN = 960, 720, 16
"""Width of a page, maximum height of a picture on it, and the margin, in pixels."""
INNER = WIDTH - 2 * MARGIN
"""Width between the margins, in pixels."""
INK, QUIET, PAPER, FAINT, RIM = (28, 30, 34), (96, 100, 108), (250, 250, 248), (214, 214, 210), (255, 255, 255)
"""For text, less important text, the page, empty bars, and the rim around a box."""
EMPTY, GROUND, GREY = (236, 236, 232), (232, 232, 228), (150, 150, 150)
"""In place of a missing picture, behind a plot, and for all that has no colour of its own."""
MARK, OTHER = (230, 57, 70), (33, 118, 255)
"""For a thing that was found, and for a second one in the same picture."""
EARLIER = (120, 132, 148)
"""For other sightings on a timeline."""
TITLE, TEXT, SMALL, TINY = 30, 17, 15, 13
"""Font sizes, in pixels."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Area = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of a page."""

_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "arial.ttf",
    "FreeSans.ttf",
)
"""Fonts of the usual systems, for letters that Pillow's own font lacks."""


@functools.cache
def font(size: int) -> Font:
    """Pillow's own font in a size."""
    return ImageFont.load_default(size)


def font_for(text: str, size: int) -> Font:
    """Pillow's own font, or the system font that has most of the letters if Pillow's lacks some."""
    if text.isascii():
        return font(size)
    return min((font(size), *_system_fonts(size)), key=lambda face: _missing(text, face))


@functools.cache
def _system_fonts(size: int) -> tuple[Font, ...]:
    return tuple(_installed(size))


def _installed(size: int) -> Iterator[Font]:
    for name in _FONTS:
        try:
            yield ImageFont.truetype(name, size)
        except OSError:
            continue


def _missing(text: str, face: Font) -> int:
    """Number of letters that the font shows as the box for a missing one."""
    box = bytes(face.getmask("\uffff"))
    return sum(bytes(face.getmask(c)) == box for c in set(text) if not c.isascii())


def length(text: str, size: int) -> float:
    """Width of a line of text, in pixels."""
    return float(font_for(text, size).getlength(text))


def fitted(text: str, size: int, max_width: float) -> str:
    """The text on one line, without control characters, cut to `max_width` pixels with dots."""
    text = printable(text[:500])
    if length(text, size) <= max_width:
        return text
    low, high = 0, len(text)  # number of letters that fit
    while low < high:
        half = (low + high + 1) // 2
        low, high = (half, high) if length(text[:half] + "…", size) <= max_width else (low, half - 1)
    return text[:low] + "…"


def fitted_path(path: str, size: int, max_width: float) -> str:
    """The file name of a path, cut in the middle to `max_width` pixels, since names often differ at the end."""
    name = printable(path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1][:500])
    keep = len(name)
    while length(name, size) > max_width and keep > 4:
        keep = min(keep - 1, int(keep * max_width / length(name, size)) + 1)
        name = name[: keep - keep // 2 - 1] + "…" + name[len(name) - keep // 2 :]
    return name


def wrapped(parts: Sequence[str], size: int, max_width: float, gap: str = "   ") -> list[str]:
    """Parts of a line on as many lines as they need. Empty parts are left out, and too long ones cut."""
    lines: list[str] = []
    for part in (fitted(part, size, max_width) for part in parts if part):
        if lines and length(lines[-1] + gap + part, size) <= max_width:
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
    """Write one line. anchor: which point of it is at `at`, as Pillow names them."""
    draw.text(at, text, fill=ink, font=font_for(text, size), anchor=anchor)


@dataclass(slots=True)
class Page:
    """A page with a heading. top: y of the free space below the heading."""

    image: Image.Image
    draw: ImageDraw.ImageDraw
    top: int

    def paste(self, picture: Image.Image) -> int:
        """Put a picture below the heading, in the middle. Returns the y of its lower edge."""
        self.image.paste(picture, (MARGIN + (INNER - picture.width) // 2, self.top))
        return self.top + picture.height


def heading_height(details: Sequence[str]) -> int:
    """Height of a title with lines of details, in pixels."""
    return 50 + 24 * len(details) + 8


def page(title: str, details: Sequence[str], height: int) -> Page:
    """A new page with a title, lines of details (see `wrapped`), and `height` pixels below them."""
    top = heading_height(details)
    image = Image.new("RGB", (WIDTH, top + height), PAPER)
    draw = ImageDraw.Draw(image)
    write(draw, (MARGIN, 12), fitted(title, TITLE, INNER), TITLE)
    for number, line in enumerate(details):
        write(draw, (MARGIN, 50 + 24 * number), line)
    return Page(image, draw, top)


def fit_page(
    pixels: NDArray[np.uint8] | Image.Image, width: int = INNER, height: int = MAX_HEIGHT
) -> tuple[Image.Image, float]:
    """The picture enlarged or reduced to fit into width and height, and the scale."""
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    scale = min(width / picture.width, height / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return (picture.resize(size) if size != picture.size else picture.copy()), scale


def outline(draw: ImageDraw.ImageDraw, box: Area, colour: tuple[int, int, int] = MARK, stroke: int = 3) -> None:
    """Draw a box with a white rim, so that it is visible on any background."""
    x0, y0, x1, y1 = box
    for grow, ink in ((stroke, RIM), *((g, colour) for g in range(stroke - 1, -1, -1))):
        if x1 + grow >= x0 - grow and y1 + grow >= y0 - grow:
            draw.rectangle((x0 - grow, y0 - grow, x1 + grow, y1 + grow), outline=ink)


@dataclass(slots=True)
class Labels:
    """Draws labels of boxes within `frame` that do not overlap. used: where labels are."""

    draw: ImageDraw.ImageDraw
    frame: Area
    used: list[Area] = field(default_factory=list)

    def add(self, text: str, box: Area, colour: tuple[int, int, int] = MARK, size: int = TEXT) -> Area | None:
        """Draw a label above, in or below the box, where there is room. Returns its area, or None."""
        text = fitted(text, size, min(300, self.frame[2] - self.frame[0] - 10))
        width, height = length(text, size) + 10, size + 6.0
        x = min(max(box[0], self.frame[0]), self.frame[2] - width)
        free = self.frame[3] - height
        steps = np.arange(1, free // height + 2) * height
        rows = [box[1] - height - 3, box[1] + 3, box[3] + 3, *(box[1] + steps), *(min(box[1], free) - steps)]
        for y in (float(row) for row in rows if self.frame[1] <= row <= free):
            area = (x, y, x + width, y + height)
            if not any(_overlap(area, other) for other in self.used):
                self.used.append(area)
                self.draw.rectangle(area, fill=colour)
                write(self.draw, (x + 5, y + 2), text, size, readable_on(colour))
                return area
        return None


def _overlap(a: Area, b: Area) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def readable_on(colour: Sequence[int]) -> tuple[int, int, int]:
    """Dark or white, whichever is readable on the colour."""
    return INK if 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 150 else RIM


def with_box(frame: NDArray[np.uint8], box: Box, width: int = INNER, height: int = MAX_HEIGHT) -> Image.Image:
    """The frame with its box, enlarged or reduced to fit into width and height."""
    picture, scale = fit_page(frame, width, height)
    x0, y0, x1, y1 = (v * scale for v in box)
    outline(ImageDraw.Draw(picture), (x0, y0, x1, y1))
    return picture


def close_up(frame: NDArray[np.uint8], box: Box, size: tuple[int, int]) -> Image.Image:
    """The box with some of its surroundings, outlined, in a picture of `size` (width, height).

    A frame that is too small for that is shown whole in that direction, on an empty background.
    """
    h, w = frame.shape[:2]
    ratio = size[0] / size[1]
    side = max(2.2 * (box[3] - box[1]), 2.2 * (box[2] - box[0]) / ratio, 48)  # height of the part that is shown
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
    out = Image.new("RGB", size, EMPTY)
    out.paste(crop, ((size[0] - shape[0]) // 2, (size[1] - shape[1]) // 2))
    return out


def thumbnail(
    evidence: tuple[NDArray[np.uint8], Box] | str, size: tuple[int, int], letters: int = SMALL
) -> Image.Image:
    """A close-up of a picture and its box, or an empty picture with the reason why there is none."""
    if not isinstance(evidence, str):
        return close_up(*evidence, size)
    out = Image.new("RGB", size, EMPTY)
    at = size[0] / 2, size[1] / 2
    write(ImageDraw.Draw(out), at, fitted(evidence, letters, size[0] - 8), letters, QUIET, "mm")
    return out


def colours(count: int) -> NDArray[np.uint8]:
    """Distinct colours, `(count, 3)` uint8 RGB. Hues are a golden section apart, so that neighbours differ."""
    golden = 0.618033988749895
    hsv = (((i * golden) % 1, 0.55 + 0.4 * (i % 2), 0.95 - 0.25 * (i // 2 % 2)) for i in range(count))
    rgb = [colorsys.hsv_to_rgb(*colour) for colour in hsv]
    return (np.array(rgb).reshape(-1, 3) * 255).astype(np.uint8)
