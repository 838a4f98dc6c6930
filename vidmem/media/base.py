"""The contract of every frame source, and the limits that all of them keep.

A source is opened, asked for `frames` (usually once) and closed. Each call of `frames` reads for itself, so pictures
can be fetched with `frame_at` while a pass is running.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, Self, runtime_checkable

from ..errors import MediaError, UsageError
from ..records import Frame, SourceInfo, Trail

Shape = Callable[[int, int], tuple[int, int]]
"""Upright (width, height) of a picture -> the (width, height) it is wanted in."""

MAX_SIDE = 16_384
"""Longest side in pixels. Larger ones are mistakes or bombs: 8K video is 7,680 wide."""

MAX_PIXELS = 100_000_000
"""Most pixels in one picture: 300 MB as RGB."""

_MAX_NOTES = 20


@dataclass(slots=True)
class Damage:
    """What could not be read so far; counted while reading, true when there is any.

    packets: compressed packets that were damaged or could not be read. frames: pictures that came out damaged, or
    without a usable time, and were left out. notes: the first few causes, for people.
    """

    packets: int = 0
    frames: int = 0
    notes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.packets > 0 or self.frames > 0

    def note(self, cause: str) -> None:
        """Remember a cause, unless it is known already or there are enough of them."""
        if cause not in self.notes and len(self.notes) < _MAX_NOTES:
            self.notes.append(cause)

    def take(self, other: Damage) -> None:
        """Move over here what another reading has met."""
        self.packets += other.packets
        self.frames += other.frames
        for cause in other.notes:
            self.note(cause)
        other.packets = other.frames = 0
        other.notes.clear()


@runtime_checkable
class Source(Protocol):
    """A video, or anything that yields pictures in time order.

    info: what is known without decoding it all. damage: what the passes over `frames` have met.
    """

    info: SourceInfo
    damage: Damage

    def frames(
        self, fps: float, start_ns: int = 0, *, start_index: int = 0, shape: Shape | None = None
    ) -> Iterator[Frame]:
        """The sampled frames with `t_ns >= start_ns`, times strictly increasing.

        fps: samples per second of media time, 0 for every frame (see `sampling`). The choice of frames hangs on the
        video alone, never on start_ns: going on from the last t_ns + 1 yields exactly what an uninterrupted pass
        would have. start_index: `Frame.index` of the first one yielded. shape: size the pictures are wanted in.

        Raises:
            MediaError: the source was closed, cannot be read any more, or a picture exceeds the limits.
        """
        ...

    def frame_at(self, t_ns: int) -> Frame:
        """The picture on display at t_ns, full size, `index` -1; the first or last one beyond the ends.

        Raises:
            MediaError: there is no readable picture.
        """
        ...

    def trail(self, topic: str | None = None) -> Trail | None:
        """Where the camera, or the robot, was during the pictures; None for sources that do not tell.

        topic: take the poses of this topic, "tf" for transforms, instead of the best that there are.

        Raises:
            UsageError: there are no poses in that topic. MediaError: the source was closed or cannot be read.
        """
        ...

    def close(self) -> None:
        """End all reading. Closing twice is fine."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


def no_trail(topic: str | None, path: str) -> None:
    """`Source.trail` of sources without poses."""
    if topic is not None:
        raise UsageError(f"there are no poses in it, only logs have some; leave `pose` out: {path}")


def check_size(width: int, height: int, path: str) -> None:
    """Refuse pictures beyond the limits, before memory is spent on them.

    Raises:
        MediaError: a side is longer than MAX_SIDE, or there are more than MAX_PIXELS pixels.
    """
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise MediaError(
            f"a picture of {width}x{height} exceeds the limit of {MAX_SIDE} pixels a side and "
            f"{MAX_PIXELS // 1_000_000} million in all; scale it down first: {path}"
        )


def check_open(closed: bool, path: str) -> None:
    """Raises MediaError when the source was closed."""
    if closed:
        raise MediaError(f"the source was closed; open it again: {path}")
