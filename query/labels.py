"""Names to label regions with: from a file, or the classes of VSPW, ADE20K or COCO."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError, UsageError
from . import label_lists

MOST = 5000
"""More names than this are a mistake; each is compared with every track."""
LONGEST = 200
BUILT_IN = {"vspw": label_lists.VSPW, "ade20k": label_lists.ADE20K, "coco": label_lists.COCO}


@dataclass(frozen=True, slots=True, eq=False)
class LabelSet:
    """names: distinct, as they are asked for and shown. things `(n,)` bool: which can be counted; the others are stuff
    (sky, grass). Names of a file count as things where it does not say."""

    names: tuple[str, ...]
    things: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.names)


def load_labels(spec: str) -> LabelSet:
    """The labels of a built-in list (vspw, ade20k, coco), or of a text file: a name a line, and after a tab `thing` or
    `stuff` if that matters. Lines that begin with "#" do not count.

    Raises UsageError for no names, too many, one twice or too long. MediaError when the file cannot be read.
    """
    if spec in BUILT_IN:
        return parse_labels(BUILT_IN[spec], spec)
    try:
        text = Path(spec).read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise MediaError(f"the labels are not UTF-8 text; save them as such: {spec}") from None
    except OSError as error:
        raise MediaError(
            f"the labels cannot be read ({error.strerror}); give a text file or {', '.join(BUILT_IN)}: {spec}"
        ) from None
    return parse_labels(text, spec)


def parse_labels(text: str, where: str) -> LabelSet:
    """As `load_labels`, from the text itself."""
    names: dict[str, bool] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, *kinds = (part.strip() for part in line.strip(" \r").split("\t"))
        kind = kinds[0] if kinds else "thing"
        if len(kinds) > 1 or kind not in ("thing", "stuff") or not name or len(name) > LONGEST:
            raise UsageError(f"line {number} is no name, or name, tab and thing or stuff: {where}")
        if name in names:
            raise UsageError(f"{name!r} is there twice, again in line {number}: {where}")
        names[name] = kind != "stuff"
    if not names:
        raise UsageError(f"there is no label; write one name a line: {where}")
    if len(names) > MOST:
        raise UsageError(f"{len(names)} labels are too many, at most {MOST}: {where}")
    return LabelSet(tuple(names), np.array(list(names.values()), bool))
