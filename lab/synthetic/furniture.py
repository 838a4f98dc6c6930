"""Furniture and wall decoration. Each function draws on the room's picture and returns the slots for things.

Coordinates are pixels of the room's panorama; at zoom 1 one of them is one pixel of a 1280x720 video.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from .textures import Array, Colour, Rng, byte, colour, fabric, noise, to_image, wood

WORDS = frozenset(
    [
        "wall",
        "floor",
        "ceiling",
        "room",
        "door",
        "doorway",
        "window",
        "curtain",
        "curtains",
        "poster",
        "picture",
        "painting",
        "frame",
        "framed",
        "art",
        "table",
        "desk",
        "shelf",
        "shelves",
        "bookshelf",
        "bookcase",
        "rack",
        "book",
        "books",
        "sofa",
        "couch",
        "chair",
        "armchair",
        "seat",
        "cupboard",
        "cabinet",
        "drawer",
        "drawers",
        "dresser",
        "sideboard",
        "furniture",
        "lamp",
        "light",
        "bulb",
        "plant",
        "potted",
        "pot",
        "houseplant",
        "tree",
        "leaf",
        "leaves",
        "herb",
        "palm",
        "rug",
        "carpet",
        "mat",
        "pillar",
        "column",
        "board",
        "tile",
        "tiles",
        "brick",
        "bricks",
        "wood",
        "house",
        "home",
        "building",
        "sky",
        "cloud",
        "hill",
        "mountain",
        "sun",
        "cushion",
        "pillow",
        "hallway",
        "knob",
        "handle",
        "bed",
    ]
)
"""Words for the scenery. Drawings with one of these words are never used, since "chair" must not have two answers."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A spot for a thing: its foot at (x, y), its height at most `room_above`. Slots are drawn in order of y."""

    x: float
    y: float
    room_above: float
    kind: str


def shadow(img: Image.Image, box: tuple[float, float, float, float], blur: float, strength: float) -> None:
    """Draw a soft shadow, before the thing that casts it."""
    pad = int(blur * 2.5)
    x0, y0, x1, y1 = (int(v) for v in box)
    mask = Image.new("L", (max(1, x1 - x0) + 2 * pad, max(1, y1 - y0) + 2 * pad), 0)
    mask.paste(int(255 * strength), (pad, pad, mask.width - pad, mask.height - pad))
    img.paste((8, 6, 4), (x0 - pad, y0 - pad), mask.filter(ImageFilter.BoxBlur(blur)))


def panel(
    img: Image.Image,
    texture: Image.Image,
    rng: Rng,
    box: tuple[float, float, float, float],
    gain: float = 1,
    bevel: int = 3,
) -> None:
    """A rectangle cut from `texture` at a random place, with a light upper and a dark lower edge."""
    x0, y0, x1, y1 = (round(v) for v in box)
    w, h = max(1, x1 - x0), max(1, y1 - y0)
    if h > 2 * w:  # the grain runs along the longer side
        texture = texture.transpose(Image.Transpose.ROTATE_90)
    tx, ty = int(rng.integers(0, max(1, texture.width - w))), int(rng.integers(0, max(1, texture.height - h)))
    piece = texture.crop((tx, ty, tx + min(w, texture.width), ty + min(h, texture.height))).resize((w, h))
    lift = Image.linear_gradient("L").resize((w, h)).point([int(255 - 0.12 * v) for v in range(256)])
    piece = ImageChops.multiply(piece, Image.merge("RGB", (lift, lift, lift)))
    img.paste(piece.point([min(255, int(v * gain)) for v in range(256)] * 3), (x0, y0))
    if bevel:
        edge = ImageDraw.Draw(img, "RGBA")
        edge.rectangle((x0, y0, x1 - 1, y0 + bevel - 1), fill=(255, 255, 255, 55))
        edge.rectangle((x0, y1 - bevel, x1 - 1, y1 - 1), fill=(0, 0, 0, 80))
        edge.rectangle((x0, y0, x0 + bevel - 1, y1 - 1), fill=(255, 255, 255, 30))
        edge.rectangle((x1 - bevel, y0, x1 - 1, y1 - 1), fill=(0, 0, 0, 60))


