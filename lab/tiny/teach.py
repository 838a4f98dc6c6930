"""Training data of the second look: pictures in the detector's working size with boxes and masks of things.

walks       frames of synthetic walks of training seeds; every thing that is drawn in, with its exact mask
doors       photos of homes (doors.tar, without its boxes): what YOLOX-nano is sure of, outlined by GrabCut
caltech     photos of Caltech-101 that may be learned from: the same, and the one thing of each that GrabCut finds
pasted      things cut from Caltech's photos, laid on photos of homes at random sizes: every one with its exact mask
outlined    bottle_cup and cardboard_box of photos.tar, outlined by people

Never coco_cc or openimages5, which boxes.py and masks.py of benchmarks/ measure on.
"""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lab.photos import cutouts, grab, read_caltech, read_photos
from lab.tiny.teacher import Teacher
from lab.train.tren.folder import Folder
from lab.train.tren.world import SCENERY
from vidmem.encoders.tiny.detector import working_size
from vidmem.records import Float32

LEAST = 8.0
"""Minimum shorter side of a thing, in pixels of the working picture."""
OUTLINED_OF_PHOTO = 3
"""Maximum number of boxes of a photo that GrabCut outlines."""
OF_FOLDER = 24
"""Maximum number of photos of a Caltech folder."""
PASTED, PASTED_ON = (3, 9), 700
"""Range of the number of cut-outs on a photo, and number of such photos."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """image `(h, w, 3)` uint8 in working size. boxes `(n, 4)` float32 in its pixels. masks `(n, h/8, w/8)` float32, the
    share of each cell that the thing covers; outlined `(n,)`: whether anybody knows. complete: nothing else in it is a
    thing. source: where it is from."""

    image: NDArray[np.uint8]
    boxes: Float32
    masks: Float32
    outlined: NDArray[np.bool_]
    complete: bool
    source: str


def shares(masks: NDArray[np.bool_], width: int, height: int) -> Float32:
    """Masks `(n, H, W)` as the share of each cell of stride 8 of a `width` x `height` picture that they cover."""
    size = (width // 8, height // 8)
    rows = [np.asarray(Image.fromarray(m.astype(np.float32)).resize(size, Image.Resampling.BOX)) for m in masks]
    return np.stack(rows) if rows else np.zeros((0, height // 8, width // 8), np.float32)


def bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the bounding box of a mask."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


def lesson(
    picture: Image.Image,
    boxes: list[tuple[float, ...]],
    masks: list[NDArray[np.bool_] | None],
    complete: bool,
    source: str,
) -> Lesson:
    """Make a lesson from boxes and masks in pixels of the picture; a mask is None if unknown."""
    w, h = working_size(*picture.size)
    scale = np.array([w / picture.width, h / picture.height] * 2, np.float32)
    scaled = np.array(boxes, np.float32).reshape(-1, 4) * scale
    held = (scaled[:, 2:] - scaled[:, :2]).min(1, initial=np.inf) >= LEAST
    empty = np.zeros((picture.height, picture.width), np.bool_)
    known = [m if m is not None else empty for m, ok in zip(masks, held, strict=True) if ok]
    grid = shares(np.array(known, np.bool_).reshape(-1, *empty.shape), w, h)
    outlined = np.array([m is not None for m, ok in zip(masks, held, strict=True) if ok], np.bool_)
    image = np.asarray(picture.resize((w, h), Image.Resampling.BICUBIC))
    return Lesson(image, scaled[held], grid, outlined, complete, source)


def of_walks(folder: Path) -> Iterator[Lesson]:
    """Yield the frames that `render_worlds` of lab.train.tren.world wrote."""
    frames = Folder(folder)
    for i in range(len(frames)):
        sample = frames[i]
        masks = [m for m, name in zip(sample.masks, sample.names, strict=True) if name != SCENERY and m.any()]
        yield lesson(Image.fromarray(sample.image), [bounds(m) for m in masks], list(masks), True, "walks")


def of_doors(path: Path, teacher: Teacher) -> Iterator[Lesson]:
    with tarfile.open(path) as tar:
        for name in sorted(n for n in tar.getnames() if n.endswith(".jpg")):
            stream = tar.extractfile(name)
            assert stream is not None
            picture = Image.open(io.BytesIO(stream.read())).convert("RGB")
            boxes = teacher.boxes(picture)
            yield lesson(picture, boxes, outlines(picture, boxes), False, "doors")


def of_caltech(path: Path, teacher: Teacher) -> Iterator[Lesson]:
    count: Counter[str] = Counter()
    for photo in read_caltech(path):
        folder = Path(photo.name).parent.name
        if photo.held_out or count[folder] >= OF_FOLDER:
            continue
        count[folder] += 1
        picture = photo.image()
        boxes = teacher.boxes(picture)
        masks = outlines(picture, boxes)
        if thing := grab(photo):
            mask = np.asarray(Image.open(io.BytesIO(thing))) > 0
            box = bounds(mask)
            rest = [(b, m) for b, m in zip(boxes, masks, strict=True) if overlap(b, box) < 0.5]
            boxes, masks = [box, *(b for b, _ in rest)], [mask, *(m for _, m in rest)]
        if boxes:
            yield lesson(picture, boxes, masks, False, "caltech")


def of_pasted(caltech: Path, doors: Path, seed: int = 0) -> Iterator[Lesson]:
    """What lay there before is unknown, as in any photo; what a cut-out hides of another is not that one's."""
    rng = np.random.default_rng(seed)
    photos = [p for p in read_caltech(caltech) if not p.held_out]
    photos = [photos[i] for i in rng.permutation(len(photos))[:2000]]
    for photo in photos:
        photo.mask = grab(photo)
    things = [d.image for d in cutouts([p for p in photos if p.mask], most=20)]
    with tarfile.open(doors) as tar:
        names = sorted(n for n in tar.getnames() if n.endswith(".jpg"))
        for name in rng.permutation(names)[:PASTED_ON]:
            stream = tar.extractfile(str(name))
            assert stream is not None
            canvas = Image.open(io.BytesIO(stream.read())).convert("RGB")
            some = [things[i] for i in rng.integers(len(things), size=rng.integers(*PASTED))]
            canvas, masks = paste(canvas, some, rng)
            yield lesson(canvas, [bounds(m) for m in masks], list(masks), False, "pasted")


