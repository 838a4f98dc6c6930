"""The plain data that flows through vidmem: frozen dataclasses, shapes and units in their docstrings.

Conventions: time is `int` nanoseconds on the source's own clock; a box is `(x0, y0, x1, y1)` in pixels
of the upright video (rotation already applied), x to the right, y down, x1 and y1 exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from .address import Address
from .timecode import NS

Float32 = NDArray[np.float32]
Box = tuple[float, float, float, float]

RECORDED_BY = ("log", "live", "container", "exif", "name", "day", "mtime", "given")
"""How a recording time may be known: by the clock of a log or of who watched, from the container or a photo's EXIF,
from the name of the file, from a name that tells the day alone, from when the file was written, or given by hand."""


class SourceKind(StrEnum):
    """What a source is. The values are those in the database and in JSON."""

    VIDEO = "video"
    IMAGES = "images"
    """A folder of pictures that follow each other as a film."""
    IMAGE = "image"
    """A film of one picture."""
    PICTURES = "pictures"
    """A folder of single pictures."""
    PICTURE = "picture"
    """A picture that is read on its own, for an encoder; never in a memory."""
    LOG = "log"
    """One topic of a robot log."""
    EPISODE = "episode"
    """One camera in one episode of a dataset."""
    LIVE = "live"
    """A camera that is watched."""

    def address(self, uri: str) -> Address:
        """The address of a source of this kind, from its name in a memory."""
        return Address.parse_part(uri) if self.is_part else Address(uri)

    @property
    def own_clock(self) -> bool:
        """True where frames carry times of a recorder's clock, from which `start_ns` was subtracted; it never
        changes."""
        return self in (SourceKind.LOG, SourceKind.LIVE)

    @property
    def is_part(self) -> bool:
        """True where the source is one part of a file or folder, named after a # in its path."""
        return self in (SourceKind.LOG, SourceKind.EPISODE)

    @property
    def own_times(self) -> bool:
        """True where the source itself fixes its times, so that nobody can date it."""
        return self.own_clock or self.is_part

    @property
    def is_film(self) -> bool:
        """True for pictures that are shown one after the other."""
        return self in (SourceKind.IMAGES, SourceKind.IMAGE)

    @property
    def single_pictures(self) -> bool:
        """True for a folder of pictures, each with a time of its own."""
        return self is SourceKind.PICTURES


