"""Whether the pictures of a folder look like the frames of a film, by their names and sizes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

FEWEST = 10
"""Fewer pictures are not taken for a film."""
_MISSING = 0.1
"""The share of numbers that may be missing."""
_NUMBERED = re.compile(r"(.*?)(\d+)\D*")
_CAMERA = re.compile(r"(?=.*[A-Z])[A-Z0-9_]{4}\d{4}|(?i:IMG|PXL|DSC|DJI|MVIMG)[-_ ]?\d.*")
"""How cameras and telephones call single photos (the first is DCF 2.0, 3.2.4), which are numbered too."""


def like_a_film(paths: Sequence[str]) -> bool:
    """Whether they are many, have one name with numbers that hardly miss one, and are of one size (of three of them the
    header is read)."""
    if len(paths) < FEWEST:
        return False
    numbers, heads = set(), set()
    for path in paths:
        stem = os.path.splitext(os.path.basename(path))[0]
        match = _NUMBERED.fullmatch(stem)
        if match is None or _CAMERA.fullmatch(stem):
            return False
        heads.add(match[1])
        numbers.add(int(match[2]))
    span = max(numbers) - min(numbers) + 1
    if len(heads) != 1 or len(numbers) != len(paths) or len(numbers) < (1 - _MISSING) * span:
        return False
    ordered = sorted(paths)
    sizes = {_size(ordered[place]) for place in (0, len(ordered) // 2, -1)}
    return len(sizes) == 1 and None not in sizes


def _size(path: str) -> tuple[int, int] | None:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None
