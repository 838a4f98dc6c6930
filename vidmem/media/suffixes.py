"""Suffixes of files, and the natural order of names."""

from __future__ import annotations

import os
import re

VIDEO_SUFFIXES = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".mpg",
        ".mpeg",
        ".ts",
        ".mts",
        ".m2ts",
        ".3gp",
        ".3g2",
        ".flv",
        ".wmv",
        ".asf",
        ".ogv",
        ".mxf",
        ".vob",
        ".gif",
        ".h264",
        ".264",
        ".h265",
        ".hevc",
        ".ivf",
        ".y4m",
        ".insv",
        ".lrv",
    ]
)
IMAGE_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif"])
PHOTO_SUFFIXES = IMAGE_SUFFIXES | {".heic", ".heif"}
"""With formats that are common among photos and cannot be read: they are reported, not passed over."""


def suffix(path: str) -> str:
    """The lower-case suffix of a path, with its dot."""
    return os.path.splitext(path)[1].lower()


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key by which frame2 comes before frame10."""
    parts = re.findall(r"(\d+)|(\D+)", name)
    return tuple((0, int(digits), "") if digits else (1, 0, text.casefold()) for digits, text in parts)
