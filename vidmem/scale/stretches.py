"""A stretch of a source: cut at checkpoints of the indexer, so that it is encoded as in an uninterrupted run.

The gate, which leaves out frames that show nothing new, begins anew at each checkpoint (indexer/pipeline.py). So what
is encoded after a checkpoint does not depend on what came before it, and neither do the batches.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..address import Address
from ..config import IndexConfig
from ..encoders import Encoder
from ..indexer.pipeline import index_source
from ..indexer.progress import Progress
from ..media import Shape, Source, open_source
from ..media.times import sample_times
from ..records import Frame
from ..store import ModelRecord, Store
from ..timecode import NS
from .pieces import PieceWriter
from .relaying import Recording

_REST = 0.5
"""Share of a stretch below which the rest of a source joins the stretch before it."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive sampled frames.

    Attributes:
        first: Number of the first one, a multiple of `IndexConfig.checkpoint_frames`.
        begin_ns: Its time.
        end_ns: Time of the first frame that is not in it; None for the rest of the source.
    """

    first: int
    begin_ns: int
    end_ns: int | None


def stretches(source: Source, config: IndexConfig, seconds: float) -> list[Stretch]:
    """Cut a source into stretches of about so many seconds; one stretch where nothing tells the times of its frames.

    Raises:
        MediaError: The file can no longer be read.
    """
    times = sample_times(source, config.fps)
    if not times:
        return [Stretch(0, 0, None)]
    step, least, last = config.checkpoint_frames, round(seconds * NS), times[-1]
    firsts = [0]
    for number in range(step, len(times), step):
        if times[number] - times[firsts[-1]] >= least and last - times[number] >= _REST * least:
            firsts.append(number)
    begins = [0, *(times[first] for first in firsts[1:])]
    return [Stretch(first, begin, end) for first, begin, end in zip(firsts, begins, [*begins[1:], None], strict=True)]


class StretchSource(Source):
    """One stretch of a source, as a source. It is at the same times and has no poses."""

    def __init__(self, source: Source, stretch: Stretch) -> None:
        super().__init__(source.path)
        self._source, self._stretch = source, stretch
        self.info, self.damage = replace(source.info, files=()), source.damage

    def frames(
        self, fps: float, start_ns: int = 0, *, start_index: int = 0, shape: Shape | None = None
    ) -> Iterator[Frame]:
        """See `Source.frames`."""
        begin, first = max(start_ns, self._stretch.begin_ns), self._stretch.first + start_index
        for frame in self._source.frames(fps, begin, start_index=first, shape=shape):
            if self._stretch.end_ns is not None and frame.t_ns >= self._stretch.end_ns:
                return
            yield frame

    def frame_at(self, t_ns: int) -> Frame:
        """See `Source.frame_at`."""
        return self._source.frame_at(t_ns)

    def trail(self, topic: str | None = None) -> None:
        """None: the poses are kept by the run over the whole source."""
        return None

    def close(self) -> None:
        """See `Reader.close`."""
        super().close()
        self._source.close()


def write_piece(
    address: Address,
    stretch: Stretch,
    encoder: Encoder,
    config: IndexConfig,
    path: Path,
    about: str,
    progress: Progress | None = None,
    decoder: str = "pyav",
) -> int:
    """Encode a stretch as an index of it alone does, and write a piece of all answers of the encoder.

    Tracks are followed too, into a memory that is thrown away, since the views of most of them are those that the index
    of the whole source wants.

    Args:
        address: The source.
        stretch: The stretch.
        encoder: The encoder.
        config: The settings.
        path: The file to write.
        about: Whose answers they are; see `PieceWriter`.
        progress: Called after each batch with the time in the source and the number of frames of the stretch.
        decoder: As in `open_source`.

    Returns:
        The number of answers.

    Raises:
        MediaError: No frame of it can be read.
        StoreError: The disk is full.
    """
    info = encoder.info
    with (
        tempfile.TemporaryDirectory(dir=path.parent, prefix="stretch-") as folder,
        PieceWriter(path, about) as writer,
        open_source(address, decoder) as source,
        Store.open(Path(folder) / "memory", write=True, create=True) as store,
    ):
        store.set_model(
            ModelRecord(info.name, info.weights, info.visual_dim, info.text_dim, config.as_dict(), info.regions)
        )
        index_source(StretchSource(source, stretch), Recording(encoder, writer), store, config, progress)
        writer.finish()
        return len(writer)
