"""Detect damaged files of weights from their size and headers, without reading the tensors."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from ..text_files import parse_json

MOST_LAYERS = 1000
"""More layers than any model has. Libraries build what a configuration says before they look at the weights."""
HEADER = 100 << 20
"""Maximum length of a safetensors header in bytes, as in the library itself."""


def cut_short(path: Path) -> str:
    """Why a file is not complete, or "" if no fault is found.

    Checks safetensors, JSON, and files of `torch.save` (.pth, .pt, .bin) by suffix; other files must not be empty.
    """
    try:
        size = path.stat().st_size
        if not size:
            return "it is empty"
        if path.suffix == ".safetensors":
            return _safetensors(path, size)
        if path.suffix == ".json":
            parse_json(path.read_bytes())
        if path.suffix in (".pth", ".pt", ".bin"):
            return _saved(path)
    except (ValueError, RecursionError):
        return "it is no JSON"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return ""


def _safetensors(path: Path, size: int) -> str:
    """The file has a length, a header of that length with the offsets of the tensors, and the tensors."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(HEADER, size - 8):
            return "it is cut short or no safetensors"
        try:
            entries = parse_json(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
            missing = 8 + length + max(ends, default=0) - size
        except (ValueError, AttributeError, KeyError, TypeError, IndexError, RecursionError):
            return "its header is damaged"
    return f"{missing:,} bytes are missing at its end" if missing > 0 else ""


def _saved(path: Path) -> str:
    """A zip has its table of contents at the end. Torch before 1.6 wrote a bare pickle, whose end cannot be checked."""
    with open(path, "rb") as file:
        head = file.read(2)
    if head[:1] == b"\x80":
        return ""
    if head != b"PK":
        return "it is no file of weights"
    try:
        zipfile.ZipFile(path).close()
    except (zipfile.BadZipFile, NotImplementedError):  # the second for a version or packing from the future
        return "it is cut short"
    return ""


def odd_size(config: Any) -> str:
    """What in a configuration has a size that no model has, such as "layers"; "" if nothing has."""
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        for name, value in part.items() if isinstance(part, dict) else ():
            many = ("layers" in str(name) or "depth" in str(name)) and not isinstance(value, dict | list | str | None)
            if many and not value <= MOST_LAYERS:  # not for NaN, either
                return str(name)[:40]
            waiting.append(value)
    return ""