def top(img: Image.Image, texture: Image.Image, rng: Rng, x0: float, x1: float, y: float, depth: float) -> None:
    """The upper face of a table or chest, seen a little from above: a trapezoid that ends at front edge y."""
    w, h, inset = int(x1 - x0), int(depth), int(depth * 0.8)
    tx = int(rng.integers(0, max(1, texture.width - w)))
    piece = texture.crop((tx, 0, tx + min(w, texture.width), h)).resize((w, h))
    mask = Image.new("L", (w, h), 0)
    ImageDraw.Draw(mask).polygon([(inset, 0), (w - inset, 0), (w, h), (0, h)], fill=255)
    img.paste(piece.point([min(255, int(v * 1.15)) for v in range(256)] * 3), (int(x0), int(y - depth)), mask)


def _row(rng: Rng, x0: float, x1: float, y: float, above: float, kind: str, step: float = 150) -> list[Slot]:
    """Slots about `step` apart between x0 and x1, jittered so that neighbours sometimes touch."""
    n = max(1, int((x1 - x0) / step))
    gap = (x1 - x0) / n
    return [Slot(x0 + gap * (i + 0.5) + rng.uniform(-0.13, 0.13) * gap, y, above, kind) for i in range(n)]


def _wood(rng: Rng) -> Image.Image:
    painted = rng.random() < 0.3
    tint = (
        colour(rng, sat=(0.03, 0.35), val=(0.6, 0.9))
        if painted
        else colour(rng, (0.04, 0.1), (0.35, 0.65), (0.35, 0.75))
    )
    return to_image(wood(rng, 420, 760, tint))


def bookcase(img: Image.Image, rng: Rng, x: float, base: float, w: float) -> list[Slot]:
    """Open shelves from the floor up."""
    tex = _wood(rng)
    rows = int(rng.integers(3, 5))
    cell, thick = float(rng.uniform(150, 168) if rows == 3 else rng.uniform(138, 146)), 16.0
    height = rows * (cell + thick) + 50
    shadow(img, (x - 6, base - height + 20, x + w + 22, base + 8), 14, 0.45)
    panel(img, tex, rng, (x, base - height, x + w, base), 0.5)
    slots: list[Slot] = []
    for i in range(rows):
        y = base - 40 - i * (cell + thick)
        shadow(img, (x + 14, y - cell, x + w - 14, y - cell + 18), 9, 0.45)
        panel(img, tex, rng, (x, y, x + w, y + thick), 1.0)
        slots += _row(rng, x + 26, x + w - 26, y + 1, cell - 12, "shelf", 128)
    panel(img, tex, rng, (x, base - height, x + w, base - height + 22), 1.05)
    panel(img, tex, rng, (x, base - 26, x + w, base), 0.9)
    for side in (x, x + w - 16):
        panel(img, tex, rng, (side, base - height, side + 16, base), 0.95)
    if rows == 3:  # higher ones reach the ceiling
        slots += _row(rng, x + 30, x + w - 30, base - height + 3, 150, "top", 170)
    return slots


def table(img: Image.Image, rng: Rng, x: float, base: float, w: float) -> list[Slot]:
    """A table with four legs."""
    tex = _wood(rng)
    h, depth = float(rng.uniform(200, 270)), float(rng.uniform(50, 74))
    y = base - h
    shadow(img, (x + 10, base - 30, x + w - 10, base + 4), 20, 0.5)
    for lx, gain, up in ((x + 62, 0.55, 34), (x + w - 84, 0.5, 34), (x + 14, 0.85, 0), (x + w - 38, 0.75, 0)):
        panel(img, tex, rng, (lx, y, lx + (22 if up else 26), base - up), gain, 2)
    panel(img, tex, rng, (x + 20, y + 12, x + w - 20, y + 52), 0.7, 2)
    top(img, tex, rng, x - 8, x + w + 8, y, depth)
    panel(img, tex, rng, (x - 8, y, x + w + 8, y + 16), 0.95, 3)
    back = _row(rng, x + 70, x + w - 70, y - depth * 0.62, 190, "top", 150)
    front = _row(rng, x + 40, x + w - 40, y - depth * 0.14, 190, "top", 180)
    return back + front


