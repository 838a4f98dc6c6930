"""Mapillary Vistas (v2.0, v1.2): street scenes with instances.

    FOLDER/config_v2.0.json                     "labels": [{"readable": "Bird", "evaluate": true, ...}], in order
    FOLDER/training/images/NAME.jpg
    FOLDER/training/v2.0/instances/NAME.png     16 bit: label * 256 + instance; for stuff the instance is 0

Every value is one region, named by its label in lower case. Labels that are not evaluated (void) are left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidmem.errors import MediaError
from vidmem.export.coco import Masks, Sample, open_picture

from .reading import first_there, read_json, reduce_mask, reduce_picture, stacked

VERSIONS = ("v2.0", "v1.2")
INSTANCES = 256
"""Values for each label."""


class Mapillary:
    """The training part of Mapillary Vistas in the layout above."""

    def __init__(self, folder: Path) -> None:
        self.config = first_there((folder / f"config_{v}.json" for v in VERSIONS), "the list of labels")
        version = self.config.stem.removeprefix("config_")
        self.images = first_there([folder / "training" / "images"], "the folder of pictures")
        self.instances = first_there([folder / "training" / version / "instances"], "the folder of instances")
        self.labels = self._labels()
        self.stems = sorted(path.stem for path in self.images.iterdir() if path.suffix == ".jpg")
        if not self.stems:
            raise MediaError(f"there is no picture (.jpg) in this folder; add them: {self.images}")
        there = {path.stem for path in self.instances.iterdir() if path.suffix == ".png"}
        for stem in self.stems:
            if stem not in there:
                raise MediaError(f"the instances of a picture are missing; add {stem}.png: {self.instances}")
        self.names = tuple(sorted({name for name in self.labels if name}))

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, index: int) -> Sample:
        path, file = self.images / f"{self.stems[index]}.jpg", self.instances / f"{self.stems[index]}.png"
        picture, numbers = open_picture(path), open_picture(file)
        if numbers.mode not in ("I;16", "I;16B", "I"):
            raise MediaError(f"instances have 16 bits a pixel, these have the mode {numbers.mode}: {file}")
        if numbers.size != picture.size:
            have, want = (f"{w}x{h}" for w, h in (numbers.size, picture.size))
            raise MediaError(f"the instances are {have}, their picture {want}; fetch them again: {file}")
        shown = reduce_picture(picture)
        size = (shown.shape[1], shown.shape[0])
        values = reduce_mask(np.asarray(numbers), size)
        masks: list[Masks] = []
        names: list[str] = []
        for value in np.unique(values).tolist():
            label = value // INSTANCES
            if label >= len(self.labels):
                raise MediaError(f"the value {value} is of the label {label}, which is not in {self.config}: {file}")
            if name := self.labels[label]:
                masks.append(values == value)
                names.append(name)
        return Sample(shown, stacked(masks, size), tuple(names), str(path))

    def _labels(self) -> list[str | None]:
        """Read the names by number, None for labels that are not evaluated."""
        document = read_json(self.config, "the list of labels")
        labels = document.get("labels") if isinstance(document, dict) else None
        if not isinstance(labels, list) or not labels:
            raise MediaError(f"labels is missing or empty; fetch the file again: {self.config}")
        out: list[str | None] = []
        for place, label in enumerate(labels):
            name = label.get("readable") if isinstance(label, dict) else None
            if not isinstance(name, str) or not name.strip():
                raise MediaError(f"labels[{place}].readable is missing; fetch the file again: {self.config}")
            out.append(name.strip().lower() if label.get("evaluate", True) else None)
        return out
