"""Training pictures for `tiny`: drawings pasted on backgrounds with scale, turn, blur, light, occlusion, compression.

A scene knows, for each patch, which share of it every object covers, so that masks are soft at the rim.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from ..world.drawings import Drawing

WIDTH, HEIGHT, STRIDE = 448, 256, 8
GRID = (HEIGHT // STRIDE, WIDTH // STRIDE)
MOST = 40
"""Objects and surfaces per scene at the most."""
LEAST_OBJECT, LEAST_SURFACE = 1.5, 40
"""Patches that an object or a surface must fill to count."""
CUTOUT_SHARE = 0.4
"""How many of the things in a scene are cut from photos, where there are such."""
AGAIN = 0.15
"""How often a thing is the same as the one before and stands beside it, like bottles on a shelf."""
ROOM = -4
"""An empty room as a surface: like a photo it is no region (label -2 in the end), but nothing in it has a name."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """image `(H, W, 3)` uint8; cover `(MOST, h, w)` float32, the share of each patch that a region covers (surfaces
    count what lies on them as theirs); labels `(MOST,)` int64: index of the thing, -1 surface with the name
    "background", -2 surface without a name, -3 unused row; centres `(MOST, 2)` patch x, y and sizes `(MOST,)` in
    patches; drawings `(MOST,)` int64: index of the drawing, -1 where there is none or it is not known. scenery
    `(h, w)` float32: the share of each patch that shows nothing that has a name. teachers `(MOST,)` int64: the row of
    the teacher's answer for a region of a photo, -1 for none. outlined `()` bool: every thing has its outline; in
    photos many have none, and what covers a region is a box then."""

    image: NDArray[np.uint8]
    cover: NDArray[np.float32]
    labels: NDArray[np.int64]
    centres: NDArray[np.float32]
    sizes: NDArray[np.float32]
    drawings: NDArray[np.int64]
    scenery: NDArray[np.float32]
    teachers: NDArray[np.int64]
    outlined: NDArray[np.bool_]


def load_photos(path: Path, most: int, seed: int = 0) -> list[Image.Image]:
    """Up to `most` photos from a tar or folder, at most 360 px a side, for backgrounds. Of each class folder only the
    first two thirds (by name) are used; the rest stays unseen for measurements."""
    by_folder: dict[str, list[str]] = {}
    with tarfile.open(path) if path.is_file() else nullcontext() as tar:
        every = [m.name for m in tar.getmembers()] if tar else [str(p) for p in path.rglob("*")]
        for name in sorted(n for n in every if n.lower().endswith((".jpg", ".jpeg", ".png"))):
            by_folder.setdefault(str(Path(name).parent), []).append(name)
        kept = [n for group in by_folder.values() for n in group[: len(group) * 2 // 3 or 1]]
        out = []
        for name in np.random.default_rng(seed).permutation(kept)[:most]:
            stream = tar.extractfile(str(name)) if tar else open(name, "rb")  # noqa: SIM115
            assert stream is not None
            with stream:
                photo = Image.open(io.BytesIO(stream.read())).convert("RGB")
            photo.thumbnail((360, 360))
            if min(photo.size) >= 64:
                out.append(photo)
    return out


def make_rooms(count: int) -> list[Image.Image]:
    """Empty rooms of the lostfound worlds as backgrounds, at the scale of a scene. Their seeds start at a million: no
    world that is measured has such a room."""
    from ..world.rooms import make_room

    rooms = (make_room(np.random.default_rng(1_000_000 + i)).image for i in range(count))
    return [room.resize((room.width * WIDTH // 1280, room.height * WIDTH // 1280)) for room in rooms]


class SceneMaker:
    """An endless, seeded stream of scenes. label_of: the label of a name. cutouts: things cut from photos, which are
    pasted like drawings."""

    def __init__(
        self, drawings: Sequence[Drawing], label_of: Callable[[str], int], photos: Sequence[Image.Image], seed: int,
        rooms: Sequence[Image.Image] = (), cutouts: Sequence[Drawing] = (), near: float = 0.2,
    ):  # fmt: skip
        self.rooms, self.near = rooms, near
        self.drawings = [*drawings, *cutouts]
        self.real = len(drawings)
        # Draw names evenly, whatever the number of drawings a name has.
        self.drawn, self.cut = dict[int, list[int]](), dict[int, list[int]]()
        for i, drawing in enumerate(self.drawings):
            pool = self.drawn if i < self.real else self.cut
            pool.setdefault(label_of(drawing.name), []).append(i)
        self.photos = photos
        self.rng = np.random.default_rng(seed)

    def __iter__(self) -> Iterator[Scene]:
        while True:
            yield self.scene()

    def scene(self) -> Scene:
        rng = self.rng
        canvas, surfaces = self._background()
        near = rng.random() < self.near
        count = int(rng.integers(3, 10) if near else rng.integers(10, 34))
        owner = np.zeros((HEIGHT, WIDTH), np.uint8)
        labels: list[int] = []
        drawn: list[int] = []
        order = sorted((self._size(near) for _ in range(count)), reverse=True)
        label = variant = x = y = w = 0
        for k, size in enumerate(order, 1):
            again = k > 1 and rng.random() < AGAIN
            if not again:
                pool = self.cut if self.cut and rng.random() < CUTOUT_SHARE else self.drawn
                label = list(pool)[int(rng.integers(len(pool)))]
                variants = pool[label]
                variant = variants[int(rng.integers(len(variants)))]
            before = x + w
            picture = self._distort(self.drawings[variant].image, size)
            w, h = picture.size
            if again and before < WIDTH - w // 2:
                x, y = before + int(rng.integers(-w // 6, w // 6 + 1)), y + int(rng.integers(-h // 8, h // 8 + 1))
            else:
                x, y = int(rng.integers(-w // 3, WIDTH - 2 * w // 3)), int(rng.integers(-h // 3, HEIGHT - 2 * h // 3))
            alpha = picture.getchannel("A")
            if rng.random() < 0.5:
                self._shadow(canvas, alpha, x, y)
            canvas.paste(picture, (x, y), alpha)
            x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, WIDTH), min(y + h, HEIGHT)
            part = np.asarray(alpha)[y0 - y : y1 - y, x0 - x : x1 - x] > 127
            owner[y0:y1, x0:x1][part] = k
            labels.append(label)
            drawn.append(variant if variant < self.real else -1)
        image = self._camera(canvas)
        return self._pack(image, owner, labels, drawn, surfaces)

    def _size(self, near: bool) -> float:
        """Longer side of an object in pixels: as in a room seen from two to five metres, but one in four anything from
        a speck to a close-up; or as on a table before the camera."""
        low, high = (50, 260) if near else (18, 110) if self.rng.random() < 0.25 else (26, 76)
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def _pack(self, image: NDArray[np.uint8], owner: NDArray[np.uint8], labels: list[int], drawn: list[int],
              surfaces: list[tuple[NDArray[np.bool_], int]]) -> Scene:  # fmt: skip
        h, w = GRID
        cell = (np.arange(HEIGHT)[:, None] // STRIDE * w + np.arange(WIDTH)[None] // STRIDE).astype(np.int64)
        n = len(labels)
        counts = np.bincount((owner.astype(np.int64) * (h * w) + cell).ravel(), minlength=(n + 1) * h * w)
        shares = counts.reshape(-1, h, w)[1 : n + 1].astype(np.float32) / STRIDE**2
        rows = [(share, label, d, -1) for share, label, d in zip(shares, labels, drawn, strict=True)]
        scenery = np.zeros((HEIGHT, WIDTH), np.bool_)
        for mask, label in surfaces:
            rows.append((per_patch(mask), -2 if label == ROOM else label, -1, -1))
            if label in (-1, ROOM):
                scenery |= mask
        return pack(image, rows, per_patch(scenery & (owner == 0)))

    def _background(self) -> tuple[Image.Image, list[tuple[NDArray[np.bool_], int]]]:
        """A canvas and its surfaces: a wall, a floor and up to four boxes, each with a texture of its own."""
        rng = self.rng
        canvas, named = self._texture(WIDTH, HEIGHT)
        surface = np.zeros((HEIGHT, WIDTH), np.uint8)
        labels = [named]
        for _ in range(int(rng.integers(0, 6))):
            w, h = int(rng.integers(60, WIDTH)), int(rng.integers(40, HEIGHT))
            x, y = int(rng.integers(-40, WIDTH - 40)), int(rng.integers(-30, HEIGHT - 30))
            patch, named = self._texture(w, h)
            canvas.paste(patch, (x, y))
            surface[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = len(labels)
            labels.append(named)
        return canvas, [(surface == i, label) for i, label in enumerate(labels)]

    def _texture(self, width: int, height: int) -> tuple[Image.Image, int]:
        """A picture to lay down as a surface and its label."""
        rng = self.rng
        if self.rooms and rng.random() < 0.5:
            room = self.rooms[int(rng.integers(len(self.rooms)))]
            scale = rng.uniform(0.8, 1.2)
            w, h = min(width * scale, room.width), min(height * scale, room.height)
            x, y = rng.uniform(0, room.width - w), rng.uniform(0, room.height - h)
            return room.resize((width, height), Image.Resampling.BILINEAR, box=(x, y, x + w, y + h)), ROOM
        if self.photos and rng.random() < 0.4:
            photo = self.photos[int(rng.integers(len(self.photos)))]
            scale = rng.uniform(0.4, 1.0)
            w, h = max(8, int(photo.width * scale)), max(8, int(photo.height * scale))
            x, y = int(rng.integers(0, photo.width - w + 1)), int(rng.integers(0, photo.height - h + 1))
            return photo.resize((width, height), box=(x, y, x + w, y + h)), -2
        base = np.array(rng.uniform(20, 245, 3), np.float32)
        if rng.random() < 0.5:
            base = base.mean() + (base - base.mean()) * 0.3
        small = np.tile(base, (8, 14, 1)) + rng.normal(0, rng.uniform(0, 14), (8, 14, 1))
        field: NDArray[Any] = np.asarray(_to_image(small).resize((width, height), Image.Resampling.BICUBIC), np.float32)
        yy, xx = np.mgrid[0:height, 0:width].astype(np.float32)
        style = rng.random()
        if style < 0.25:  # stripes, boards
            angle, period = rng.uniform(0, np.pi), rng.uniform(6, 60)
            wave = np.sin((xx * np.cos(angle) + yy * np.sin(angle)) * 2 * np.pi / period)
            field = field + (np.sign(wave) if rng.random() < 0.5 else wave)[..., None] * rng.normal(0, 25, 3)
        elif style < 0.4:  # tiles
            period = rng.uniform(8, 50)
            lines = ((xx % period) < rng.uniform(1, 4)) | ((yy % period) < rng.uniform(1, 4))
            field = field + lines[..., None] * rng.normal(0, 40, 3)
        elif style < 0.55:  # gradient
            slope = (xx / width - 0.5) * rng.normal(0, 80) + (yy / height - 0.5) * rng.normal(0, 80)
            field = field + slope[..., None]
        elif style < 0.7:  # blotches
            blot = rng.normal(0, 30, (int(rng.integers(4, 40)), int(rng.integers(4, 60)), 3))
            laid = _to_image(blot + 128).resize((width, height), Image.Resampling.BILINEAR)
            field = field + np.asarray(laid, np.float32) - 128
        field = field + rng.standard_normal((height, width, 1), np.float32) * rng.uniform(0, 10)
        return _to_image(field), -1

    def _distort(self, picture: Image.Image, size: float) -> Image.Image:
        """A drawing with its longer side about `size` px, turned, stretched, lit, coloured, blurred."""
        rng = self.rng
        scale = size / max(picture.size)
        stretch = float(np.exp(rng.normal(0, 0.1)))
        w, h = max(5, round(picture.width * scale * stretch)), max(5, round(picture.height * scale / stretch))
        out = picture.resize((w, h), Image.Resampling.BILINEAR, reducing_gap=2.0)
        if rng.random() < 0.3:
            out = out.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        angle = rng.normal(0, 12) if rng.random() < 0.9 else rng.uniform(-180, 180)
        out = out.rotate(angle, Image.Resampling.BILINEAR, expand=True)
        alpha = out.getchannel("A")
        rgb = np.asarray(out.convert("RGB"), np.float32)
        gain = np.exp(rng.normal(0, 0.16)) * np.exp(rng.normal(0, 0.05, 3))
        rgb = (rgb - 128) * rng.uniform(0.75, 1.15) + 128
        if rng.random() < 0.3:
            grey = rgb.mean(-1, keepdims=True)
            rgb = grey + (rgb - grey) * rng.uniform(0.2, 1.3)
        if rng.random() < 0.3:  # light from one side
            ramp = np.linspace(-1, 1, rgb.shape[1])[None, :, None] * rng.uniform(-0.25, 0.25)
            rgb = np.asarray(rgb * (1 + ramp), np.float32)
        out = _to_image(rgb * gain + rng.normal(0, 8))
        out.putalpha(alpha)
        if rng.random() < 0.25:
            out = out.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, max(0.3, size / 40))))
        return out

    def _shadow(self, canvas: Image.Image, alpha: Image.Image, x: int, y: int) -> None:
        dark = Image.new("RGB", alpha.size, (0, 0, 0))
        dx, dy = self.rng.integers(-4, 5), self.rng.integers(0, 6)
        canvas.paste(dark, (x + int(dx), y + int(dy)), alpha.point(lambda a: a // 3))

    def _camera(self, canvas: Image.Image) -> NDArray[np.uint8]:
        """Exposure, blur, noise and compression of the whole picture."""
        rng = self.rng
        if rng.random() < 0.5:
            canvas = ImageEnhance.Brightness(canvas).enhance(float(np.exp(rng.normal(0, 0.15))))
        if rng.random() < 0.25:
            size = int(rng.choice([3, 5]))
            kernel = np.zeros((size, size))
            if rng.random() < 0.7:
                kernel[size // 2] = 1
            else:
                np.fill_diagonal(kernel, 1)
            canvas = canvas.filter(ImageFilter.Kernel((size, size), kernel.ravel().tolist()))
        if rng.random() < 0.6:
            buffer = io.BytesIO()
            canvas.save(buffer, "JPEG", quality=int(rng.integers(25, 92)))
            canvas = Image.open(buffer).convert("RGB")
        image: NDArray[Any] = np.asarray(canvas, np.float32)
        if rng.random() < 0.5:
            image = image + rng.standard_normal((HEIGHT, WIDTH, 1), np.float32) * rng.uniform(0, 6)
        out: NDArray[np.uint8] = np.clip(image, 0, 255).astype(np.uint8)
        return out


def per_patch(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Share of each patch that a mask `(HEIGHT, WIDTH)` holds: GRID."""
    h, w = GRID
    # Rows first, as bytes: numpy's mean of a reshaped mask takes ten times as long.
    rows = mask.view(np.uint8).reshape(h, STRIDE, WIDTH).sum(1, dtype=np.uint8)
    share: NDArray[np.float32] = rows.reshape(h, w, STRIDE).sum(2, dtype=np.float32) / np.float32(STRIDE**2)
    return share


