"""A video with its labels in colour and the names of the largest ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..address import printable
from ..query.labels import LabelSet
from ..query.parse import UNLABELLED, Scene
from ..records import Frame
from .drawing import RIM, colours, font_for

MAX_NAMES = 8
"""Names written into a frame, of the largest labels."""
MIN_NAMED_SHARE = 0.01
"""Labels with a smaller share of the frame get no name."""
_SHADOW = (20, 20, 20)


def overlay(frames: Iterable[Frame], scenes: Iterable[Scene], labels: LabelSet) -> Iterator[Frame]:
    """Paint the labels onto the frames that have some; the other frames are left out. Both are in order of time."""
    paint = colours(len(labels))
    waiting = iter(scenes)
    scene = next(waiting, None)
    for frame in frames:
        while scene is not None and scene.t_ns < frame.t_ns:
            scene = next(waiting, None)
        if scene is None:
            return
        if scene.t_ns == frame.t_ns:
            yield Frame(_painted(frame.image, scene, labels.names, paint), frame.t_ns, frame.index)


def _painted(
    image: NDArray[np.uint8], scene: Scene, names: Sequence[str], paint: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    pixels = scene.at(*image.shape[:2])
    labelled = pixels != UNLABELLED
    out = image.copy()
    out[labelled] = (image[labelled].astype(np.uint16) + paint[pixels[labelled]]) // 2
    picture = Image.fromarray(out)
    draw = ImageDraw.Draw(picture)
    size = max(12, image.shape[0] // 40)
    shares = scene.shares(len(names))
    y_scale, x_scale = image.shape[0] / scene.labels.shape[0], image.shape[1] / scene.labels.shape[1]
    for label in np.argsort(-shares)[:MAX_NAMES]:
        if shares[label] < MIN_NAMED_SHARE:
            break
        y, x = np.nonzero(scene.labels == label)
        centre = np.argmin((y - y.mean()) ** 2 + (x - x.mean()) ** 2)  # a cell of the label even if it is bent
        at = (x[centre] + 0.5) * x_scale, (y[centre] + 0.5) * y_scale
        name, font = printable(names[label]), font_for(names[label], size)
        draw.text(at, name, font=font, anchor="mm", fill=RIM, stroke_width=2, stroke_fill=_SHADOW)
    return np.asarray(picture)
