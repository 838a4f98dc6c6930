"""What the labels of a video are written to: label pictures, COCO, text, a video to look at, a plot.

Each writer takes one Scene at a time, so that a long video needs no more memory than a short one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, Self, TextIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..address import printable
from ..closing import Closing
from ..errors import MediaError, UsageError
from ..geometry import nearest
from ..query.labels import LabelSet
from ..query.parse import UNLABELLED
from ..query.scenes import Areas, Scene
from ..records import Frame
from ..render.drawing import PAPER, colours, fitted, font_for, write
from ..store import SourceRow
from ..timecode import NS, clock
from .rle import box, segmentation
from .textmask import encode, from_classes

MOST_IN_PNG = 253
"""Labels that VSPW's masks can hold: 0 is unlabelled, label i is i + 1, and 254 and 255 mean "ignore"."""


class Writer(Protocol):
    """Takes the scenes of one video in order."""

    def add(self, scene: Scene) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


def frame_name(index: int) -> str:
    """As VSPW numbers its pictures."""
    return f"{index:08d}"


class LabelPictures(Closing):
    """FOLDER/data/VIDEO/mask/00000000.png and on, FOLDER/labels.txt, FOLDER/VIDEO.txt with the times: VSPW's layout."""

    def __init__(self, folder: str, source: SourceRow, labels: LabelSet) -> None:
        if len(labels) > MOST_IN_PNG:
            raise UsageError(
                f"label pictures hold {MOST_IN_PNG} labels and there are {len(labels)}; write COCO or text, or fewer"
            )
        self._size = source.height, source.width
        name = Path(source.uri).stem or "video"
        self._folder = Path(folder) / "data" / name / "mask"
        with _writing(folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            (Path(folder) / "labels.txt").write_text("\n".join(labels.names) + "\n", "utf-8")
            self._times: TextIO | None = open(Path(folder) / f"{name}.txt", "w", encoding="utf-8")  # noqa: SIM115
        self._count = 0

    def add(self, scene: Scene) -> None:
        pixels = nearest((scene.labels + 1).astype(np.uint8), *self._size)  # bytes before they are many
        path = self._folder / f"{frame_name(self._count)}.png"
        assert self._times is not None
        with _writing(str(path)):
            Image.fromarray(pixels).save(path, compress_level=1)
            self._times.write(f"{frame_name(self._count)}\t{scene.t_ns}\n")
        self._count += 1

    def close(self) -> None:
        if self._times is not None:
            self._times.close()
            self._times = None


class CocoFile(Closing):
    """One COCO file: an image per frame, an annotation per label in it, compressed run lengths. Whole or not at all."""

    def __init__(self, path: str, source: SourceRow, labels: LabelSet) -> None:
        self._path, self._size = path, (source.height, source.width)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._head = {"info": {"source": source.uri}}
        self._categories = [
            {"id": i, "name": name, "supercategory": "thing" if thing else "stuff"}
            for i, (name, thing) in enumerate(zip(labels.names, labels.things.tolist(), strict=True), 1)
        ]
        self._broken = False

    def add(self, scene: Scene) -> None:
        h, w = self._size
        number = len(self._images) + 1
        name = f"{frame_name(number - 1)}.jpg"
        self._images.append({"id": number, "file_name": name, "width": w, "height": h, "t_ns": str(scene.t_ns)})
        pixels = scene.at(h, w)
        for label in np.unique(scene.labels[scene.labels != UNLABELLED]).tolist():
            mask = pixels == label
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "iscrowd": 0,
                    "area": int(mask.sum()),
                    "bbox": box(mask),
                    "segmentation": segmentation(mask),
                }
            )

    def __exit__(self, *error: object) -> None:
        self._broken = error[0] is not None
        self.close()

    def close(self) -> None:
        if self._broken or not self._path:
            return
        document = {
            **self._head,
            "images": self._images,
            "annotations": self._annotations,
            "categories": self._categories,
        }
        path, self._path = self._path, ""
        with _writing(path):
            Path(f"{path}.part").write_text(json.dumps(document), "utf-8")
            os.replace(f"{path}.part", path)


