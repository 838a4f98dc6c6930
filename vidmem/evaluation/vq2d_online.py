"""Visual queries online, after the rules of OVQ2D (arXiv 2411.16934): each frame is seen once, and memory is compact.

The frames of a clip come once, in order. A query comes at its frame. It is answered from the memory as it is then: what
was indexed of the frames before, with tracks that are means of those frames alone. No earlier frame is looked at again,
and no later one exists yet. The query itself is a picture, the pixels of the crop; in these files the crop can come
from a later frame, so that its pixels are read from the clip, as a user would hand them over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from ..config import IndexConfig
from ..errors import MediaError, UsageError
from ..indexer.step import FrameStep
from ..media import Source
from ..memory import Memory
from ..query.paper import THRESHOLD
from ..query.picture import picture_token
from ..records import Frame
from .vq2d import Answered, answer, asked_ns
from .vq2d_files import VisualQuery
from .vq2d_media import crop_picture


def asked_in_time(
    memory: Memory, source: Source, queries: Sequence[VisualQuery], config: IndexConfig
) -> Iterator[VisualQuery]:
    """Watch a clip once, and yield each query when the memory holds all that was seen before its frame, and no more.

    When the last query has been yielded and answered, the rest of the clip is indexed too. The memory is then the same
    as after `index_source`.

    Args:
        memory: Receives the clip; it must not know it yet.
        source: The clip.
        queries: In any order; they come out by their frame.
        config: Settings of the indexer.

    Raises:
        UsageError: The memory has seen frames of this clip before.
        MediaError: No frame can be read.
        StoreError: The memory cannot be written.
    """
    store, encoder, info = memory.store, memory.encoder, source.info
    store.set_model(memory.model_record(config.as_dict()))
    row = store.begin_source(info)
    if row.frames or row.state != "open":
        raise UsageError(f"the memory has seen this clip before; online each frame is seen once: {info.uri}")
    step = FrameStep(encoder, config, row, open_ended=not info.duration_ns)
    waiting = deque(sorted(queries, key=lambda query: query.frame))
    shown: list[tuple[Frame, bool]] = []

    def take() -> None:
        """Take the frames that were shown into the step."""
        regions = iter(encoder.encode_frames([frame for frame, is_new in shown if is_new], info))
        for frame, is_new in shown:
            if is_new:
                step.take(frame, next(regions))
            else:
                step.repeat(frame.t_ns, frame.mark)
        shown.clear()

    def commit() -> None:
        """Write what was seen so far."""
        take()
        step.damaged = source.damage.packets + source.damage.frames
        if step.pending:
            store.checkpoint(row.id, step.checkpoint())

    frames = source.frames(config.fps, shape=encoder.working_size)
    for number, frame in enumerate(frames, 1):
        while waiting and frame.t_ns >= asked_ns(waiting[0]):
            commit()
            yield waiting.popleft()
        shown.append((frame, step.gate.needs_encoding(frame.image)))
        if number % config.checkpoint_frames == 0:  # as the indexer does, which may have to begin again there
            step.gate.reset()
            commit()
        elif sum(is_new for _, is_new in shown) == config.batch:
            take()
    take()
    if not step.frames_done:
        raise MediaError(f"no frame can be read; is it damaged or empty?: {info.uri}")
    commit()
    while waiting:  # asked at or after the last frame
        yield waiting.popleft()
    step.damaged = source.damage.packets + source.damage.frames
    store.checkpoint(row.id, step.checkpoint(last=True))
    store.settle()


def answer_online(memory: Memory, source: Source, query: VisualQuery, *, threshold: float = THRESHOLD) -> Answered:
    """Answer a query from the memory as it is, with the pixels of its crop.

    Args:
        memory: Holds what was seen of the clip so far.
        source: The clip, for the pixels of the crop only.
        query: What is asked.
        threshold: See `vq2d.answer`.

    A crop that cannot be read leaves its query alone without an answer, and the note says why.

    Raises:
        UsageError: The encoder cannot read the title.
        StoreError: The memory is damaged.
    """
    try:
        token = picture_token(memory.encoder, crop_picture(source, query))
    except (UsageError, MediaError) as error:
        return Answered(None, note=f"no token for the crop: {error}")
    return answer(memory, memory.store.source(source.info.uri), query, threshold=threshold, crop=token)