def paste(
    canvas: Image.Image, things: list[Image.Image], rng: np.random.Generator
) -> tuple[Image.Image, list[NDArray[np.bool_]]]:
    """Paste cut-outs on a picture; return it with the masks of their visible parts. A cut-out that is less than half
    visible is removed."""
    whole: list[int] = []
    masks: list[NDArray[np.bool_]] = []
    for thing in things:
        scale = float(np.exp(rng.uniform(np.log(0.08), np.log(0.7)))) * max(canvas.size) / max(thing.size)
        size = max(8, round(thing.width * scale)), max(8, round(thing.height * scale))
        laid = thing.resize(size, Image.Resampling.BILINEAR)
        if rng.random() < 0.5:
            laid = laid.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        left, top = (int(rng.integers(-s // 4, max(1, c - 3 * s // 4))) for s, c in zip(size, canvas.size, strict=True))
        alpha = Image.new("L", canvas.size)
        alpha.paste(laid.getchannel("A"), (left, top))
        canvas.paste(laid.convert("RGB"), (left, top), laid.getchannel("A"))
        mask = np.asarray(alpha) > 127
        masks = [m & ~mask for m in masks] + [mask]
        whole.append(int(mask.sum()))
    kept = [m for m, area in zip(masks, whole, strict=True) if area and m.sum() >= area / 2]
    return canvas, kept


def of_outlined(path: Path) -> Iterator[Lesson]:
    for photo in read_photos(path):
        if photo.source in ("bottle_cup", "cardboard_box") and photo.regions:
            masks = [m if r.polygons and m.any() else None for m, r in zip(photo.masks(), photo.regions, strict=True)]
            yield lesson(photo.image(), [r.box for r in photo.regions], masks, False, photo.source)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Return the intersection over union."""
    inter = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def outlines(picture: Image.Image, boxes: list[tuple[float, ...]]) -> list[NDArray[np.bool_] | None]:
    """Segment the largest boxes of a picture by GrabCut; None for other boxes and implausible results."""
    order = sorted(range(len(boxes)), key=lambda i: -(boxes[i][2] - boxes[i][0]) * (boxes[i][3] - boxes[i][1]))
    wanted = set(order[:OUTLINED_OF_PHOTO])
    return [grab_box(picture, box) if i in wanted else None for i, box in enumerate(boxes)]


def grab_box(picture: Image.Image, box: tuple[float, ...]) -> NDArray[np.bool_] | None:
    """Segment the thing in a box by GrabCut (Rother et al. 2004), on a crop of 96 pixels with a margin; None unless it
    is one piece that fills its box."""
    import cv2

    cv2.setNumThreads(1)
    x0, y0, x1, y1 = box
    margin = 0.25 * max(x1 - x0, y1 - y0)
    cx0, cy0 = max(0, int(x0 - margin)), max(0, int(y0 - margin))
    cx1, cy1 = min(picture.width, int(x1 + margin)), min(picture.height, int(y1 + margin))
    if min(x1 - x0, y1 - y0) < 24 or (cx1 - cx0) * (cy1 - cy0) < 1.15 * (x1 - x0) * (y1 - y0):
        return None  # too small, or no background in the crop
    crop = picture.crop((cx0, cy0, cx1, cy1))
    scale = 96 / max(crop.size)
    w, h = max(8, round(crop.width * scale)), max(8, round(crop.height * scale))
    small = np.asarray(crop.resize((w, h), Image.Resampling.BILINEAR))[..., ::-1].copy()
    sx, sy = w / crop.width, h / crop.height
    inner = (round((x0 - cx0) * sx), round((y0 - cy0) * sy), round((x1 - cx0) * sx), round((y1 - cy0) * sy))
    labels = np.full((h, w), cv2.GC_BGD, np.uint8)
    labels[inner[1] : inner[3], inner[0] : inner[2]] = cv2.GC_PR_FGD
    try:
        cv2.grabCut(small, labels, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return None
    held = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    opened = cv2.morphologyEx(held, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    closed = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(closed)
    if count < 2:
        return None
    mask = parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    share = mask.sum() / max(1, (inner[2] - inner[0]) * (inner[3] - inner[1]))
    if not 0.25 < share < 0.97 or overlap(bounds(mask), inner) < 0.75:
        return None
    whole = np.zeros((picture.height, picture.width), np.bool_)
    laid = Image.fromarray(mask.astype(np.uint8) * 255).resize(crop.size, Image.Resampling.BILINEAR)
    whole[cy0:cy1, cx0:cx1] = np.asarray(laid) > 127
    return whole
