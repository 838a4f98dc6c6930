"""Training pictures made of photographs: mosaics of views at many scales, and cut-outs to paste like drawings."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...records import Box
from ...world.drawings import Drawing
from ..scenes import GRID, HEIGHT, WIDTH, Scene, pack, per_patch
from .names import Names
from .photos import Photo, cut

GRIDS = ((1, 1), (1, 2), (2, 2), (2, 3), (2, 4), (3, 4))
"""Rows and columns of a mosaic; the first is one photo as a whole frame."""
SHARES = {"caltech": 0.48, "grocery": 0.12, "clips": 0.08, "cardboard_box": 0.04, "annotated": 0.28}
"""How often a view is of these, as far as there are such; "annotated" are all others."""
CUT_SIDE = 192
WHOLE_RIM = 0.1
"""Share of a photo's sides left out where its one thing has no outline."""


class PhotoScenes:
    """An endless, seeded stream of scenes of photos. names: labels are indices of its classes. crops: boxes, owners and
    answers of the teacher (see teacher.py); the row of an answer is the `teacher` of a region. outlines_only: leave out
    photos without any outline, and in others the names of things that have but a box."""

    def __init__(self, photos: Sequence[Photo], crops: dict[str, NDArray[np.floating]], names: Names, seed: int,
                 outlines_only: bool = False) -> None:  # fmt: skip
        self.photos, self.rng, self.outlines_only = photos, np.random.default_rng(seed), outlines_only
        self.labels = [[-2 if (c := names.find(r.name)) is None else c for r in p.regions] for p in photos]
        self.boxes = crops["boxes"]
        self.of_photo: list[list[int]] = [[] for _ in photos]
        for row, owner in enumerate(crops["owners"].tolist()):
            self.of_photo[int(owner)].append(row)
        by_name: dict[str, dict[str, list[int]]] = {}
        for i, photo in enumerate(photos):
            if outlines_only and not photo.mask and not any(r.polygons for r in photo.regions):
                continue
            kind = photo.source if photo.source in SHARES else "annotated"
            name = photo.regions[0].name if photo.whole else photo.name
            by_name.setdefault(kind, {}).setdefault(name, []).append(i)
        self.groups: dict[str, list[list[int]]] = {kind: list(names.values()) for kind, names in by_name.items()}

    def pick(self, kind: str = "") -> int:
        """A photo: a source by its share, then a name evenly, as far as the source has one name a photo. Raises
        KeyError."""
        if not kind:
            if not (kinds := sorted(self.groups)):
                raise KeyError("no photos to make scenes of")
            shares = np.array([SHARES[k] for k in kinds])
            kind = kinds[int(self.rng.choice(len(kinds), p=shares / shares.sum()))]
        groups = self.groups[kind]
        group = groups[int(self.rng.integers(len(groups)))]
        return group[int(self.rng.integers(len(group)))]

    def _whole(self) -> str:
        """A source of photos with boxes."""
        boxed = [kind for kind in ("annotated", "cardboard_box") if kind in self.groups]
        return boxed[int(self.rng.random() < 0.1) % len(boxed)] if boxed else ""

    def scene(self) -> Scene:
        """The next one."""
        rng = self.rng
        rows, cols = GRIDS[int(rng.integers(len(GRIDS)))]
        single = rows * cols == 1
        canvas = Image.new("RGB", (WIDTH, HEIGHT))
        out: list[tuple[NDArray[np.float32], int, int, int]] = []
        ys = self._edges(rows, HEIGHT)
        complete = single
        for y0, y1 in itertools.pairwise(ys):
            xs = self._edges(cols, WIDTH)
            for x0, x1 in itertools.pairwise(xs):
                i = self.pick(self._whole() if single else "")
                complete &= all(r.polygons for r in self.photos[i].regions) and bool(self.photos[i].regions)
                self._view(canvas, i, (x0, y0, x1, y1), out, whole=single)
        image = self._develop(canvas)
        if rng.random() < 0.5:
            image = image[:, ::-1].copy()
            out = [(share[:, ::-1].copy(), *rest) for share, *rest in out]  # type: ignore[misc]
        return pack(image, out, np.zeros(GRID, np.float32), outlined=complete)

    def _edges(self, count: int, length: int) -> list[int]:
        inner = (np.arange(1, count) + self.rng.uniform(-0.25, 0.25, count - 1)) * length / count
        return [0, *(int(v) for v in inner), length]

    def _view(self, canvas: Image.Image, i: int, cell: tuple[int, int, int, int],
              out: list[tuple[NDArray[np.float32], int, int, int]], whole: bool) -> None:  # fmt: skip
        rng, photo = self.rng, self.photos[i]
        w, h = photo.size
        cw, ch = cell[2] - cell[0], cell[3] - cell[1]
        crops = self.of_photo[i]
        focus = (0.0, 0.0, float(w), float(h))
        if crops and rng.random() < 0.5 and not whole:
            focus = tuple(self.boxes[crops[int(rng.integers(len(crops)))]].tolist())
        window = self._window(focus, (w, h), cw / ch)
        picture = photo.image()
        canvas.paste(picture.resize((cw, ch), Image.Resampling.BILINEAR, box=window, reducing_gap=2.0), cell[:2])
        sx, sy = cw / (window[2] - window[0]), ch / (window[3] - window[1])

        def place(box: Sequence[float]) -> tuple[float, float, float, float]:
            return (cell[0] + (box[0] - window[0]) * sx, cell[1] + (box[1] - window[1]) * sy,
                    cell[0] + (box[2] - window[0]) * sx, cell[1] + (box[3] - window[1]) * sy)  # fmt: skip

        # What the teacher saw, where all of it is in view.
        slack = 4.0
        seen = 0
        for row in crops:
            b = self.boxes[row]
            inside = b[0] >= window[0] - slack and b[1] >= window[1] - slack and b[2] <= window[2] + slack
            if inside and b[3] <= window[3] + slack and seen < 3:
                out.append((_rectangle(place(b), cell), -2, -1, row))
                seen += 1
        masks = photo.masks() if photo.mask or any(r.polygons for r in photo.regions) else None
        for k, (region, label) in enumerate(zip(photo.regions, self.labels[i], strict=True)):
            if label < 0 or (self.outlines_only and not photo.mask and not region.polygons):
                continue
            if masks is not None and (photo.mask or region.polygons):
                laid = Image.fromarray(masks[k].astype(np.uint8) * 255).resize((cw, ch), Image.Resampling.BILINEAR,
                                                                               box=window)  # fmt: skip
                full = np.zeros((HEIGHT, WIDTH), np.bool_)
                full[cell[1] : cell[3], cell[0] : cell[2]] = np.asarray(laid) > 127
                share = per_patch(full)
                left = share.sum() * 64 / max(1.0, float(masks[k].sum()) * sx * sy)
            else:
                x0, y0, x1, y1 = place(middle(photo) if photo.whole else region.box)
                share = _rectangle((x0, y0, x1, y1), cell)
                left = share.sum() * 64 / max(1.0, (x1 - x0) * (y1 - y0))
            if left > 0.35:  # less of it may not be enough to tell
                out.append((share, label, -1, -1))

    def _window(self, focus: Sequence[float], size: tuple[int, int], ratio: float) -> Box:
        """The part of a photo to show: `focus` grown towards the ratio of the cell as far as the photo goes."""
        x0, y0, x1, y1 = focus
        fw, fh = x1 - x0, y1 - y0
        grow = float(np.exp(self.rng.uniform(0, 0.25)))
        fw, fh = min(size[0], fw * grow), min(size[1], fh * grow)
        if fw / fh < ratio:
            fw = min(size[0], fh * ratio)
            fh = max(fh if self.rng.random() < 0.5 else 0, min(fh, fw / ratio * 1.5))
        else:
            fh = min(size[1], fw / ratio)
            fw = max(fw if self.rng.random() < 0.5 else 0, min(fw, fh * ratio * 1.5))
        cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
        left = float(np.clip(cx - fw / 2, 0, size[0] - fw))
        top = float(np.clip(cy - fh / 2, 0, size[1] - fh))
        return left, top, left + fw, top + fh

    def _develop(self, canvas: Image.Image) -> NDArray[np.uint8]:
        """Exposure, colour, noise and compression."""
        rng = self.rng
        if rng.random() < 0.4:
            buffer = io.BytesIO()
            canvas.save(buffer, "JPEG", quality=int(rng.integers(30, 92)))
            canvas = Image.open(buffer).convert("RGB")
        image: NDArray[np.float32] = np.asarray(canvas, np.float32)
        gain = np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.05, 3))
        image = (image - 128) * np.float32(rng.uniform(0.75, 1.2)) + 128
        if rng.random() < 0.15:
            grey = image.mean(-1, keepdims=True)
            image = grey + (image - grey) * np.float32(rng.uniform(0, 1))
        out: NDArray[np.uint8] = np.clip(image * gain.astype(np.float32) + np.float32(rng.normal(0, 6)), 0, 255).astype(
            np.uint8
        )
        return out