_ALL_SURE = np.ones(0, np.float32)  # stands for "every region is sure" until the number of regions is known


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a picture stands in its log. log_ns: when it was recorded; stamp_ns: as its sender stamped it, None
    without one; both in ns since the epoch of that clock. sequence: number that the log gives it, None without one."""

    log_ns: int
    stamp_ns: int | None
    sequence: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture.

    image: `(H, W, 3)` uint8 RGB, upright. t_ns: presentation time in ns, from the container's pts.
    index: ordinal of the sampled frame within its source, from 0. mark: its place in a log, for sources that are one.
    """

    image: NDArray[np.uint8]
    t_ns: int
    index: int
    mark: Mark | None = None

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"a frame is (H, W, 3) uint8, not {self.image.shape} {self.image.dtype}")

    def __repr__(self) -> str:
        h, w = self.image.shape[:2]
        return f"Frame({w}x{h}, t_ns={self.t_ns}, index={self.index})"


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source before it is decoded.

    uri: absolute path as given to the store. width, height: pixels, upright. duration_ns: 0 when unknown.
    start_ns: wall clock of t_ns = 0 in ns since the epoch, or None. fingerprint: identifies the content. recorded_by:
    how start_ns is known, one of RECORDED_BY, or empty where it is not.
    """

    uri: str
    kind: SourceKind
    width: int
    height: int
    duration_ns: int
    fingerprint: str
    start_ns: int | None = None
    recorded_by: str = ""

    @property
    def address(self) -> Address:
        """The address that `uri` writes out."""
        return self.kind.address(self.uri)


@dataclass(frozen=True, slots=True, eq=False)
class RegionTokens:
    """The regions of one frame.

    visual `(M, Dv)` and text `(M, Dt)` float32 tokens (any norm); masks `(M, h, w)` float32 in [0, 1] on the
    patch grid; points `(M, 2)` float32 x, y and boxes `(M, 4)` float32 x0, y0, x1, y1, both in pixels of the
    frame; area `(M,)` float32, the share of the frame that the mask covers; confidence `(M,)` float32 in [0, 1], how
    sure it is that a thing is there, 1 where it is left out.

    Of an encoder that looks at views, `visual` follows the thing and `text` is the hint for the view (see `View`).
    """

    visual: Float32
    text: Float32
    masks: Float32
    points: Float32
    boxes: Float32
    area: Float32
    confidence: Float32 = field(default_factory=lambda: _ALL_SURE)

    def __post_init__(self) -> None:
        m = len(self.visual)
        if self.confidence is _ALL_SURE:
            object.__setattr__(self, "confidence", np.ones(m, np.float32))
        shapes = {"visual": 2, "text": 2, "masks": 3, "points": 2, "boxes": 2, "area": 1, "confidence": 1}
        for name, ndim in shapes.items():
            array = getattr(self, name)
            if array.ndim != ndim or len(array) != m:
                raise ValueError(f"RegionTokens.{name} has shape {array.shape}, want {ndim} axes and {m} rows")

    def __len__(self) -> int:
        return len(self.visual)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> RegionTokens:
        """The regions at `rows`, in that order."""
        return RegionTokens(
            self.visual[rows],
            self.text[rows],
            self.masks[rows],
            self.points[rows],
            self.boxes[rows],
            self.area[rows],
            self.confidence[rows],
        )

    def __repr__(self) -> str:
        return f"RegionTokens({len(self)} of Dv={self.visual.shape[1]}, Dt={self.text.shape[1]})"


@dataclass(frozen=True, slots=True, eq=False)
class FrameRegions:
    """What the store keeps of one sampled frame.

    t_ns: its time. tracks `(M,)` int64: ordinals of tracks within the source, unique. boxes `(M, 4)` float32
    pixels. masks `(M, h, w)` bool on the patch grid.
    """

    t_ns: int
    tracks: NDArray[np.int64]
    boxes: Float32
    masks: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tracks)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A thing cut out of a frame at full resolution, for an encoder to look at.

    image: `(h, w, 3)` uint8 RGB, the box with a margin. box: without the margin, in pixels of the upright frame.
    frame_size: width and height of that frame. t_ns: its time. hint `(H,)` float32: what the region step said of the
    thing, empty where nobody asked it. sharpness: in [0, 1]. confidence: of the region.
    """

    image: NDArray[np.uint8]
    box: Box
    frame_size: tuple[int, int]
    t_ns: int
    hint: Float32
    sharpness: float
    confidence: float


