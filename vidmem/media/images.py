"""A folder of pictures, or one picture, as a film: each picture is on display for one second."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import MediaError
from ..picture_reading import opened, rgb, rgb_array
from ..records import Frame, SourceInfo, SourceKind
from ..timecode import NS
from . import fingerprint, recorded
from .base import Shape, Source
from .exif import from_exif
from .orient import Orientation
from .suffixes import IMAGE_SUFFIXES, natural_key, suffix

_ORIENTATION_TAG = 0x0112
_EXIF = {  # EXIF 2.32, 4.6.4 A: where row 0 and column 0 of the stored pixels are
    2: Orientation(False, False, True),
    3: Orientation(False, True, True),
    4: Orientation(False, True, False),
    5: Orientation(True, False, False),
    6: Orientation(True, False, True),
    7: Orientation(True, True, True),
    8: Orientation(True, True, False),
}


class ImageSource(Source):
    """A picture file, or the pictures directly in a folder in natural order.

    The picture at position i is on display from i to i + 1 seconds, and is one sample at any fps: photos have no frame
    rate. Each keeps its own size. A picture that cannot be read is left out and counted; its second stays empty. width
    and height in `info` are those of the first readable picture. EXIF orientation is applied.

    Raises:
        MediaError: there is no picture, or none can be read.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        folder = os.path.isdir(path)
        self._files = pictures_in(path) if folder else [path]
        width, height = self._first_size()
        known = recorded.recorded_at(self._files[0], 0, from_exif(self._files[0]))
        prints = fingerprint.of_files(self._files) if folder else fingerprint.of_file(path)
        self.info = SourceInfo(
            uri=path,
            kind=SourceKind.IMAGES if folder else SourceKind.IMAGE,
            width=width,
            height=height,
            duration_ns=len(self._files) * NS,
            fingerprint=prints.now,
            start_ns=known.ns,
            recorded_by=known.by,
            former=prints.former,
            files=tuple(self._files),
        )

    def frames(
        self, fps: float, start_ns: int = 0, *, start_index: int = 0, shape: Shape | None = None
    ) -> Iterator[Frame]:
        """See `Source.frames`."""
        index = start_index
        for position in range(max(0, -(-start_ns // NS)), len(self._files)):
            self.check_open()
            try:
                image = load(self._files[position], shape, self._files[position])
            except MediaError as error:
                self.damage.frames += 1
                self.damage.note(str(error))
                continue
            yield Frame(image, position * NS, index)
            index += 1

    def frame_at(self, t_ns: int) -> Frame:
        """See `Source.frame_at`."""
        self.check_open()
        shown = min(max(t_ns // NS, 0), len(self._files) - 1)
        for position in (*range(shown, -1, -1), *range(shown + 1, len(self._files))):
            try:
                return Frame(load(self._files[position], None, self._files[position]), position * NS, -1)
            except MediaError:
                continue
        raise MediaError(f"the pictures can no longer be read; were the files moved?: {self.path}")

    def _first_size(self) -> tuple[int, int]:
        failure: MediaError | None = None
        for file in self._files:
            try:
                height, width = load(file, None, file).shape[:2]
                return width, height
            except MediaError as error:
                failure = failure or error
        if failure is None:
            raise MediaError(f"the folder has no picture (such as jpg, png, webp): {self.path}")
        if len(self._files) == 1:
            raise failure
        raise MediaError(f"none of the {len(self._files)} pictures can be read; are they images?: {self.path}")


def pictures_in(folder: str) -> list[str]:
    """The pictures directly in a folder, in natural order. Raises MediaError if it cannot be read."""
    try:
        names = [n for n in os.listdir(folder) if suffix(n) in IMAGE_SUFFIXES and not n.startswith(".")]
    except OSError as error:
        raise MediaError(f"the folder cannot be read ({error.strerror}); change its rights: {folder}") from None
    return [os.path.join(folder, name) for name in sorted(names, key=natural_key)]


def load(file: str | IO[bytes], shape: Shape | None, path: str) -> NDArray[np.uint8]:
    """Load a picture upright, `(H, W, 3)` uint8 RGB. shape: see `Source.frames`. path: its name for errors.

    Raises:
        MediaError: it cannot be read, or is too large.
    """
    with opened(file, path) as held:
        image = held.image
        to_rgb = 0 if image.mode == "RGB" else 5 if image.mode.startswith(("I", "F")) else 4
        exif = held.exif(to_rgb + 3 if shape is None else to_rgb)
        orientation = _EXIF.get(exif.get(_ORIENTATION_TAG, 1), Orientation())
        wanted = image.size
        if shape is not None:
            wanted = orientation.size(*shape(*orientation.size(*image.size)))
            image.draft("RGB", wanted)  # JPEG: decode at 1/2, 1/4 or 1/8, not below the wanted size
        same = image.size == wanted
        held.load(to_rgb + 3 if same else to_rgb)
        if image.format == "TIFF":  # Pillow turns these itself, when it loads them
            wanted, orientation = orientation.size(*wanted), Orientation()
        picture = rgb(image)
        if not same:
            picture = picture.resize(wanted, Image.Resampling.BILINEAR, reducing_gap=2.0)
        return orientation.apply(rgb_array(picture))
