"""Live sessions: frames come from a camera that does not wait. What the encoder is too slow for is dropped and counted.

One thread encodes, merges, tracks and writes. `append` only puts a copy of an image into a short queue. Images that
show nothing new are not encoded, as in the pipeline.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..closing import Closing
from ..config import IndexConfig
from ..encoders.base import Encoder
from ..errors import UsageError
from ..limits import check_size
from ..media.sampling import Sampler
from ..records import Frame, SourceInfo, SourceKind
from ..store import SourceRow, Store
from .crops import Crop, Crops
from .step import FrameStep

Policy = Literal["oldest", "newest"]
"""Which image is dropped when the queue is full: the one that has waited longest, or the new one."""


class Observer(Protocol):
    """Is told of every checkpoint of a session, in the thread that encodes."""

    def committed(self, source_id: int, crops: Sequence[Crop]) -> None:
        """Take note that a checkpoint is written. It must return at once and raise nothing.

        Args:
            source_id: The source of the session.
            crops: Pictures of tracks, new since the last checkpoint.
        """


@dataclass(frozen=True, slots=True)
class SessionStats:
    """Counts of a session.

    Attributes:
        appended: Images that `append` was given.
        unsampled: Not needed at the memory's fps.
        dropped: Needed, but the encoder was too slow.
        late: With a time that is not after that of the image before.
        encoded: Encoded.
        still: Not encoded, since they showed nothing new.
        committed: Encoded or still images that a reader sees.
        waiting: In the queue now.
    """

    appended: int = 0
    unsampled: int = 0
    dropped: int = 0
    late: int = 0
    encoded: int = 0
    still: int = 0
    committed: int = 0
    waiting: int = 0


class Session(Closing):
    """One live camera; see `Memory.session`. Threads may share it.

    Args:
        store: The memory, open for writing.
        encoder: The encoder.
        config: The settings.
        name: Name of the source.
        depth: Images that may wait.
        interval_s: Longest time in s between checkpoints: what a crash can lose, and what readers wait for. Tracks that
            are still open are in it.
        drop: See `Policy`.
        keep_views: Keep the pictures of the views, since the camera's images are gone.
        observer: Is told of every checkpoint.

    Raises:
        UsageError: `name` is empty or belongs to something else, `depth` is below 1, `interval_s` is not above 0, or
            `drop` is unknown.
    """

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        config: IndexConfig,
        name: str,
        *,
        depth: int = 8,
        interval_s: float = 2.0,
        drop: Policy = "oldest",
        keep_views: bool = False,
        observer: Observer | None = None,
    ) -> None:
        if not name.strip() or depth < 1 or not interval_s > 0 or drop not in get_args(Policy):
            raise UsageError(
                f"a session has a name, a depth above 0, an interval above 0 and drops {' or '.join(get_args(Policy))};"
                f" got {name!r}, {depth}, {interval_s} and {drop!r}"
            )
        known = next((row.id for row in store.sources() if row.uri == name), None)
        self._known = None if known is None else store.source_by_id(known)  # with the state of its tracker
        if self._known is not None and self._known.kind is not SourceKind.LIVE:
            raise UsageError(f"{name} is in the memory already, but is not a live source; take another name")
        self.name = name
        self._store, self._encoder, self._config = store, encoder, config
        self._depth, self._interval_s, self._drop, self._keep = depth, interval_s, drop, keep_views
        self._observer, self._crops = observer, None if observer is None else Crops()
        self._queue: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._failure: BaseException | None = None
        self._counts = dict.fromkeys(("appended", "unsampled", "dropped", "late", "encoded", "still", "committed"), 0)
        self._sampler = Sampler(config.fps, 0)
        self._zero_ns = self._known.start_ns if self._known is not None else None
        self._last_ns = -1
        if self._known is not None and self._known.next_t_ns is not None:
            self._last_ns = self._known.next_t_ns - 1
            self._sampler.take(self._last_ns)
        self._thread: threading.Thread | None = None

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return self._closing

    @property
    def stats(self) -> SessionStats:
        """Counts so far."""
        with self._changed:
            return SessionStats(**self._counts, waiting=len(self._queue))

    def append(self, image: NDArray[np.uint8], t_ns: int) -> bool:
        """Add an image; return False when it will not be encoded.

        After True, a later image may still take its place in the queue. This never waits for the encoder or the disk:
        it copies the image and takes a lock that is held for moments.

        Args:
            image: `(H, W, 3)` uint8 RGB, upright.
            t_ns: When it was taken, in ns of a clock that all sessions of this name share, best since the epoch.

        Raises:
            UsageError: the session is closed.
            MediaError: the image exceeds the limits.
            ValueError: it is not such an array.
            StoreError: the memory cannot be written; likewise any other error that ended the thread that encodes.
        """
        frame = Frame(image, t_ns, 0)  # checks shape and type
        height, width = image.shape[:2]
        check_size(width, height, self.name)
        with self._changed:
            self._check()
            self._counts["appended"] += 1
            if self._zero_ns is None:
                self._zero_ns = t_ns
            since = t_ns - self._zero_ns
            if since <= self._last_ns:
                self._counts["late"] += 1
                return False
            self._last_ns = since
            if not self._sampler.take(since):
                self._counts["unsampled"] += 1
                return False
            if len(self._queue) >= self._depth:
                self._counts["dropped"] += 1
                if self._drop == "newest":
                    return False
                self._queue.popleft()
            self._queue.append(Frame(frame.image.copy(), since, 0))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, args=(width, height), name="vidmem-session", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()
            return True

    def close(self) -> None:
        """Index what waits, write it, and end.

        Raises the error that ended the thread that encodes, if there was one.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closing:
            raise UsageError(f"the session {self.name!r} is closed; open another one of this name to continue")

    def _begin(self, width: int, height: int) -> SourceRow:
        if self._known is not None:
            return self._known
        digest = hashlib.sha256(f"{SourceKind.LIVE}\n{self.name}\n{self._zero_ns}".encode()).hexdigest()
        return self._store.begin_source(
            SourceInfo(self.name, SourceKind.LIVE, width, height, 0, digest, start_ns=self._zero_ns, recorded_by="live")
        )

    def _run(self, width: int, height: int) -> None:
        try:
            self._work(self._begin(width, height))
        except BaseException as error:
            with self._changed:
                self._failure = error
                self._counts["dropped"] += len(self._queue)
                self._queue.clear()

    def _work(self, row: SourceRow) -> None:
        step = FrameStep(
            self._encoder,
            self._config,
            row,
            keep_views=self._keep,
            open_ended=True,
            resumable=True,
            crops=self._crops,
        )
        written = time.monotonic()
        with self._encoder.parallel():
            while True:
                batch, closing = self._next_batch(written + self._interval_s if step.pending else None)
                self._step(step, batch, (row.width, row.height))
                last = closing and not batch
                if last or (step.pending and time.monotonic() - written >= self._interval_s):
                    made = step.checkpoint(last=last)
                    self._store.checkpoint(row.id, made)
                    with self._changed:
                        self._counts["committed"] += len(made.frames)
                    if self._observer is not None and self._crops is not None:
                        self._observer.committed(row.id, self._crops.take())
                    written = time.monotonic()
                if last:
                    return

    def _step(self, step: FrameStep, batch: Sequence[Frame], size: tuple[int, int]) -> None:
        images = [self._scaled(frame.image) for frame in batch]
        is_new = [step.gate.needs_encoding(image) for image in images]
        to_encode = [image for image, new in zip(images, is_new, strict=True) if new]
        regions = iter(self._encoder.encode_each(to_encode, [size] * len(to_encode)))
        for frame, image, new in zip(batch, images, is_new, strict=True):
            if new:
                step.take(Frame(image, frame.t_ns, 0), next(regions))
            else:
                step.repeat(frame.t_ns)
        with self._changed:
            self._counts["encoded"], self._counts["still"] = step.encoded, step.gated

    def _next_batch(self, until: float | None) -> tuple[list[Frame], bool]:
        """Return waiting images, at most a batch, and whether the session is closing.

        It waits for the first image, or until the time `until` (monotonic), and then returns none.
        """
        with self._changed:
            timeout = None if until is None else max(0.0, until - time.monotonic())
            self._changed.wait_for(lambda: bool(self._queue) or self._closing, timeout)
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._config.batch))]
            return batch, self._closing

    def _scaled(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        wanted = self._encoder.working_size(width, height)
        if wanted == (width, height):
            return image
        picture = Image.fromarray(image).resize(wanted, Image.Resampling.BILINEAR, reducing_gap=2.0)
        return np.asarray(picture, np.uint8)
