"""Video files through decord, as an alternative to PyAV.

PyAV is the default because of known faults of decord 0.6.0: wrong frames in files with edit lists (trimmed phone
clips); damaged and truncated files are refused or break off; no AV1; times are 32-bit floats, exact to about 0.1 ms in
the first hour; the whole file is scanned on opening; mirrored pictures stay mirrored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..limits import check_regular, check_size
from ..records import Frame, SourceKind
from ..timecode import NS
from .base import Shape, Source
from .container import from_container
from .info import file_info
from .sampling import Sampler

_THREADS = 2


def _reader(path: str, **size: int) -> Any:
    try:
        import decord
    except ImportError:
        raise MediaError(f"decord is not installed; run pip install 'vidmem[decord]', or use pyav: {path}") from None
    check_regular(path)
    try:
        return decord.VideoReader(path, num_threads=_THREADS, **size)
    except (decord.DECORDError, RuntimeError):
        raise MediaError(f"decord cannot open the video; use `decoder` pyav, which reads more: {path}") from None


class DecordSource(Source):
    """One video file read by decord, within the limits above.

    Raises:
        MediaError: decord is not installed, or cannot read the file.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._reader = _reader(path)
        spans = np.asarray(self._reader.get_frame_timestamp(range(len(self._reader))), dtype=np.float64)
        if not len(spans):
            raise MediaError(f"decord finds no picture in the video; use `decoder` pyav: {path}")
        self._times = [round(t * NS) for t in spans[:, 0]]
        height, width = self._picture(self._reader, 0).shape[:2]
        check_size(width, height, path)
        self.info = file_info(path, SourceKind.VIDEO, (width, height), round(spans[-1, 1] * NS), from_container(path))

    def frames(
        self, fps: float, start_ns: int = 0, *, start_index: int = 0, shape: Shape | None = None
    ) -> Iterator[Frame]:
        """See `Source.frames`."""
        self.check_open()
        width, height = self.info.width, self.info.height
        if shape is not None:
            width, height = shape(width, height)
        reader = _reader(self.path, width=width, height=height)  # a second reader, since reading moves its position
        sampler = Sampler(fps, self._times[0])
        index, last_ns = start_index, self._times[0] - 1
        for number, t_ns in enumerate(self._times):
            self.check_open()
            if t_ns <= last_ns or not sampler.take(t_ns) or t_ns < start_ns:
                last_ns = max(last_ns, t_ns)
                continue
            last_ns = t_ns
            try:
                image = self._picture(reader, number)
            except MediaError as error:
                self.damage.frames += 1
                self.damage.note(str(error))
                continue
            yield Frame(image, t_ns, index)
            index += 1

    def frame_at(self, t_ns: int) -> Frame:
        """See `Source.frame_at`."""
        self.check_open()
        number = max(0, int(np.searchsorted(self._times, t_ns, side="right")) - 1)
        return Frame(self._picture(self._reader, number), self._times[number], -1)

    def close(self) -> None:
        """See `Source.close`."""
        super().close()
        self._reader = None

    def _picture(self, reader: Any, number: int) -> NDArray[np.uint8]:
        import decord

        try:
            return np.ascontiguousarray(reader[number].asnumpy(), dtype=np.uint8)
        except (decord.DECORDError, RuntimeError, IndexError):
            raise MediaError(f"decord cannot decode frame {number}; use `decoder` pyav: {self.path}") from None
