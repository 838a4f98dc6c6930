"""Images with labelled masks, for instruction data: from a memory, COCO annotations, or VSPW's folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import MediaError, UsageError
from ..media import known_photo, open_known
from ..picture_reading import opened
from ..query.labels import LabelSet
from ..query.parse import Parse, Scene
from ..query.picture import load_picture
from ..store import Store
from ..text_files import read_text
from ..timecode import NS
from .coco import Coco, require_pycocotools
from .files import inside, replacing
from .refine import ImagePredictor, refine_classes
from .textmask import Grid, TextMask, from_classes, from_masks, numbered

JPEG_QUALITY = 92
"""Of frames taken from a video."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """An image file and what is in it.

    Attributes:
        path: Of the file.
        mask: Its labels.
        key: Identifies the image, wherever its file lies.
        present: All names that are in it, also those that the mask has lost because they are smaller than a cell.
    """

    path: str
    mask: TextMask
    key: str
    present: frozenset[str]


def from_video(
    store: Store, parsed: Parse, folder: Path, every_ns: int, grid: Grid, predictor: ImagePredictor | None = None
) -> Iterator[LabelledImage]:
    """Save frames of an indexed video as JPEG, with the labels of their regions. Frames without a label are left out.

    Args:
        store: The memory.
        parsed: The labels of the video's tracks.
        folder: Where to write the frames; made if it does not exist.
        every_ns: Minimum time between frames, in ns.
        grid: Rows and columns of the masks.
        predictor: Redraws the borders of the labels in the picture (refine.py). Where its masks overlap, the smaller
            one is on top.

    Raises:
        MediaError: The video is gone, or a file cannot be written.
    """
    if not parsed.source.address.exists():
        raise MediaError(f"the video is no longer there, put it back to take pictures from it: {parsed.source.uri}")
    folder.mkdir(parents=True, exist_ok=True)
    next_ns = -(1 << 62)
    with open_known(parsed.source) as source:
        for scene in parsed.frames(store):
            mask = from_classes(scene.labels, parsed.labels.names, grid)
            if scene.t_ns < next_ns or not mask.labels:
                continue
            next_ns = scene.t_ns + every_ns
            path = folder / f"{Path(parsed.source.uri).stem}-{parsed.source.id}-{scene.t_ns * 1000 // NS:010d}.jpg"
            image = source.frame_at(scene.t_ns).image
            if predictor is not None:
                mask = _refined_mask(predictor, image, scene, parsed, grid)
            with replacing(str(path), "the picture", flush=False) as part:
                Image.fromarray(image).save(part, quality=JPEG_QUALITY)
            yield LabelledImage(str(path), mask, path.name, _names(parsed, scene))


def from_photos(
    store: Store, parsed: Parse, grid: Grid, missing: list[str], predictor: ImagePredictor | None = None
) -> Iterator[LabelledImage]:
    """The photos of an indexed folder with the labels of their regions; see `from_video`.

    The photos are not copied. The paths of those whose file is gone are appended to `missing`.
    """
    for scene in parsed.frames(store):
        mask = from_classes(scene.labels, parsed.labels.names, grid)
        if not mask.labels:
            continue
        files = store.picture_paths(parsed.source.id, [scene.t_ns]).get(scene.t_ns, [])
        held = store.picture(parsed.source.id, scene.t_ns)
        path = None if held is None else known_photo(files, held.digest)
        if path is None:
            missing.append(files[0] if files else parsed.source.uri)
            continue
        if predictor is not None:
            mask = _refined_mask(predictor, np.asarray(load_picture(path)), scene, parsed, grid)
        yield LabelledImage(path, mask, path, _names(parsed, scene))


def _names(parsed: Parse, scene: Scene) -> frozenset[str]:
    used = np.unique(scene.labels)
    return frozenset(parsed.labels.names[i] for i in used[used >= 0].tolist())


def _refined_mask(
    predictor: ImagePredictor, image: NDArray[np.uint8], scene: Scene, parsed: Parse, grid: Grid
) -> TextMask:
    masks, classes = refine_classes(predictor, image, scene.at(*image.shape[:2]))
    return from_masks(masks, [parsed.labels.names[i] for i in classes], grid)


def from_coco(annotations: Path, images: Path | None, grid: Grid, instances: bool) -> Iterator[LabelledImage]:
    """The images of a COCO file. instances: number things of the same name. Raises MediaError when it is not valid."""
    require_pycocotools()
    data = Coco(annotations, images)
    for index in range(len(data)):
        sample = data[index]
        names = [name or "" for name in sample.names]
        mask = from_masks(sample.masks, numbered(names) if instances else names, grid)
        yield LabelledImage(sample.source, mask, data.rows[index][0], data.shown[index])


def from_vspw(folder: Path, split: str | None, labels: LabelSet, grid: Grid) -> Iterator[LabelledImage]:
    """The images of VSPW, of all videos or those that FOLDER/SPLIT.txt names.

    The layout is FOLDER/data/VIDEO/{origin/*.jpg,mask/*.png}. In the masks 0, 254 and 255 are unlabelled, and i is
    class i - 1.

    Raises:
        MediaError: The layout is different, a picture has no mask, or their sizes differ.
        UsageError: `labels` has no name for a class.
    """
    for video, picture in vspw_pictures(folder, split):
        classes = _classes(video / "mask" / f"{picture.stem}.png", picture)
        if classes.max(initial=-1) >= len(labels):
            raise UsageError(
                f"class {int(classes.max())} is in the mask and there are {len(labels)} labels; give the labels "
                f"of this data set with `labels`: {video / 'mask' / picture.stem}.png"
            )
        mask = from_classes(classes, labels.names, grid)
        present = frozenset(labels.names[i] for i in np.unique(classes[classes >= 0]).tolist())
        yield LabelledImage(str(picture), mask, f"{video.name}/{picture.name}", present)


def vspw_pictures(
    folder: Path, split: str | None, bad: Callable[[str], None] | None = None
) -> Iterator[tuple[Path, Path]]:
    """The folder of each video in VSPW's layout, with each of its pictures.

    bad: is told of videos without pictures, and they are left out; by default the first one is an error.

    Raises MediaError when the layout is different.
    """
    for video in _videos(folder, split):
        pictures = sorted(p for p in (video / "origin").glob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
        if not pictures:
            message = f"the video has no pictures in origin/; fetch it again: {video}"
            if bad is None:
                raise MediaError(message)
            bad(message)
        yield from ((video, picture) for picture in pictures)


def _videos(folder: Path, split: str | None) -> Sequence[Path]:
    data = folder / "data"
    if not data.is_dir():
        raise MediaError(f"the folder has no data/, so this is not VSPW's layout: {folder}")
    if split is None:
        return sorted(p for p in data.iterdir() if p.is_dir())
    names = read_text(folder / f"{split}.txt", "the split cannot").split()
    unknown = [name for name in names if inside(data, name) is None]
    unknown += [name for name in names if not os.path.isdir(data / name)]
    if unknown:
        raise MediaError(f"{split}.txt names {unknown[0]!r}, which is not in data/: {folder}")
    return [data / name for name in names]


def _classes(path: Path, picture: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    what, again = "the mask of a picture", "fetch it again"
    with opened(path, what=what, remedy=again) as mask, opened(picture) as shown:
        if mask.image.size != shown.image.size:
            sizes = f"{mask.image.width}x{mask.image.height}, the picture {shown.image.width}x{shown.image.height}"
            raise MediaError(f"the mask is {sizes}; fetch them again: {path}")
        if mask.image.mode not in ("L", "P"):
            mode = mask.image.mode
            raise MediaError(f"the mask has mode {mode}, not one number per pixel; convert it to grey: {path}")
        values = np.asarray(mask.load(more=8)).astype(np.int64)
    values[values >= 254] = 0
    return values - 1
