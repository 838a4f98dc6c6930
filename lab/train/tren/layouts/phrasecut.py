"""PhraseCut (VGPhraseCut_v0): phrases and the outlines of what they mean in pictures of Visual Genome.

    FOLDER/refer_train.json     a list of {"image_id", "phrase", "Polygons": one list of polygons for each instance}
    FOLDER/images/IMAGE_ID.jpg

Every instance is a region whose name is the phrase. One thing that several phrases mean is a region for each of them.
Polygons of fewer than three points outline nothing and are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from vidmem.errors import MediaError
from vidmem.export.coco import Masks, Sample, open_picture, require_pycocotools, segmentation_fault

from .reading import decoded, first_there, read_json, reduce_mask, reduce_picture, stacked

FILE = "refer_train.json"


class PhraseCut:
    """PhraseCut's training phrases in the layout above."""

    def __init__(self, folder: Path) -> None:
        require_pycocotools()
        self.path, self.images = first_there([folder / FILE], "the file of phrases"), folder / "images"
        tasks = read_json(self.path, "the file of phrases")
        if not isinstance(tasks, list):
            self._fail("the file", "is not a list of tasks")
        rows: dict[int, list[tuple[str, list[list[float]], str]]] = {}
        for place, task in enumerate(tasks):
            where = f"[{place}]"
            if not isinstance(task, dict) or not isinstance(task.get("image_id"), int):
                self._fail(f"{where}.image_id", "is missing or not a number")
            if not isinstance(task.get("phrase"), str) or not task["phrase"].strip():
                self._fail(f"{where}.phrase", "is missing or empty")
            if not isinstance(task.get("Polygons"), list):
                self._fail(f"{where}.Polygons", "is missing or not a list")
            for number, polygons in enumerate(task["Polygons"]):
                at = f"{where}.Polygons[{number}]"
                if rings := self._rings(at, polygons):
                    rows.setdefault(task["image_id"], []).append((at, rings, task["phrase"].strip()))
        if not rows:
            self._fail("the file", "outlines nothing")
        self.rows = sorted(rows.items())
        self.names = tuple(sorted({phrase for _, regions in self.rows for *_, phrase in regions}))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        image, regions = self.rows[index]
        path = self.images / f"{image}.jpg"
        picture = open_picture(path)
        shown = reduce_picture(picture)
        size = (shown.shape[1], shown.shape[0])
        masks: list[Masks] = [
            reduce_mask(decoded(at, rings, picture.size, self._fail), size) for at, rings, _ in regions
        ]
        return Sample(shown, stacked(masks, size), tuple(phrase for *_, phrase in regions), str(path))

    def _rings(self, where: str, polygons: Any) -> list[list[float]]:
        """Return the polygons of an instance in COCO's form, x and y in turn."""
        try:
            rings = [np.asarray(ring, np.float64).reshape(-1, 2).ravel().tolist() for ring in polygons if len(ring) > 2]
        except (TypeError, ValueError):
            self._fail(where, "is not a list of polygons of x, y pairs")
        if rings and (fault := segmentation_fault(rings, 0, 0)):
            self._fail(f"{where}{fault[0]}", fault[1])
        return rings

    def _fail(self, where: str, what: str) -> NoReturn:
        raise MediaError(f"{where} {what}; correct the phrases: {self.path}")