def pack(image: NDArray[np.uint8], rows: Sequence[tuple[NDArray[np.float32], int, int, int]],
         scenery: NDArray[np.float32], outlined: bool = True) -> Scene:  # fmt: skip
    """A Scene of regions given as (share of each patch, label, drawing, teacher); slivers are left out."""
    least = ((LEAST_OBJECT if row[1] >= 0 or row[3] >= 0 else LEAST_SURFACE) for row in rows)
    kept = [row for row, enough in zip(rows, least, strict=True) if row[0].sum() >= enough][:MOST]
    h, w = GRID
    cover = np.zeros((MOST, h, w), np.float32)
    labels, drawings, teachers = np.full(MOST, -3, np.int64), np.full(MOST, -1, np.int64), np.full(MOST, -1, np.int64)
    centres, sizes = np.zeros((MOST, 2), np.float32), np.ones(MOST, np.float32)
    for i, (share, label, drawing, teacher) in enumerate(kept):
        cover[i], labels[i], drawings[i], teachers[i] = share, label, drawing, teacher
        total = share.sum()
        centres[i] = (share.sum(0) @ np.arange(w) / total, share.sum(1) @ np.arange(h) / total)
        sizes[i] = np.sqrt(total)
    return Scene(image, cover, labels, centres, sizes, drawings, scenery, teachers, np.array(outlined))


def _to_image(array: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray(np.clip(array, 0, 255).astype(np.uint8), "RGB")
