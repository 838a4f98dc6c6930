"""What is known about a source that is one file."""

from __future__ import annotations

from ..records import SourceInfo, SourceKind
from .fingerprint import of_file
from .recorded import Recorded, recorded_at


def file_info(
    path: str, kind: SourceKind, size: tuple[int, int], duration_ns: int, embedded: Recorded | None
) -> SourceInfo:
    """The SourceInfo of a file.

    Args:
        path: The file.
        kind: What it is.
        size: Upright width and height in pixels.
        duration_ns: Its duration.
        embedded: The recording time in the file, if there is one.
    """
    recorded = recorded_at(path, duration_ns, embedded)
    prints = of_file(path)
    return SourceInfo(
        path, kind, *size, duration_ns, prints.now, recorded.ns, recorded.by, former=prints.former, files=(path,)
    )
