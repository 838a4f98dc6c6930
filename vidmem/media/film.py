"""Do the pictures of a folder look like the frames of a film? Judged by their names and sizes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from ..errors import MediaError
from ..picture_reading import opened

MIN_PICTURES = 10
"""Fewer pictures do not look like a film."""
_MAX_MISSING = 0.1
"""Maximum share of numbers that may be missing."""
_NUMBERED = re.compile(r"(.*?)(\d+)\D*")
_CAMERA = re.compile(r"(?=.*[A-Z])[A-Z0-9_]{4}\d{4}|(?i:IMG|PXL|DSC|DJI|MVIMG)[-_ ]?\d.*")
"""Names that cameras and telephones give to single photos (the first is DCF 2.0, 3.2.4), which are numbered too."""


def looks_like_film(paths: Sequence[str]) -> bool:
    """Return True for many pictures with one name, nearly consecutive numbers and one size (three are opened)."""
    if len(paths) < MIN_PICTURES:
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
    if len(heads) != 1 or len(numbers) != len(paths) or len(numbers) < (1 - _MAX_MISSING) * span:
        return False
    ordered = sorted(paths)
    sizes = {_size(ordered[place]) for place in (0, len(ordered) // 2, -1)}
    return len(sizes) == 1 and None not in sizes


def _size(path: str) -> tuple[int, int] | None:
    try:
        with opened(path) as held:
            return held.image.size
    except MediaError:
        return None
