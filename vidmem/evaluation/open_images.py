"""The point labels of OpenImages V7, as they are published: a CSV of points, one of names, and a folder of pictures.

oidv7-val-annotations-point-labels.csv    ImageId,X,Y,Label,EstimatedYesNo,Source,YesVotes,NoVotes,UnsureVotes,TextLabel
oidv7-class-descriptions.csv              LabelName,DisplayName
IMAGES/<ImageId>.jpg

A point says of one class whether it is there: yes, no or unsure. Of each picture, the classes count that have a point
with yes (GEM, section 4.1: classes that are in the picture). Points with unsure, and points of a free text instead of a
class, do not count.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MediaError
from ..limits import open_regular
from .points import ClassPoints

WANTED = ("ImageId", "X", "Y", "Label", "EstimatedYesNo")
"""Columns that are read. Others are ignored."""
MAX_CELL = 1 << 16
"""More characters in a cell are damage."""


@dataclass(frozen=True, slots=True)
class PointedPicture:
    """A picture and its points by class. points: the name of each is its class's id, such as /m/01g317."""

    image: str
    path: Path
    points: tuple[ClassPoints, ...]


class PointFile:
    """The points of a file, in compact arrays: some 70 bytes each while the file is read.

    Attributes:
        images: Ids of the pictures that have a class, in the order of the file.
        classes: Ids of all classes that are in some picture, sorted.
    """

    def __init__(self, path: str | Path, folder: str | Path) -> None:
        """Read the file once.

        Args:
            path: The CSV.
            folder: Of the pictures.

        Raises:
            MediaError: The file cannot be read, a column is missing, a value is wrong, or no picture has a class. The
                message names the line.
        """
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise MediaError(f"the folder of the pictures does not exist; check the path: {self.folder}")
        numbers: dict[str, int] = {}
        labels: dict[str, int] = {}
        image, label, said, x, y = array("i"), array("i"), array("b"), array("f"), array("f")
        for line, row in _rows(Path(path), WANTED):
            name, across, down, class_id, yes = row
            answer = _ANSWERS.get(yes.strip().lower())
            if answer is None or not name or Path(name).name != name:
                raise _wrong(line, path)
            if answer < 0 or not class_id:
                continue
            try:
                place = float(across), float(down)
            except ValueError:
                raise _wrong(line, path) from None
            if not (0 <= place[0] <= 1 and 0 <= place[1] <= 1):
                raise _wrong(line, path)
            image.append(numbers.setdefault(name, len(numbers)))
            label.append(labels.setdefault(class_id, len(labels)))
            said.append(answer)
            x.append(place[0])
            y.append(place[1])
        self._label, self._said = np.array(label, np.int32), np.array(said, bool)
        self._xy = np.stack([np.array(x, np.float32), np.array(y, np.float32)], axis=1)
        owner = np.array(image, np.int32)
        self._order = np.argsort(owner, kind="stable")
        self._starts = np.searchsorted(owner[self._order], np.arange(len(numbers) + 1))
        self._ids = list(labels)
        self._number = numbers
        there = set(owner[self._said].tolist())
        self.images = [name for name, number in numbers.items() if number in there]
        if not self.images:
            raise MediaError(f"no point of the file says that a class is there; fetch it again: {path}")
        self.classes = sorted(self._ids[i] for i in np.unique(self._label[self._said]).tolist())

    def picture(self, image: str) -> PointedPicture:
        """The points of one picture."""
        number = self._number[image]
        rows = self._order[self._starts[number] : self._starts[number + 1]]
        found = []
        for label in np.unique(self._label[rows][self._said[rows]]).tolist():
            own = rows[self._label[rows] == label]
            found.append(ClassPoints(self._ids[label], self._xy[own], self._said[own]))
        return PointedPicture(image, self.folder / f"{image}.jpg", tuple(found))


_ANSWERS = {"yes": 1, "no": 0, "unsure": -1}


def read_descriptions(path: str | Path) -> dict[str, str]:
    """The display name of each class, by its id. The file may have a header.

    Raises MediaError when the file cannot be read, or a line is not an id and a name.
    """
    out: dict[str, str] = {}
    for line, row in _table(Path(path)):
        if len(row) != 2 or not row[0] or not row[1].strip():
            raise MediaError(f"line {line} is not the id of a class and its name; fetch the file again: {path}")
        if not (line == 1 and row == ["LabelName", "DisplayName"]):
            out[row[0]] = row[1].strip()
    if not out:
        raise MediaError(f"the file has no class; fetch it again: {path}")
    return out


def _rows(path: Path, wanted: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """The wanted columns of a CSV with a header, with the number of each line."""
    rows = _table(path)
    _, header = next(rows, (1, []))
    header = [name.strip() for name in header]
    if missing := [name for name in wanted if name not in header]:
        raise MediaError(f"the column {missing[0]} is missing; is this a file of point labels of OpenImages V7? {path}")
    columns = [header.index(name) for name in wanted]
    for line, row in rows:
        if len(row) != len(header):
            raise _wrong(line, path)
        yield line, [row[column] for column in columns]


def _table(path: Path) -> Iterator[tuple[int, list[str]]]:
    before: Any = csv.field_size_limit(MAX_CELL)
    try:
        with TextIOWrapper(open_regular(path), "utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            for row in reader:
                if row:
                    yield reader.line_num, row
    except OSError as error:
        raise MediaError(f"the file cannot be read ({error.strerror}); check the path: {path}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise MediaError(f"the file is not a CSV ({str(error)[:80]}); fetch it again: {path}") from None
    finally:
        csv.field_size_limit(before)


def _wrong(line: int, path: str | Path) -> MediaError:
    return MediaError(f"line {line} is not a point label of OpenImages V7; fetch the file again: {path}")
