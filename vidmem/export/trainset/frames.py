"""Pictures of a memory with their labels as files, so that a training set can be made of them as of any data set.

FOLDER/images/NAME.jpg are frames of videos; photos stay where they are. FOLDER/labels/NAME.png has the label of each
pixel: 0 is none, 1 the first of the list. Files that are there are not written again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import MediaError
from ...media import known_photo, open_known
from ...query.parse import UNLABELLED, Parse, Scene
from ...query.picture import load_picture
from ...store import Store
from ...timecode import NS
from ..files import replacing, writing
from ..refine import ImagePredictor, refine_classes
from .content import Labelled, Unit
from .refcoco import Bad

JPEG_QUALITY = 92


def memory_units(
    store: Store, parsed: Parse, folder: Path, every_ns: int, predictor: ImagePredictor | None, bad: Bad
) -> Iterator[Unit]:
    """Save the labels, and frames of a video, of one source, and give a unit for each picture with a label.

    Args:
        store: The memory.
        parsed: The labels of the source.
        folder: Of the training set.
        every_ns: Minimum time between frames of a video, in ns.
        predictor: Redraws the borders of the labels (refine.py); the smaller label is on top.
        bad: Is told of photos whose file is gone.

    Raises:
        MediaError: The video is gone, or a file cannot be written.
    """
    for part in ("images", "labels"):
        with writing(str(folder / part), "the folder"):
            (folder / part).mkdir(parents=True, exist_ok=True)
    if parsed.source.kind.single_pictures:
        yield from _photos(store, parsed, folder, predictor, bad)
    else:
        yield from _frames(store, parsed, folder, every_ns, predictor)


def _frames(
    store: Store, parsed: Parse, folder: Path, every_ns: int, predictor: ImagePredictor | None
) -> Iterator[Unit]:
    if not parsed.source.address.exists():
        raise MediaError(f"the video is no longer there, put it back to take pictures from it: {parsed.source.uri}")
    next_ns = -(1 << 62)
    with open_known(parsed.source) as source:
        for scene in parsed.frames(store):
            if scene.t_ns < next_ns or not (scene.labels != UNLABELLED).any():
                continue
            next_ns = scene.t_ns + every_ns
            name = f"{Path(parsed.source.uri).stem}-{parsed.source.id}-{scene.t_ns * 1000 // NS:010d}"
            picture, labels = folder / "images" / f"{name}.jpg", folder / "labels" / f"{name}.png"
            if not (picture.exists() and labels.exists()):
                image = source.frame_at(scene.t_ns).image
                _save_labels(labels, _pixels(scene, image, predictor))
                with replacing(str(picture), "the picture", flush=False) as part:
                    Image.fromarray(image).save(part, quality=JPEG_QUALITY)
            yield Unit(f"memory {name}", Labelled(str(picture), str(labels), 1, parsed.labels.names))


def _photos(store: Store, parsed: Parse, folder: Path, predictor: ImagePredictor | None, bad: Bad) -> Iterator[Unit]:
    for scene in parsed.frames(store):
        if not (scene.labels != UNLABELLED).any():
            continue
        files = store.picture_paths(parsed.source.id, [scene.t_ns]).get(scene.t_ns, [])
        held = store.picture(parsed.source.id, scene.t_ns)
        path = None if held is None else known_photo(files, held.digest)
        if path is None:
            bad(f"the photo is no longer there, or is another one: {files[0] if files else parsed.source.uri}")
            continue
        labels = folder / "labels" / f"{Path(path).stem}-{hashlib.sha256(path.encode()).hexdigest()[:12]}.png"
        if not labels.exists():
            try:
                image = np.asarray(load_picture(path))
            except MediaError as error:
                bad(str(error))
                continue
            _save_labels(labels, _pixels(scene, image, predictor))
        yield Unit(f"photo {path}", Labelled(path, str(labels), 1, parsed.labels.names, upright=True))


def _pixels(scene: Scene, image: NDArray[np.uint8], predictor: ImagePredictor | None) -> NDArray[np.integer]:
    """The label of each pixel `(H, W)`, UNLABELLED for none."""
    pixels: NDArray[np.integer] = scene.at(*image.shape[:2])
    if predictor is None:
        return pixels
    masks, classes = refine_classes(predictor, image, pixels)
    out = np.full(pixels.shape, UNLABELLED, np.int32)
    for index in np.argsort(-masks.sum(axis=(1, 2)), kind="stable"):
        out[masks[index]] = classes[index]
    return out


def _save_labels(path: Path, pixels: NDArray[np.integer]) -> None:
    values = np.where(pixels == UNLABELLED, 0, pixels.astype(np.int64) + 1)
    wide = values.max(initial=0) >= 255
    with replacing(str(path), "the label picture", flush=False) as part:
        Image.fromarray(values.astype(np.uint16 if wide else np.uint8)).save(part, compress_level=1)
