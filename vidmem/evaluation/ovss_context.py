"""The label files of PASCAL-Context as its authors publish them: MATLAB files with numbers of 459 names.

`labels.txt` gives the numbers their names, and the 59 classes of the benchmark are 59 of these names (Mottaghi et al.,
CVPR 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..text_files import read_bytes
from .label_pictures import Table
from .mat_files import read_matrix

_FOLDERS = ("trainval", "PASCAL-Context/trainval", "pascal-context/trainval")
MAX_BYTES = 64 << 20
"""Larger files are not label files."""


def full_context(root: Path, names: Sequence[str]) -> tuple[Path, Table]:
    """The folder of the .mat files, and a table from their numbers to indices into `names`.

    Raises MediaError when there is no such folder, or a name is missing in `labels.txt`.
    """
    for choice in _FOLDERS:
        folder = root / choice
        if folder.is_dir():
            break
    else:
        raise MediaError(
            "the data set has neither SegmentationClassContext, as MMSegmentation makes it, nor trainval with the "
            f"authors' .mat files; unpack one of them there: {root}"
        )
    path = next((place / "labels.txt" for place in (folder, folder.parent) if (place / "labels.txt").is_file()), None)
    if path is None:
        raise MediaError(f"labels.txt, the names of the authors' numbers, is missing; put it beside trainval: {folder}")
    numbers: dict[str, int] = {}
    for line in read_bytes(path, "labels.txt cannot").decode("utf-8", "replace").splitlines():
        number, colon, name = line.partition(":")
        if colon and number.strip().isdecimal() and len(number.strip()) < 10:
            numbers[name.strip()] = int(number)
    if missing := [name for name in names if name not in numbers]:
        raise MediaError(f"{missing[0]!r} is not in the list of names; fetch labels.txt again: {path}")
    return folder, {numbers[name]: i for i, name in enumerate(names)}


def read_mat(path: Path) -> NDArray[np.int64]:
    """The numbers of one .mat file, `(H, W)` int64.

    Raises MediaError when the file is missing or damaged, or has no LabelMap.
    """
    data = read_bytes(path, "the label file cannot", remedy="fetch it again", limit=MAX_BYTES)
    try:
        return read_matrix(data, "LabelMap", MAX_BYTES).astype(np.int64)
    except ValueError as error:
        raise MediaError(f"the label file cannot be read ({error}); fetch it again: {path}") from None
