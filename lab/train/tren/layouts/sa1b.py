"""SA-1B: masks without names.

    FOLDER/sa_1.jpg, FOLDER/sa_1.json     or in folders of FOLDER, as unpacked: FOLDER/sa_000000/sa_1.jpg

A JSON file has {"image": {...}, "annotations": [{"segmentation": COCO's run lengths, ...}]}. It is read when its
picture is needed: there are 11 million.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from vidmem.errors import MediaError
from vidmem.export.coco import Masks, Sample, open_picture, require_pycocotools, segmentation_fault

from .reading import decoded, read_json, reduce_mask, reduce_picture, stacked


class Sa1b:
    """SA-1B in the layout above. No region has a name."""

    names: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        require_pycocotools()
        if not folder.is_dir():
            raise MediaError(f"the folder is missing; add it, or correct its name: {folder}")
        parts = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
        self.files: list[Path] = []
        for part in parts:
            held = {path.name for path in part.iterdir() if path.name.startswith("sa_")}
            for name in sorted(held):
                if name.endswith(".json"):
                    self.files.append(part / name)
                    if (picture := name.removesuffix(".json") + ".jpg") not in held:
                        raise MediaError(f"the picture {picture} of these masks is missing; add it: {part / name}")
        if not self.files:
            raise MediaError(f"there is no file sa_NUMBER.json in this folder or the folders in it: {folder}")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        file = self.files[index]

        def fail(where: str, what: str) -> NoReturn:
            raise MediaError(f"{where} {what}; fetch the masks again: {file}")

        document = read_json(file, "the file of masks")
        annotations = document.get("annotations") if isinstance(document, dict) else None
        if not isinstance(annotations, list):
            fail("annotations", "is missing or not a list")
        path = file.with_suffix(".jpg")
        picture = open_picture(path)
        shown = reduce_picture(picture)
        size = (shown.shape[1], shown.shape[0])
        masks: list[Masks] = []
        for place, item in enumerate(annotations):
            where = f"annotations[{place}].segmentation"
            segmentation = item.get("segmentation") if isinstance(item, dict) else None
            if not isinstance(segmentation, dict):
                fail(where, "is missing or not run lengths")
            if fault := segmentation_fault(segmentation, *picture.size):
                fail(f"{where}{fault[0]}", fault[1])
            masks.append(reduce_mask(decoded(where, segmentation, picture.size, fail), size))
        return Sample(shown, stacked(masks, size), (None,) * len(masks), str(path))
