"""Pictures with known masks, for instruction data: from an indexed video, COCO annotations, or VSPW's folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..errors import MediaError, UsageError
from ..media import open_source
from ..media.base import check_size
from ..query.labels import LabelSet
from ..query.picture import load_picture
from ..query.scenes import Parse, Scene
from ..store import Store
from ..timecode import NS
from .refine import ImagePredictor, refine_classes
from .textmask import TextMask, from_classes, from_masks, numbered

Grid = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Annotated:
    """picture: the path of the file. mask: what is in it."""

    picture: str
    mask: TextMask


def from_memory(
    store: Store, parsed: Parse, folder: Path, every_ns: int, grid: Grid, predictor: ImagePredictor | None = None
) -> Iterator[Annotated]:
    """Frames of an indexed source, at least every_ns apart, saved as JPEG in `folder`, with the labels that their
    regions got. predictor: draws their borders anew in the picture (refine.py); where its masks overlap the smaller one
    is on top. Frames without a label are left out. Raises MediaError when the source is gone or a file cannot be
    written."""
    if not parsed.source.address.exists():
        raise MediaError(f"the video is no longer there, put it back to take pictures from it: {parsed.source.uri}")
    folder.mkdir(parents=True, exist_ok=True)
    due = -(1 << 62)
    with open_source(parsed.source.address) as source:
        for scene in parsed.frames(store):
            mask = from_classes(scene.labels, parsed.labels.names, grid)
            if scene.t_ns < due or not mask.labels:
                continue
            due = scene.t_ns + every_ns
            path = folder / f"{Path(parsed.source.uri).stem}-{parsed.source.id}-{scene.t_ns * 1000 // NS:010d}.jpg"
            image = source.frame_at(scene.t_ns).image
            if predictor is not None:
                mask = _refined(predictor, image, scene, parsed, grid)
            try:
                Image.fromarray(image).save(path, quality=92)
            except OSError as error:
                raise MediaError(f"the picture cannot be written ({error.strerror or error}): {path}") from None
            yield Annotated(str(path), mask)


def from_pictures(
    store: Store, parsed: Parse, grid: Grid, missing: list[str], predictor: ImagePredictor | None = None
) -> Iterator[Annotated]:
    """As `from_memory`, of a folder of single pictures, which are used where they lie. missing: takes those whose file
    is gone."""
    for scene in parsed.frames(store):
        mask = from_classes(scene.labels, parsed.labels.names, grid)
        if not mask.labels:
            continue
        files = store.picture_paths(parsed.source.id, [scene.t_ns]).get(scene.t_ns, [])
        path = next((file for file in files if Path(file).is_file()), None)
        if path is None:
            missing.append(files[0] if files else parsed.source.uri)
            continue
        if predictor is not None:
            mask = _refined(predictor, np.asarray(load_picture(path)), scene, parsed, grid)
        yield Annotated(path, mask)


def _refined(predictor: ImagePredictor, image: NDArray[np.uint8], scene: Scene, parsed: Parse, grid: Grid) -> TextMask:
    masks, there = refine_classes(predictor, image, scene.at(*image.shape[:2]))
    return from_masks(masks, [parsed.labels.names[i] for i in there], grid)


def from_coco(annotations: Path, images: Path | None, grid: Grid, instances: bool) -> Iterator[Annotated]:
    """The pictures of a COCO file. instances: number things of one name. Raises MediaError for what is wrong in it."""
    from .coco import Coco, require_pycocotools

    require_pycocotools()
    data = Coco(annotations, images)
    for index in range(len(data)):
        sample = data[index]
        names = [name or "" for name in sample.names]
        mask = from_masks(sample.masks, numbered(names) if instances else names, grid)
        yield Annotated(sample.source, mask)


def from_vspw(folder: Path, split: str | None, labels: LabelSet, grid: Grid) -> Iterator[Annotated]:
    """The pictures of VSPW: FOLDER/data/VIDEO/{origin/*.jpg,mask/*.png}, of all videos or those that FOLDER/SPLIT.txt
    names. In its masks 0, 254 and 255 are nothing, and i is class i - 1.

    Raises MediaError for a folder of another layout, a picture without its mask, or sizes that differ. UsageError for a
    class that `labels` does not have.
    """
    videos = _videos(folder, split)
    for video in videos:
        pictures = sorted(p for p in (video / "origin").glob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
        if not pictures:
            raise MediaError(f"the video has no pictures in origin/; fetch it again: {video}")
        for picture in pictures:
            classes = _classes(video / "mask" / f"{picture.stem}.png", picture)
            if classes.max(initial=-1) >= len(labels):
                raise UsageError(
                    f"class {int(classes.max())} is in the mask and there are {len(labels)} labels; give those of "
                    f"this data set with `labels`: {video / 'mask' / picture.stem}.png"
                )
            yield Annotated(str(picture), from_classes(classes, labels.names, grid))


def _videos(folder: Path, split: str | None) -> Sequence[Path]:
    data = folder / "data"
    if not data.is_dir():
        raise MediaError(f"there is no folder data/ in it, so this is not VSPW's layout: {folder}")
    if split is None:
        return sorted(p for p in data.iterdir() if p.is_dir())
    try:
        names = (folder / f"{split}.txt").read_text("utf-8").split()
    except OSError as error:
        raise MediaError(f"the split cannot be read ({error.strerror}): {folder / split}.txt") from None
    missing = [name for name in names if not (data / name).resolve().is_relative_to(data.resolve())]
    missing += [name for name in names if not (data / name).is_dir()]
    if missing:
        raise MediaError(f"{split}.txt names {missing[0]!r}, which is not in data/: {folder}")
    return [data / name for name in names]


def _classes(path: Path, picture: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    try:
        with Image.open(path) as mask, Image.open(picture) as shown:
            check_size(*mask.size, str(path))
            if mask.size != shown.size:
                raise MediaError(
                    f"the mask is {mask.width}x{mask.height}, the picture {shown.width}x{shown.height}; "
                    f"fetch them again: {path}"
                )
            if mask.mode not in ("L", "P"):
                raise MediaError(f"the mask has mode {mask.mode}, want one number a pixel: {path}")
            values = np.asarray(mask).astype(np.int64)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        cause = getattr(error, "strerror", None) or "not a picture"
        raise MediaError(f"the mask of a picture cannot be read ({cause}); fetch it again: {path}") from None
    values[values >= 254] = 0
    return values - 1