def sideboard(img: Image.Image, rng: Rng, x: float, base: float, w: float) -> list[Slot]:
    """A chest with doors or drawers."""
    tex = _wood(rng)
    doors = max(2, round(w / 165))
    h, depth = float(rng.uniform(210, 310)), 40.0
    shadow(img, (x - 4, base - h + 10, x + w + 18, base + 8), 13, 0.45)
    top(img, tex, rng, x - 6, x + w + 6, base - h, depth)
    panel(img, tex, rng, (x, base - h, x + w, base), 0.75)
    panel(img, tex, rng, (x - 6, base - h, x + w + 6, base - h + 15), 1.0)
    split = int(rng.integers(1, 4))
    metal = byte(colour(rng, (0.1, 0.14), (0.1, 0.5), (0.5, 0.9)))
    draw = ImageDraw.Draw(img)
    for i in range(doors):
        for j in range(split):
            x0, x1 = x + 8 + i * (w - 16) / doors, x + 8 + (i + 1) * (w - 16) / doors
            y0 = base - h + 22 + j * (h - 50) / split
            y1 = base - h + 22 + (j + 1) * (h - 50) / split
            panel(img, tex, rng, (x0 + 4, y0 + 3, x1 - 4, y1 - 3), 0.92)
            cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
            draw.ellipse((cx - 7, cy - 7, cx + 7, cy + 7), fill=metal, outline=(40, 35, 30))
    return _row(rng, x + 30, x + w - 30, base - h - depth * 0.35, 190, "top", 155)


def sofa(img: Image.Image, rng: Rng, x: float, base: float, w: float) -> list[Slot]:
    """A sofa; things lie on its seat."""
    tint = colour(rng, sat=(0.15, 0.6), val=(0.3, 0.75))
    back, seat = 300.0, 130.0
    cloth = to_image(fabric(rng, 360, 800, tint))
    shadow(img, (x - 6, base - 60, x + w + 20, base + 6), 18, 0.5)

    def cushion(box: tuple[float, float, float, float], gain: float, radius: float) -> None:
        x0, y0, x1, y1 = (round(v) for v in box)
        mask = Image.new("L", (x1 - x0, y1 - y0), 0)
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, x1 - x0 - 1, y1 - y0 - 1), radius, fill=255)
        piece = img.crop((x0, y0, x1, y1))
        panel(piece, cloth, rng, (0, 0, x1 - x0, y1 - y0), gain, 0)
        ImageDraw.Draw(piece, "RGBA").rounded_rectangle(
            (0, 0, x1 - x0 - 1, y1 - y0 - 1), radius, outline=(0, 0, 0, 90), width=3
        )
        img.paste(piece, (x0, y0), mask)

    cushion((x, base - back, x + w, base - 20), 0.85, 34)
    n = int(rng.integers(2, 4))
    part = (w - 130) / n
    for i in range(n):
        cushion((x + 65 + i * part, base - back + 18, x + 65 + (i + 1) * part, base - seat + 10), 0.95, 26)
    for i in range(n):
        cushion((x + 65 + i * part, base - seat - 34, x + 65 + (i + 1) * part, base - 62), 1.12, 22)
    cushion((x + 40, base - 66, x + w - 40, base - 16), 0.8, 12)
    for ax in (x - 10, x + w - 70):
        cushion((ax, base - 210, ax + 80, base - 14), 1.0, 34)
    return _row(rng, x + 90, x + w - 90, base - seat - 10, 170, "seat", 170)


def wall_shelf(img: Image.Image, rng: Rng, x: float, y: float, w: float) -> list[Slot]:
    """One board on two brackets."""
    tex = _wood(rng)
    shadow(img, (x + 8, y + 12, x + w + 14, y + 34), 10, 0.4)
    for bx in (x + 34, x + w - 46):
        panel(img, tex, rng, (bx, y + 14, bx + 12, y + 46), 0.6, 1)
    panel(img, tex, rng, (x, y, x + w, y + 15), 1.0)
    return _row(rng, x + 16, x + w - 16, y + 2, 170, "shelf", 145)


