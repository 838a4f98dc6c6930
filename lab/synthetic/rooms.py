"""Rooms: wide painted panoramas with furniture and slots for things."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from . import furniture as fit
from .furniture import Slot
from .textures import Rng, byte, colour, fabric, floor, noise, to_image, wall

HEIGHT = 1000
"""Height of every panorama in pixels; a 1280x720 view at zoom 1 sees 720 of them."""
FLOOR = 740
"""Row where the wall meets the floor."""


@dataclass(frozen=True, slots=True, eq=False)
class Occluder:
    """An object between camera and room.

    sprite: RGBA at zoom 1. x, bottom: position of its middle and foot if the camera looks straight at them. parallax:
    its speed on the screen relative to the room.
    """

    sprite: Image.Image
    x: float
    bottom: float
    parallax: float


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """image: `(HEIGHT, width)` RGB without things and before light. light: RGB, multiplied over everything.

    door_x: middle of the doorway. slots: in order of y, so that what is drawn later is nearer.
    """

    image: Image.Image
    light: Image.Image
    slots: tuple[Slot, ...]
    door_x: float
    occluders: tuple[Occluder, ...]

    @property
    def width(self) -> int:
        return self.image.width


def make_room(rng: Rng, occluders: int | None = None) -> Room:
    """Make a room of 2100 to 2600 x 1000 pixels: wall, floor, doorway, furniture, windows, pictures and light."""
    width = int(rng.integers(1050, 1301)) * 2
    surface = np.concatenate([wall(rng, FLOOR, width), floor(rng, HEIGHT - FLOOR, width, width / 2)])
    # Corners, and the lines where wall, ceiling and floor meet, are darker.
    x = np.arange(width, dtype=np.float32)
    corner = 1 - 0.45 * np.exp(-np.minimum(x, width - 1 - x) / 55)
    y = np.arange(HEIGHT, dtype=np.float32)
    seam = 1 - 0.28 * np.exp(-np.abs(y - FLOOR) / 22) - 0.25 * np.exp(-y / 40)
    image = to_image(np.asarray(surface * (corner[None, :] * seam[:, None])[..., None], np.float32))
    _trim(image, rng)
    slots, door_x = _furnish(image, rng)
    slots += _on_the_floor(image, rng, slots)
    count = int(rng.integers(1, 3)) if occluders is None else occluders
    fore = tuple(_occluder(rng, (i + rng.uniform(0.25, 0.75)) * width / count) for i in range(count))
    return Room(image, _light(rng, width), tuple(sorted(slots, key=lambda s: s.y)), door_x, fore)


def _trim(image: Image.Image, rng: Rng) -> None:
    """Draw a skirting board along the floor and a cornice under the ceiling."""
    tint = colour(rng, sat=(0.0, 0.25), val=(0.6, 0.95))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, FLOOR - 34, image.width, FLOOR), fill=byte(tint, 0.9))
    draw.line((0, FLOOR - 34, image.width, FLOOR - 34), fill=byte(tint, 1.15), width=4)
    draw.line((0, FLOOR - 1, image.width, FLOOR - 1), fill=byte(tint, 0.45), width=4)
    draw.rectangle((0, 0, image.width, 26), fill=byte(tint, 1.0))
    draw.line((0, 27, image.width, 27), fill=byte(tint, 0.6), width=3)


def _furnish(image: Image.Image, rng: Rng) -> tuple[list[Slot], float]:
    """Fill the wall from left to right; returns the slots and the middle of the doorway."""
    slots: list[Slot] = []
    todo = [str(k) for k in rng.permutation(["bookcase", "table", "sideboard", "sofa", "bookcase", "table"])]
    door_after = int(rng.integers(0, 4))
    door_x = 0.0
    x = float(rng.uniform(50, 110))
    while todo:
        if not door_x and door_after <= 0:
            fit.door(image, rng, x + 30, FLOOR + 2)
            door_x = x + 135
            x += 320
        door_after -= 1
        kind = todo.pop(0)
        draw, widths = fit.PIECES[kind]
        w = float(rng.uniform(*widths))
        if x + w > image.width - 40:
            continue
        # Wall decoration is drawn first: furniture may hide its lower edge.
        if kind != "bookcase":
            slots += _hang(image, rng, x, w)
        slots += draw(image, rng, x, FLOOR + float(rng.uniform(14, 30)) + (30 if kind in ("table", "sofa") else 0), w)
        x += w + float(rng.uniform(40, 110))
    if not door_x:
        door_x = image.width - 250
        fit.door(image, rng, door_x - 105, FLOOR + 2)
        slots = [s for s in slots if abs(s.x - door_x) > 180]
    rest = image.width - x
    if rest > 260 and abs(door_x - (x + rest / 2)) > 300:
        slots += _hang(image, rng, x, rest - 60)
    return slots, door_x


def _hang(image: Image.Image, rng: Rng, x: float, w: float) -> list[Slot]:
    """Hang something on the wall above x .. x + w."""
    kind = str(rng.choice(["window", "poster", "shelf", "shelf"]))
    if kind == "window" and w > 380:
        return fit.window(image, rng, x + w / 2 - 150, float(rng.uniform(70, 95)), 300, 215)
    if kind == "shelf":
        return fit.wall_shelf(image, rng, x + 20, float(rng.uniform(235, 300)), max(200, w - 60))
    n = 1 + int(w > 480)
    for i in range(n):
        pw, ph = rng.uniform(120, 210), rng.uniform(130, 200)
        fit.poster(image, rng, x + w * (i + 0.5) / n - pw / 2, float(rng.uniform(75, 120)), pw, ph)
    return []


def _on_the_floor(image: Image.Image, rng: Rng, taken: list[Slot]) -> list[Slot]:
    """Add slots on the floor before the furniture, and sometimes a woven mat."""
    if rng.random() < 0.6:
        w, x = float(rng.uniform(600, 950)), float(rng.uniform(150, image.width - 1100))
        y0, y1 = FLOOR + 95, FLOOR + 225
        cloth = to_image(fabric(rng, y1 - y0, int(w) + 160, colour(rng, sat=(0.2, 0.6), val=(0.3, 0.75))))
        edge = ImageDraw.Draw(cloth)
        for inset in (10, 22):
            shape = [
                (80 + inset, inset),
                (80 + w - inset, inset),
                (w + 160 - inset * 2, y1 - y0 - inset),
                (inset * 2, y1 - y0 - inset),
            ]
            edge.polygon(shape, outline=byte(colour(rng, val=(0.6, 0.95))), width=4)
        mask = Image.new("L", cloth.size, 0)
        ImageDraw.Draw(mask).polygon([(80, 0), (80 + w, 0), (w + 160, y1 - y0), (0, y1 - y0)], fill=255)
        image.paste(cloth, (int(x - 80), y0), mask)
    out: list[Slot] = []
    for i in range(int(image.width / 260)):
        x = (i + float(rng.uniform(0.2, 0.8))) * 260
        out.append(Slot(x, FLOOR + float(rng.uniform(120, 225)), 190, "floor"))
    return [s for s in out if 90 < s.x < image.width - 90]


def _light(rng: Rng, width: int) -> Image.Image:
    """Return lamps and daylight as a smooth colour to multiply with."""
    h, w = HEIGHT // 20, width // 20
    warm = np.asarray([1.0, rng.uniform(0.9, 1.0), rng.uniform(0.8, 0.98)], np.float32)
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    level = np.full((h, w), rng.uniform(0.74, 0.86), np.float32)
    for _ in range(int(rng.integers(2, 5))):
        cx, cy, r = rng.uniform(0, w), rng.uniform(-h * 0.2, h * 0.6), rng.uniform(18, 40)
        level += rng.uniform(0.15, 0.35) * np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / (2 * r * r))
    level += 0.02 * noise(rng, h, w, 8, 10)
    small = to_image(np.minimum(level, 1.0)[..., None] * warm)
    return small.resize((width, HEIGHT), Image.Resampling.BICUBIC)


def _occluder(rng: Rng, x: float) -> Occluder:
    """Make a pillar, a leafy plant or the back of a chair, slightly out of focus."""
    kind = str(rng.choice(["pillar", "plant", "chair"]))
    big = Image.new("RGBA", (520, 1700), (0, 0, 0, 0))
    draw = ImageDraw.Draw(big)
    if kind == "pillar":
        half = int(rng.integers(45, 75))
        tint = colour(rng, sat=(0.03, 0.3), val=(0.35, 0.7))
        for dx in range(-half, half):
            draw.line(
                (260 + dx, 0, 260 + dx, 1700),
                fill=(*byte(tint, 1.05 - 0.5 * ((dx + half * 0.5) / half) ** 2 * 0.5), 255),
            )
    elif kind == "plant":
        tint = colour(rng, (0.24, 0.38), (0.35, 0.7), (0.22, 0.5))
        for _ in range(46):
            angle, length = rng.uniform(-1.25, 1.25), rng.uniform(240, 560)
            dx, dy = np.sin(angle) * length * 0.45, -np.cos(angle) * length
            tip, mid = (260 + dx, 1660 + dy), (260 + dx * 0.45, 1660 + dy * 0.55)
            side = rng.uniform(14, 28)
            leaf = [(260, 1690), (mid[0] - side, mid[1]), tip, (mid[0] + side, mid[1])]
            draw.polygon(leaf, fill=(*byte(tint, rng.uniform(0.6, 1.25)), 255))
    else:
        tint = colour(rng, (0.03, 0.12), (0.3, 0.7), (0.25, 0.6))
        edge = (*byte(tint, 0.6), 255)
        for px in (110, 390):
            draw.rounded_rectangle((px, 1180, px + 34, 1700), 14, fill=(*byte(tint), 255), outline=edge, width=3)
        for i in range(3):
            y = 1200 + i * 95
            draw.rounded_rectangle(
                (116, y, 420, y + 44), 12, fill=(*byte(tint, 1.1 - 0.1 * i), 255), outline=edge, width=3
            )
        draw.rounded_rectangle((90, 1520, 446, 1700), 20, fill=(*byte(tint, 0.85), 255), outline=edge, width=3)
    sprite = big.filter(ImageFilter.BoxBlur(3))
    box = sprite.getbbox() or (0, 0, 520, 1700)
    sprite = sprite.crop((box[0], box[1], box[2], 1697))
    return Occluder(sprite, x, 1010.0, float(rng.uniform(1.25, 1.5)))


def lit(room: Room, furnished: Image.Image) -> Image.Image:
    """Return the furnished picture under the room's light."""
    return ImageChops.multiply(furnished, room.light)
