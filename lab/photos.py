"""Photographs with named regions for training and measuring, read from tars. The file name decides what is held out.

Held out: the last third of each Caltech-101 folder, and every third photo of each source in photos.tar. They are for
measuring alone.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lab.names import caltech_name, grocery_name
from lab.synthetic.drawings import Drawing

LONGEST = 384
"""Maximum side of a photo in pixels; larger ones are scaled down."""
CUT_SIDE = 192
"""Maximum side of a cut-out in pixels."""
WHOLE_RIM = 0.1
"""Margin, as a share of the sides, around the thing in a photo that shows one thing without an outline."""
CLUTTER = "BACKGROUND_Google"
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A named region. box: x0, y0, x1, y1 in pixels of the photo. name: "" if unknown. polygons: lists of x, y; may be
    empty."""

    box: tuple[float, float, float, float]
    name: str
    polygons: tuple[tuple[float, ...], ...] = ()


@dataclass(slots=True, eq=False)
class Photo:
    """A photo with its regions. jpeg: the file. mask: PNG of its one thing as found by GrabCut; empty if not computed.
    whole: True if the one region is the whole photo, not a box drawn by a person."""

    source: str
    name: str
    jpeg: bytes
    size: tuple[int, int]
    regions: list[Region]
    held_out: bool
    whole: bool = False
    mask: bytes = b""

    def image(self) -> Image.Image:
        return Image.open(io.BytesIO(self.jpeg)).convert("RGB")

    def masks(self) -> list[Mask]:
        """Return one mask `(H, W)` for each region, from GrabCut, its polygons, or its box."""
        if self.mask:
            return [np.asarray(Image.open(io.BytesIO(self.mask))) > 0]
        out = []
        for region in self.regions:
            canvas = Image.new("L", self.size)
            draw = ImageDraw.Draw(canvas)
            for polygon in region.polygons:
                draw.polygon(polygon, fill=255)
            if not region.polygons:
                draw.rectangle(region.box, fill=255)
            out.append(np.asarray(canvas) > 0)
        return out


def _small(data: bytes) -> tuple[bytes, tuple[int, int], float]:
    image: Image.Image = Image.open(io.BytesIO(data))
    scale = LONGEST / max(image.size)
    if scale >= 1 and image.mode == "RGB":
        return data, image.size, 1.0
    image = image.convert("RGB")
    if scale < 1:
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92)
    return out.getvalue(), image.size, min(scale, 1.0)


def read_caltech(path: Path) -> Iterator[Photo]:
    """Read Caltech-101. Each photo has one region, the whole photo, named after its folder."""
    by_folder: dict[str, list[str]] = {}
    with tarfile.open(path) as tar:
        for name in sorted(n for n in tar.getnames() if n.endswith(".jpg")):
            by_folder.setdefault(Path(name).parent.name, []).append(name)
        for folder, files in sorted(by_folder.items()):
            if folder == CLUTTER:
                continue
            for i, name in enumerate(files):
                stream = tar.extractfile(name)
                assert stream is not None
                jpeg, size, _ = _small(stream.read())
                region = Region((0, 0, *size), caltech_name(folder))
                yield Photo("caltech", name, jpeg, size, [region], i >= len(files) * 2 // 3, whole=True)


def read_photos(path: Path) -> Iterator[Photo]:
    """Read the photos of every COCO-style JSON in photos.tar."""
    with tarfile.open(path) as tar:
        for entry in sorted(n for n in tar.getnames() if n.endswith(".json")):
            stream = tar.extractfile(entry)
            assert stream is not None
            content = json.load(stream)
            if not isinstance(content, dict) or "annotations" not in content:
                continue
            source = Path(entry).stem
            said = grocery_name if source == "grocery" else str
            names = {c["id"]: said(c["name"]) for c in content["categories"]}
            by_image: dict[int, list[dict[str, Any]]] = {}
            for a in content["annotations"]:
                if not a.get("iscrowd"):
                    by_image.setdefault(a["image_id"], []).append(a)
            for i, image in enumerate(sorted(content["images"], key=lambda x: str(x["file_name"]))):
                file = tar.extractfile(f"{Path(entry).parent}/images/{image['file_name']}")
                assert file is not None
                jpeg, size, scale = _small(file.read())
                regions = [_region(a, names, scale) for a in by_image.get(image["id"], [])]
                yield Photo(source, image["file_name"], jpeg, size, regions, i % 3 == 2, source == "grocery")


def _region(a: dict[str, Any], names: dict[int, str], scale: float) -> Region:
    x, y, w, h = (v * scale for v in a["bbox"])
    shapes = a.get("segmentation") or []
    polygons = tuple(tuple(v * scale for v in s) for s in shapes if isinstance(s, list) and len(s) >= 6)
    return Region((x, y, x + w, y + h), names[a["category_id"]], polygons)


def grab(photo: Photo) -> bytes:
    """Segment the thing in the middle of a photo by GrabCut (Rother et al. 2004). Returns a PNG mask, b"" if the result
    is implausible."""
    import cv2

    cv2.setNumThreads(1)
    image = photo.image()
    small = image.copy()
    small.thumbnail((112, 112))
    w, h = small.size
    labels = np.full((h, w), cv2.GC_PR_FGD, np.uint8)
    rim = max(2, round(0.03 * min(w, h)))
    labels[:rim], labels[-rim:], labels[:, :rim], labels[:, -rim:] = (cv2.GC_BGD,) * 4
    models = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        cv2.grabCut(np.asarray(small)[..., ::-1].copy(), labels, (0, 0, 1, 1), *models, 2, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return b""
    found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(found)
    if count < 2:
        return b""
    best = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    mask = cv2.morphologyEx((parts == best).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    bw, bh = (int(v) for v in stats[best, 2:4])
    area, solid = mask.mean(), mask.sum() / max(1, bw * bh)
    middle = mask[h // 4 : 3 * h // 4, w // 4 : 3 * w // 4].mean()
    if not 0.08 < area < 0.8 or middle < 0.3 or solid < 0.3 or max(bw / w, bh / h) < 0.4:
        return b""
    out = io.BytesIO()
    Image.fromarray(mask * np.uint8(255)).resize(image.size, Image.Resampling.BILINEAR).point(
        lambda v: 255 * (v > 127)
    ).save(out, "PNG")
    return out.getvalue()


def cut(photo: Photo, region: int) -> Image.Image | None:
    """Cut out a region as an RGBA picture with a soft edge; None if it is too small or has no outline."""
    from PIL import ImageFilter

    if not photo.mask and not photo.regions[region].polygons:
        return None
    mask = photo.masks()[region]
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(ys) < 24 or len(xs) < 24:
        return None
    box = int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1
    out = photo.image().crop(box).convert("RGBA")
    alpha = Image.fromarray(mask.astype(np.uint8) * 255).crop(box)
    out.putalpha(alpha.filter(ImageFilter.MinFilter(3)).filter(ImageFilter.GaussianBlur(0.7)))
    return out


def cutouts(photos: Sequence[Photo], most: int = 40, seed: int = 0) -> list[Drawing]:
    """Cut things from photos, at most `most` of a name, as drawings without a glyph."""
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


def middle(photo: Photo) -> tuple[float, float, float, float]:
    """Return the assumed box of the thing in a photo of one thing: x0, y0, x1, y1 in its pixels."""
    w, h = photo.size
    return WHOLE_RIM * w, WHOLE_RIM * h, (1 - WHOLE_RIM) * w, (1 - WHOLE_RIM) * h
