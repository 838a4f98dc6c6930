"""Files for the labels of a video: label pictures, COCO, masks as text.

Each writer takes one Scene at a time, so that a long video needs no more memory than a short one.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..closing import Closing
from ..errors import UsageError
from ..geometry import nearest
from ..query.labels import LabelSet
from ..query.parse import UNLABELLED, Scene
from ..store import SourceRow
from ..timecode import NS
from .files import WholeText, replacing, writing
from .rle import box, segmentation
from .textmask import encode, from_classes

MAX_PNG_LABELS = 253
"""Labels that VSPW's masks can hold: 0 is unlabelled, label i is i + 1, and 254 and 255 mean "ignore"."""


class Writer(Closing):
    """Writes the scenes of one video, which it takes in order."""

    @abstractmethod
    def add(self, scene: Scene) -> None:
        """Write the next scene."""


class LabelPictures(Writer):
    """Writes a PNG per frame in VSPW's layout.

    FOLDER/data/VIDEO/mask/00000000.png and so on, FOLDER/labels.txt, and FOLDER/VIDEO.txt with the times in ns.
    """

    def __init__(self, folder: str, source: SourceRow, labels: LabelSet) -> None:
        if len(labels) > MAX_PNG_LABELS:
            raise UsageError(
                f"label pictures hold {MAX_PNG_LABELS} labels and there are {len(labels)}; give fewer, or write COCO "
                "or text"
            )
        self._size = source.height, source.width
        name = Path(source.uri).stem or "video"
        self._folder = Path(folder) / "data" / name / "mask"
        with writing(folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        with replacing(str(Path(folder) / "labels.txt")) as part:
            Path(part).write_text("\n".join(labels.names) + "\n", "utf-8")
        self._times = WholeText(str(Path(folder) / f"{name}.txt"))
        self._count = 0

    def add(self, scene: Scene) -> None:
        pixels = nearest((scene.labels + 1).astype(np.uint8), *self._size)  # as bytes before they are enlarged
        name = _frame_name(self._count)
        with replacing(str(self._folder / f"{name}.png"), flush=False) as part:
            Image.fromarray(pixels).save(part, compress_level=1)
        self._times.write(f"{name}\t{scene.t_ns}\n")
        self._count += 1

    def __exit__(self, *error: object) -> None:
        self._times.end(*error)

    def close(self) -> None:
        self._times.end()


class CocoFile(Writer):
    """Writes one COCO file: an image per frame, and an annotation with compressed run lengths per label in it.

    The file is written at the end, and not at all after an error.
    """

    def __init__(self, path: str, source: SourceRow, labels: LabelSet) -> None:
        self._path, self._size = path, (source.height, source.width)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._head = {"info": {"source": source.uri}}
        self._categories = [
            {"id": i, "name": name, "supercategory": "thing" if thing else "stuff"}
            for i, (name, thing) in enumerate(zip(labels.names, labels.things.tolist(), strict=True), 1)
        ]
        self._closed = False

    def add(self, scene: Scene) -> None:
        h, w = self._size
        number = len(self._images) + 1
        name = f"{_frame_name(number - 1)}.jpg"
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
        self._closed = self._closed or error[0] is not None
        self.close()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        document = {
            **self._head,
            "images": self._images,
            "annotations": self._annotations,
            "categories": self._categories,
        }
        with replacing(self._path) as part:
            Path(part).write_text(json.dumps(document), "utf-8")


class TextLines(Writer):
    """Writes JSON lines: the time of each frame, and its labels as the text of a mask (textmask.py)."""

    def __init__(self, path: str, labels: LabelSet, grid: int) -> None:
        self._labels, self._grid = labels, grid
        self._file = WholeText(path)

    def add(self, scene: Scene) -> None:
        text = encode(from_classes(scene.labels, self._labels.names, (self._grid, self._grid)))
        self._file.write(json.dumps({"t_ns": str(scene.t_ns), "t_s": scene.t_ns / NS, "mask": text}) + "\n")

    def __exit__(self, *error: object) -> None:
        self._file.end(*error)

    def close(self) -> None:
        self._file.end()


def write_all(scenes: Iterable[Scene], writers: Sequence[Writer]) -> Iterator[Scene]:
    """Yield the scenes after all writers have written them; close the writers at the end, also after an error."""
    with ExitStack() as stack:
        for writer in writers:
            stack.enter_context(writer)
        for scene in scenes:
            for writer in writers:
                writer.add(scene)
            yield scene


def _frame_name(index: int) -> str:
    """The name of a frame as VSPW numbers its pictures."""
    return f"{index:08d}"
