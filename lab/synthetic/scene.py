"""Things in rooms: their sprites, the furnished panorama, and their visible share from a pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from .camera import Lens, Poses, to_video
from .drawings import Drawing
from .rooms import Occluder, Room, lit

Floats = NDArray[np.float64]
GRID = 14
"""Visibility is measured on GRID x GRID cells of a thing's picture."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One thing at one place for some time.

    drawing: index into the world's drawings. x, y: its foot in the panorama of `room`. size: geometric mean of width
    and height in panorama pixels; max_height, max_width bound it. angle: degrees, counter-clockwise. It is there during
    the visits first <= v < last.
    """

    drawing: int
    room: int
    x: float
    y: float
    size: float
    max_height: float
    angle: float
    first: int
    last: int
    target: bool


def sprite(drawing: Drawing, place: Placement) -> Image.Image:
    """Return the drawing rotated, scaled and shaded for its place: RGBA, trimmed, at panorama scale."""
    image = drawing.image
    scale = min(
        place.size / (image.width * image.height) ** 0.5,
        place.max_height / image.height,
        1.35 * place.size / image.width,
    )
    image = image.resize(
        (max(4, round(image.width * scale)), max(4, round(image.height * scale))), Image.Resampling.LANCZOS
    )
    image = image.rotate(place.angle, Image.Resampling.BICUBIC, expand=True)
    # Transparent margins are trimmed, so that the thing stands on its lowest visible row.
    solid = image.getchannel("A").point([0] * 96 + [255] * 160).getbbox()
    image = image.crop(solid) if solid else image
    shade = Image.linear_gradient("L").resize(image.size).point([int(255 - 0.2 * v) for v in range(256)])
    return Image.merge("RGBA", (*(ImageChops.multiply(c, shade) for c in image.split()[:3]), image.getchannel("A")))


def corner(place: Placement, picture: Image.Image) -> tuple[int, int]:
    """Return the position of the sprite's upper left pixel in the panorama."""
    return round(place.x - picture.width / 2), round(place.y - picture.height)


def furnish(room: Room, things: Sequence[tuple[Placement, Image.Image]]) -> Image.Image:
    """Return the room's panorama with (placement, sprite) pairs drawn in the given order, under its light."""
    image = room.image.copy()
    for place, picture in things:
        x, y = corner(place, picture)
        w, h = picture.size
        # A dark pool under its feet (its lowest eighth), and a faint shadow cast behind it.
        solid = np.asarray(picture.getchannel("A"))[-max(3, h // 8) :] > 96
        feet = np.flatnonzero(solid.any(0))
        left, right = (int(feet[0]), int(feet[-1])) if len(feet) else (0, w)
        wide = right - left + 18
        pool = Image.radial_gradient("L").resize((wide, 20)).point([max(0, int(215 - 1.7 * v)) for v in range(256)])
        image.paste((10, 8, 6), (x + (left + right - wide) // 2, y + h - 12), pool)
        cast = Image.new("L", (w + 24, h + 24), 0)
        cast.paste(picture.getchannel("A").point([v // 4 for v in range(256)]), (12, 12))
        image.paste((10, 8, 6), (x - 12 + 6, y - 12 + 2), cast.filter(ImageFilter.BoxBlur(5)))
        image.paste(picture, (x, y), picture)
    return lit(room, image)


def stand(occluder: Occluder, pose: Floats, lens: Lens) -> tuple[float, float, float]:
    """Return left and top of an occluder in video pixels, and the scale of its sprite."""
    scale = float(pose[2]) * lens.scale
    x = lens.width / 2 + (occluder.x - pose[0]) * occluder.parallax * scale
    y = lens.height / 2 + (occluder.bottom - pose[1]) * occluder.parallax * scale
    return float(x - occluder.sprite.width * scale / 2), float(y - occluder.sprite.height * scale), scale


@dataclass(frozen=True, slots=True, eq=False)
class Stamp:
    """The cells of a thing. points: `(K, 2)` in the panorama. whole: their areas `(K,)`. rest: the areas that nearer
    things leave uncovered `(K,)`. box: x0, y0, x1, y1 in the panorama."""

    points: Floats
    whole: Floats
    rest: Floats
    box: tuple[int, int, int, int]


def stamps(things: Sequence[tuple[Placement, Image.Image]]) -> list[Stamp]:
    """Return one stamp for each (placement, sprite) of a room, in drawing order; later things cover earlier ones."""
    boxes = [(*corner(p, s), corner(p, s)[0] + s.width, corner(p, s)[1] + s.height) for p, s in things]
    alphas = [np.asarray(s.getchannel("A"), np.float32) / 255 for _, s in things]
    out = []
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        rest = alphas[i].copy()
        for j in range(i + 1, len(boxes)):
            u0, v0 = max(x0, boxes[j][0]), max(y0, boxes[j][1])
            u1, v1 = min(x1, boxes[j][2]), min(y1, boxes[j][3])
            if u0 < u1 and v0 < v1:
                rest[v0 - y0 : v1 - y0, u0 - x0 : u1 - x0] *= (
                    1 - alphas[j][v0 - boxes[j][1] : v1 - boxes[j][1], u0 - boxes[j][0] : u1 - boxes[j][0]]
                )
        cells = [
            np.asarray(Image.fromarray(a).resize((GRID, GRID), Image.Resampling.BOX), np.float64).ravel()
            for a in (alphas[i], rest)
        ]
        mid = (np.arange(GRID) + 0.5) / GRID
        xs, ys = np.meshgrid(x0 + mid * (x1 - x0), y0 + mid * (y1 - y0))
        keep = cells[0] > 0.02
        points = np.stack([xs.ravel(), ys.ravel()], 1)[keep]
        out.append(Stamp(points, cells[0][keep], cells[1][keep], (x0, y0, x1, y1)))
    return out


def fraction(stamp: Stamp, poses: Poses, occluders: Sequence[Occluder], lens: Lens) -> Floats:
    """Return the share `(F,)` of the thing's area that is in view and uncovered, for poses `(F, 3)`."""
    scale = (poses[:, 2] * lens.scale)[:, None]
    sx = (stamp.points[None, :, 0] - poses[:, 0, None]) * scale + lens.width / 2
    sy = (stamp.points[None, :, 1] - poses[:, 1, None]) * scale + lens.height / 2
    open_ = (sx >= 0) & (sx < lens.width) & (sy >= 0) & (sy < lens.height)
    for occluder in occluders:
        mask = np.asarray(occluder.sprite.getchannel("A")) > 127
        left, top, size = (np.asarray(v)[:, None] for v in zip(*(stand(occluder, p, lens) for p in poses), strict=True))
        u, v = ((sx - left) / size).astype(np.int64), ((sy - top) / size).astype(np.int64)
        on = (sx >= left) & (sy >= top) & (u < mask.shape[1]) & (v < mask.shape[0])
        open_ &= ~(on & mask[np.clip(v, 0, mask.shape[0] - 1), np.clip(u, 0, mask.shape[1] - 1)])
    return np.asarray((open_ * stamp.rest).sum(1) / stamp.whole.sum())


def box_in_video(stamp: Stamp, pose: Floats, lens: Lens) -> tuple[float, float, float, float]:
    """Return the thing's box in video pixels, clipped to the picture; covered parts count."""
    points = to_video(np.asarray(stamp.box, np.float64).reshape(2, 2), pose, lens)
    x0, y0, x1, y1 = np.clip(points, 0, [lens.width, lens.height]).ravel().round(1).tolist()
    return x0, y0, x1, y1