@dataclass(frozen=True, slots=True)
class ViewMark:
    """Where a view of a track was cut. t_ns, box: as in `View`. quality: what it was chosen by (indexer/views.py).
    image: the picture itself as WebP, where it was kept; then hint and confidence are as in `View`."""

    t_ns: int
    box: Box
    quality: float
    image: bytes | None = None
    hint: tuple[float, ...] = ()
    confidence: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One thing followed over frames of one source.

    ordinal: number within the source, from 0, in order of birth. start_ns, end_ns: first and last frame in which
    it was seen (both inclusive). frames: how many sampled frames hold it. visual `(Dv,)` and text `(Dt,)`
    float32: running means of the tokens of its regions, or of its views. best_ns, best_box: the frame that shows it
    best. confidence: mean of its regions' confidence. text_confidence: how sure its text token is, in [0, 1]; the
    score by words is the cosine times this. views: where it was looked at, best first.
    """

    ordinal: int
    start_ns: int
    end_ns: int
    frames: int
    visual: Float32
    text: Float32
    best_ns: int
    best_box: Box
    confidence: float = 1.0
    text_confidence: float = 1.0
    views: tuple[ViewMark, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """Poses over one source. topic: where they are from, or "tf". frame: that they are in. t_ns `(n,)` int64,
    increasing; values `(n, 7)` float64: x, y, z in metres, then the quaternion x, y, z, w."""

    topic: str
    frame: str
    t_ns: NDArray[np.int64]
    values: NDArray[np.float64]

    def at(self, t_ns: int, most_ns: int = 2 * NS) -> Pose | None:
        """The pose at t_ns, straight between the samples around it; None where the nearest is more than most_ns off."""
        if not len(self.t_ns):
            return None
        after = int(np.searchsorted(self.t_ns, t_ns))
        before = max(after - 1, 0)
        after = min(after, len(self.t_ns) - 1)
        t0, t1 = int(self.t_ns[before]), int(self.t_ns[after])
        share = min(max((t_ns - t0) / (t1 - t0), 0.0), 1.0) if t1 > t0 else 0.0
        if t1 - t0 > most_ns:
            share = round(share)
        if min(abs(t_ns - t0), abs(t1 - t_ns)) > most_ns:
            return None
        a, b = self.values[before], self.values[after]
        b = np.concatenate([b[:3], b[3:] if a[3:] @ b[3:] >= 0 else -b[3:]])  # q and -q are the same rotation
        value = a + share * (b - a)
        value[3:] /= np.linalg.norm(value[3:]) or 1.0
        return Pose(self.topic, self.frame, *map(float, value))


@dataclass(frozen=True, slots=True)
class Pose:
    """Where something was. topic: the source of the pose, "tf" for transforms. frame: the frame that it is in. x, y, z:
    metres; qx, qy, qz, qw: a unit quaternion."""

    topic: str
    frame: str
    x: float
    y: float
    z: float
    qx: float
    qy: float
    qz: float
    qw: float


@dataclass(frozen=True, slots=True)
class LogPoint:
    """A moment of a sighting in the terms of its log or dataset. topic, clock: of the source; for a dataset the episode
    with its camera, and "episode". time_ns: the moment by that clock, log_ns and stamp_ns by both; ns since the epoch,
    or since the episode's start. sequence: of the message, None where the log has no numbers, or frame_index. pose:
    where the camera or the robot was, None where the log does not say."""

    topic: str
    clock: str
    time_ns: int
    log_ns: int
    stamp_ns: int | None
    sequence: int | None
    pose: Pose | None


@dataclass(frozen=True, slots=True)
class Sighting:
    """One contiguous time in which the thing asked for was in view.

    source: path of the video. start_ns, end_ns: its span, inclusive. score: what it was ranked and tested by,
    the product of text_score (cosine times how sure the name is) and visual_score (cosine) where both were asked for;
    the one not asked for is None.
    frame_ns and box: the evidence, a frame inside the span and the thing in it. tracks: ids in the store. seen, last:
    the evidence and the end of the span in the terms of a log, None for sources that are none. picture: the file, in a
    folder of single pictures; its boxes are in pixels of that picture. probability: that it shows what was asked
    for; None where the encoder is not calibrated for such questions. confidence: that a thing is there at all.
    recorded_ns: wall clock of frame_ns, ns since the epoch, of a single picture its own; None where it is not known.
    recorded_by: how it is known, as in `SourceInfo`.
    """

    source: str
    start_ns: int
    end_ns: int
    score: float
    text_score: float | None
    visual_score: float | None
    frame_ns: int
    box: Box
    tracks: tuple[int, ...] = field(default=())
    seen: LogPoint | None = None
    last: LogPoint | None = None
    picture: str | None = None
    probability: float | None = None
    confidence: float = 1.0
    recorded_ns: int | None = None
    recorded_by: str = ""

    def __repr__(self) -> str:
        from .display import sighting_text

        return sighting_text(self)

    def _repr_html_(self) -> str:
        from .display import sightings_html

        return sightings_html([self])

    @property
    def start_s(self) -> float:
        return self.start_ns / NS

    @property
    def end_s(self) -> float:
        return self.end_ns / NS

    @property
    def frame_s(self) -> float:
        return self.frame_ns / NS