def middle(photo: Photo) -> Box:
    """Where a photo of one thing, which nobody outlined, has it."""
    w, h = photo.size
    return WHOLE_RIM * w, WHOLE_RIM * h, (1 - WHOLE_RIM) * w, (1 - WHOLE_RIM) * h


def _rectangle(box: Sequence[float], cell: Sequence[int]) -> NDArray[np.float32]:
    full = np.zeros((HEIGHT, WIDTH), np.bool_)
    x0, y0 = max(round(box[0]), cell[0]), max(round(box[1]), cell[1])
    x1, y1 = min(round(box[2]), cell[2]), min(round(box[3]), cell[3])
    full[y0:y1, x0:x1] = True
    return per_patch(full)


def cutouts(photos: Sequence[Photo], most: int = 40, seed: int = 0) -> list[Drawing]:
    """Things cut from photos, at most so many of a name and CUT_SIDE pixels a side, as drawings without a glyph."""
    count: dict[str, int] = {}
    out = []
    for i in np.random.default_rng(seed).permutation(len(photos)).tolist():
        photo = photos[i]
        for k, region in enumerate(photo.regions):
            if count.get(region.name, 0) >= most:
                continue
            picture = cut(photo, k)
            if picture is not None:
                picture.thumbnail((CUT_SIDE, CUT_SIDE))
                count[region.name] = count.get(region.name, 0) + 1
                out.append(Drawing(region.name, (), "", picture))
    return out
