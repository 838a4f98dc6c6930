"""Open Images (V5 to V7): object segmentation.

    FOLDER/train-annotations-object-segmentation.csv    or validation-..., test-..., one of them; or in annotations/
    FOLDER/class-descriptions-boxable.csv               or oidv7-class-descriptions-boxable.csv, or without -boxable
    FOLDER/train/IMAGEID.jpg                            pictures; or in images/
    FOLDER/train-masks/IMAGEID_m0CLASS_BOXID.png        masks; or in masks/, or as unpacked, in train-masks-0/ to -f/

A mask is a picture of any size, stretched over its photograph: what is not 0 is inside. Masks of pictures that are not
in the folder are left out, since few people fetch them all.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from vidmem.errors import MediaError
from vidmem.export.coco import Masks, Sample, open_picture

from .reading import first_there, reduce_mask, reduce_picture, stacked

SUFFIX = "-annotations-object-segmentation.csv"
CLASSES = tuple(f"{oid}class-descriptions{boxable}.csv" for boxable in ("-boxable", "") for oid in ("", "oidv7-"))


class OpenImages:
    """Open Images' masks in the layout above, each with the name of its class in lower case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        table = self._table()
        self.split = table.name.removesuffix(SUFFIX)
        names = _classes(first_there((table.parent / name for name in CLASSES), "the table of classes"))
        self.images = first_there((folder / name for name in (self.split, "images")), "the folder of pictures")
        here = {path.stem for path in self.images.iterdir() if path.suffix == ".jpg"}
        rows: dict[str, list[tuple[str, str]]] = {}
        try:
            with table.open(encoding="utf-8", newline="") as stream:
                reader = csv.DictReader(stream)
                lacking = [
                    name for name in ("MaskPath", "ImageID", "LabelName") if name not in (reader.fieldnames or ())
                ]
                if lacking:
                    raise MediaError(f"the column {lacking[0]} is missing; fetch the table again: {table}")
                for row in reader:
                    if row["ImageID"] not in here:
                        continue
                    mask, label = row["MaskPath"], row["LabelName"]
                    if not mask or Path(mask).name != mask:
                        raise MediaError(f"line {reader.line_num} has no file name as MaskPath ({mask!r}): {table}")
                    if label not in names:
                        raise MediaError(f"line {reader.line_num}: the class {label!r} has no description: {table}")
                    rows.setdefault(row["ImageID"], []).append((mask, names[label]))
        except (OSError, UnicodeError, csv.Error) as error:
            raise MediaError(f"the table of masks cannot be read ({error}); fetch it again: {table}") from None
        if not rows:
            raise MediaError(f"no picture in {self.images} has a mask in this table; add pictures: {table}")
        self.rows = sorted(rows.items())
        self.names = tuple(sorted({name for _, masks in self.rows for _, name in masks}))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        image, regions = self.rows[index]
        path = self.images / f"{image}.jpg"
        shown = reduce_picture(open_picture(path))
        size = (shown.shape[1], shown.shape[0])
        masks: list[Masks] = []
        for name, _ in regions:
            mask = open_picture(self._mask(name))
            masks.append(reduce_mask(np.asarray(mask.convert("L")), size) != 0)
        return Sample(shown, stacked(masks, size), tuple(name for _, name in regions), str(path))

    def _table(self) -> Path:
        found = [
            path for part in (self.folder, self.folder / "annotations") for path in sorted(part.glob(f"*{SUFFIX}"))
        ]
        train = [path for path in found if path.name == f"train{SUFFIX}"]
        if not found:
            first_there([self.folder / f"train{SUFFIX}"], "the table of masks")
        if len(found) > 1 and not train:
            raise MediaError(f"several tables of masks lie here, and none is train{SUFFIX}; keep one: {self.folder}")
        return (train or found)[0]

    def _mask(self, name: str) -> Path:
        folders = (f"{self.split}-masks", "masks", f"{self.split}-masks-{name[0]}", f"masks/{name[0]}")
        for folder in folders:
            if (path := self.folder / folder / name).is_file():
                return path
        raise MediaError(f"a mask is in none of {', '.join(folders)}; add it: {self.folder / folders[0] / name}")


def _classes(path: Path) -> dict[str, str]:
    """Read the names of the classes by their codes, such as /m/01g317."""
    out: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for number, row in enumerate(csv.reader(stream), 1):
                if len(row) != 2 or not row[1].strip():
                    raise MediaError(f"line {number} is not a code and a name; fetch the table again: {path}")
                if row[0] != "LabelName":  # the head of the newer tables
                    out[row[0]] = row[1].strip().lower()
    except (OSError, UnicodeError, csv.Error) as error:
        raise MediaError(f"the table of classes cannot be read ({error}); fetch it again: {path}") from None
    return out