class TextLines(Closing):
    """JSON lines: the time of each frame and its labels as the text of a mask (textmask.py)."""

    def __init__(self, path: str, source: SourceRow, labels: LabelSet, grid: int) -> None:
        self._labels, self._grid, self._path = labels, grid, path
        with _writing(path):
            self._file: TextIO | None = open(path, "w", encoding="utf-8")  # noqa: SIM115

    def add(self, scene: Scene) -> None:
        text = encode(from_classes(scene.labels, self._labels.names, (self._grid, self._grid)))
        assert self._file is not None
        with _writing(self._path):
            self._file.write(json.dumps({"t_ns": str(scene.t_ns), "t_s": scene.t_ns / NS, "mask": text}) + "\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def overlay(frames: Iterable[Frame], scenes: Iterable[Scene], labels: LabelSet) -> Iterator[Frame]:
    """The frames that were labelled, with their labels in colour and the names of the largest ones."""
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
    held = pixels != UNLABELLED
    out = image.copy()
    out[held] = (image[held].astype(np.uint16) + paint[pixels[held]]) // 2
    picture = Image.fromarray(out)
    draw = ImageDraw.Draw(picture)
    size = max(12, image.shape[0] // 40)
    shares = scene.shares(len(names))
    y_scale, x_scale = image.shape[0] / scene.labels.shape[0], image.shape[1] / scene.labels.shape[1]
    for label in np.argsort(-shares)[:8]:
        if shares[label] < 0.01:
            break
        y, x = np.nonzero(scene.labels == label)
        middle = np.argmin((y - y.mean()) ** 2 + (x - x.mean()) ** 2)  # a cell of it, also where it is bent
        at = (x[middle] + 0.5) * x_scale, (y[middle] + 0.5) * y_scale
        draw.text(
            at,
            printable(names[label]),
            font=font_for(names[label], size),
            anchor="mm",
            fill=(255, 255, 255),
            stroke_width=2,
            stroke_fill=(20, 20, 20),
        )
    return np.asarray(picture)


PLOTTED = 10
"""Labels with an area of their own in a plot; the rest is one."""


def area_plot(areas: Areas, names: Sequence[str], title: str) -> Image.Image:
    """The share of the frame that each label has, over time, one on top of the other."""
    width, height, left, top, bottom, legend = 960, 460, 56, 44, 40, 190
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    write(draw, (left, 10), fitted(title, 20, width - 2 * left), 20)
    right, base = width - legend - 16, height - bottom
    draw.rectangle((left, top, right, base), fill=(232, 232, 228))
    ends = (int(areas.t_ns[0]), int(areas.t_ns[-1])) if len(areas.t_ns) else (0, 0)
    scale = (right - left) / max(ends[1] - ends[0], 1)
    x = left + (areas.t_ns - ends[0]) * scale
    order = np.argsort(-areas.shares.sum(axis=0), kind="stable") if len(x) else np.empty(0, np.intp)
    order = np.array([i for i in order if areas.shares[:, i].any()], np.intp)
    parts = [(names[i], areas.shares[:, i], tuple(map(int, colours(len(names))[i]))) for i in order[:PLOTTED]]
    if len(order) > PLOTTED:
        parts.append(("others", areas.shares[:, order[PLOTTED:]].sum(axis=1), (150, 150, 150)))
    floor = np.zeros(len(x))
    for n, (name, share, colour) in enumerate(parts):
        ceiling = np.minimum(floor + share, 1)
        edge = [(a, base - b * (base - top)) for a, b in zip(x, ceiling, strict=True)]
        under = [(a, base - b * (base - top)) for a, b in zip(x[::-1], floor[::-1], strict=True)]
        if len(edge) > 1:
            draw.polygon([*edge, *under], fill=colour)
        elif edge:
            draw.line([edge[0], under[0]], fill=colour, width=3)
        floor = ceiling
        y = top + 26 * n
        draw.rectangle((right + 14, y + 3, right + 30, y + 17), fill=colour)
        write(draw, (right + 36, y), fitted(name, 14, width - right - 44), 14)
    for level in (0.0, 0.5, 1.0):
        write(draw, (left - 8, base - level * (base - top)), f"{level:.0%}", 14, anchor="rm")
    write(draw, (left, base + 8), clock(ends[0]), 14)
    write(draw, (right, base + 8), clock(ends[1]), 14, anchor="ra")
    return sheet


def write_all(scenes: Iterable[Scene], writers: Sequence[Writer]) -> Iterator[Scene]:
    """The scenes, each written by all writers as it passes; the writers are closed at the end, whatever it is."""
    with ExitStack() as stack:
        for writer in writers:
            stack.enter_context(writer)
        for scene in scenes:
            for writer in writers:
                writer.add(scene)
            yield scene


class _writing:
    """Turns what the file system raises into a MediaError."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: Any) -> None:
        if isinstance(error[1], OSError):
            cause = error[1].strerror or str(error[1])
            raise MediaError(f"it cannot be written ({cause}); check folder and disk: {self._path}") from None