def window(img: Image.Image, rng: Rng, x: float, y: float, w: float, h: float) -> list[Slot]:
    """A window with the sky, hills, cloth at its sides and a sill that things stand on."""
    sky = np.linspace(0, 1, int(h), dtype=np.float32)[:, None, None]
    hue = colour(rng, (0.52, 0.62), (0.15, 0.45), (0.85, 1.0))
    view: Array = (
        np.asarray(hue, np.float32) * (1 - sky) + np.float32(0.96) * sky + np.zeros((1, int(w), 1), np.float32)
    )
    rows = np.arange(int(h))[:, None]
    for i in range(3):
        ridge = h * (0.55 + 0.13 * i) + 22 * noise(rng, 1, int(w), 1, 90)
        tint: Colour = colour(rng, (0.24, 0.4), (0.15, 0.3 + 0.1 * i), (0.75 - 0.13 * i, 0.8 - 0.13 * i))
        view[rows > ridge] = tint
    shadow(img, (x - 10, y - 10, x + w + 18, y + h + 22), 10, 0.35)
    frame = byte(colour(rng, sat=(0, 0.1), val=(0.85, 0.97)))
    draw = ImageDraw.Draw(img)
    draw.rectangle((x - 16, y - 16, x + w + 16, y + h + 12), fill=frame, outline=(120, 115, 110))
    img.paste(to_image(view).filter(ImageFilter.BoxBlur(3)), (int(x), int(y)))
    draw.rectangle((x + w / 2 - 6, y, x + w / 2 + 6, y + h), fill=frame)
    draw.rectangle((x, y + h * 0.36, x + w, y + h * 0.36 + 9), fill=frame)
    cloth = fabric(rng, int(h) + 60, 84, colour(rng, sat=(0.1, 0.5), val=(0.5, 0.9)))
    cloth *= (1 + 0.13 * np.sin(np.arange(84, dtype=np.float32) * 0.42))[None, :, None]
    for cx in (x - 60, x + w - 24):
        shadow(img, (cx + 4, y - 20, cx + 92, y + h + 26), 6, 0.25)
        img.paste(to_image(cloth), (int(cx), int(y - 36)))
    draw.rectangle((x - 90, y - 48, x + w + 90, y - 38), fill=byte(colour(rng, (0.05, 0.1), (0.3, 0.6), (0.3, 0.6))))
    draw.rectangle((x - 26, y + h + 8, x + w + 26, y + h + 26), fill=frame, outline=(130, 125, 120))
    return _row(rng, x + 26, x + w - 26, y + h + 12, 150, "sill", 150)


def poster(img: Image.Image, rng: Rng, x: float, y: float, w: float, h: float) -> None:
    """A framed abstract picture."""
    art = Image.new("RGB", (int(w), int(h)), byte(colour(rng, sat=(0.02, 0.3), val=(0.8, 1))))
    draw = ImageDraw.Draw(art, "RGBA")
    for _ in range(int(rng.integers(5, 12))):
        a, b = rng.uniform(-0.1, 0.9, 2) * (w, h)
        c, d = (a, b) + rng.uniform(0.1, 0.6, 2) * (w, h)
        fill = (*byte(colour(rng, sat=(0.2, 0.7), val=(0.3, 0.9))), int(rng.integers(110, 220)))
        shape = rng.integers(0, 3)
        if shape == 0:
            draw.rectangle((a, b, c, d), fill=fill)
        elif shape == 1:
            draw.line((a, b, c, d), fill=fill, width=int(rng.integers(4, 22)))
        else:
            draw.polygon([(a, d), (c, d), ((a + c) / 2, b)], fill=fill)
    shadow(img, (x - 6, y - 4, x + w + 14, y + h + 14), 8, 0.4)
    ImageDraw.Draw(img).rectangle((x - 10, y - 10, x + w + 9, y + h + 9), fill=byte(colour(rng, val=(0.1, 0.9))))
    img.paste(art, (int(x), int(y)))


def door(img: Image.Image, rng: Rng, x: float, base: float) -> None:
    """An open doorway, 210 wide, with a dim corridor behind it."""
    w, h = 210.0, 500.0
    wood_frame = _wood(rng)
    panel(img, wood_frame, rng, (x - 24, base - h - 24, x + w + 24, base), 1.05)
    glow = np.linspace(0.30, 0.12, int(h), dtype=np.float32)[:, None, None]
    hall = glow * np.asarray(colour(rng, (0.05, 0.14), (0.2, 0.4), (0.8, 1)), np.float32) + np.zeros(
        (1, int(w), 1), np.float32
    )
    inner = to_image(hall)
    draw = ImageDraw.Draw(inner)
    draw.polygon([(0, h), (60, h - 90), (w - 60, h - 90), (w, h)], fill=(58, 44, 34))
    draw.rectangle((60, 90, w - 60, h - 90), fill=(70, 62, 54))
    draw.line([(0, 0), (60, 90), (60, h - 90), (0, h)], fill=(26, 22, 20), width=3)
    draw.line([(w, 0), (w - 60, 90), (w - 60, h - 90), (w, h)], fill=(26, 22, 20), width=3)
    img.paste(inner.filter(ImageFilter.BoxBlur(2)), (int(x), int(base - h)))


PIECES: dict[str, tuple[Callable[[Image.Image, Rng, float, float, float], list[Slot]], tuple[float, float]]] = {
    "bookcase": (bookcase, (380, 620)),
    "table": (table, (420, 680)),
    "sideboard": (sideboard, (300, 640)),
    "sofa": (sofa, (560, 740)),
}
"""Furniture on the floor: drawing function and range of widths."""
