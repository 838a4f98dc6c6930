"""The base class of frame sources, and the limits that all of them keep.

Open a source, take its `frames` (usually once) and close it. Each call of `frames` reads the file anew, so `frame_at`
works while a pass is running.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..closing import Closing
from ..errors import MediaError, UsageError
from ..records import Frame, SourceInfo, Trail

Shape = Callable[[int, int], tuple[int, int]]
"""A function from the upright (width, height) of a picture to the (width, height) in which it is wanted."""

_MAX_NOTES = 20


@dataclass(slots=True)
class Damage:
    """What could not be read so far; true if there is any.

    packets: compressed packets that were damaged or could not be read. frames: pictures that were left out since they
    came out damaged or have no usable time. notes: the first few causes, for people.
    """

    packets: int = 0
    frames: int = 0
    notes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.packets > 0 or self.frames > 0

    def note(self, cause: str) -> None:
        """Add a cause, up to a limit, each once."""
        if cause not in self.notes and len(self.notes) < _MAX_NOTES:
            self.notes.append(cause)

    def take(self, other: Damage) -> None:
        """Move the counts and causes of `other` here."""
        self.packets += other.packets
        self.frames += other.frames
        for cause in other.notes:
            self.note(cause)
        other.packets = other.frames = 0
        other.notes.clear()


class Reader(Closing):
    """Something that reads a file until it is closed. path: the file, or the address of the source, for errors."""

    path: str
    _closed = False

    def check_open(self) -> None:
        """Raise MediaError if the reader was closed."""
        if self._closed:
            raise MediaError(f"the source was closed; open it again: {self.path}")

    def close(self) -> None:
        """End all reading. Closing twice is fine. A pass that is running ends with MediaError."""
        self._closed = True


class Source(Reader):
    """A video, or anything that yields pictures in time order.

    info: what is known without decoding all of it. damage: what the passes over `frames` have met.
    """

    info: SourceInfo
    damage: Damage

    def __init__(self, path: str) -> None:
        self.path = path
        self.damage = Damage()

    @abstractmethod
    def frames(
        self, fps: float, start_ns: int = 0, *, start_index: int = 0, shape: Shape | None = None
    ) -> Iterator[Frame]:
        """Yield the sampled frames with `t_ns >= start_ns`, times strictly increasing.

        Which frames are sampled depends on the video alone, never on start_ns: going on from the last t_ns + 1 yields
        exactly what an uninterrupted pass would have.

        Args:
            fps: Samples per second of media time, 0 for every frame (see `sampling`).
            start_ns: Where to begin, in ns.
            start_index: `Frame.index` of the first frame yielded.
            shape: The size in which pictures are wanted; by default their own.

        Raises:
            MediaError: the source was closed, cannot be read any more, or a picture exceeds the limits.
        """

    @abstractmethod
    def frame_at(self, t_ns: int) -> Frame:
        """Return the picture on display at t_ns, in full size, with `index` -1; beyond the ends the first or last one.

        Raises:
            MediaError: no picture can be read.
        """

    def trail(self, topic: str | None = None) -> Trail | None:
        """Return where the camera or the robot was; None for sources without poses.

        topic: take the poses of this topic, "tf" for transforms, instead of the best ones.

        Raises:
            UsageError: there are no poses in that topic. MediaError: the source was closed or cannot be read.
        """
        if topic is not None:
            raise UsageError(f"the source has no poses, only logs have; leave `pose` out: {self.path}")
        return None
