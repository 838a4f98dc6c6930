"""The data that flows through vidmem: frozen dataclasses, with shapes and units in their docstrings.

Conventions: a time is `int` nanoseconds on the source's own clock. A box is `(x0, y0, x1, y1)` in pixels of the
upright video (rotation applied), x to the right, y down, x1 and y1 exclusive.
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
"""How a recording time is known: from the clock of a log or of a live session, the container, a photo's EXIF, the name
of the file, a name with the day alone, the time at which the file was written, or given by hand."""


class SourceKind(StrEnum):
    """What a source is. The values are those in the database and in JSON."""

    VIDEO = "video"
    IMAGES = "images"
    """A folder of pictures as a film."""
    IMAGE = "image"
    """A film of one picture."""
    PICTURES = "pictures"
    """A folder of single pictures."""
    PICTURE = "picture"
    """A single picture that an encoder reads; never in a memory."""
    LOG = "log"
    """One topic of a robot log."""
    EPISODE = "episode"
    """One camera in one episode of a dataset."""
    LIVE = "live"
    """A camera, watched live."""

    def address(self, uri: str) -> Address:
        """The address of a source of this kind, from its name in a memory."""
        return Address.parse_part(uri) if self.is_part else Address(uri)

    @property
    def own_clock(self) -> bool:
        """True if frames have times of a recorder's clock, from which `start_ns` was subtracted; it never changes."""
        return self in (SourceKind.LOG, SourceKind.LIVE)

    @property
    def is_part(self) -> bool:
        """True if the source is a part of a file or folder, named after a # in its address."""
        return self in (SourceKind.LOG, SourceKind.EPISODE)

    @property
    def own_times(self) -> bool:
        """True if the source has times of its own, so that it cannot be dated by hand."""
        return self.own_clock or self.is_part

    @property
    def is_film(self) -> bool:
        """True for pictures as a film, one after the other."""
        return self in (SourceKind.IMAGES, SourceKind.IMAGE)

    @property
    def single_pictures(self) -> bool:
        """True for a folder of pictures, each with a time of its own."""
        return self is SourceKind.PICTURES


_ALL_SURE = np.ones(0, np.float32)  # default of `confidence`, replaced by ones once the number of regions is known


@dataclass(frozen=True, slots=True)
class Mark:
    """The place of a picture in its log.

    log_ns: when it was recorded; stamp_ns: the sender's stamp, None without one; both in ns since the epoch of that
    clock. sequence: the log's number of the message, None without one.
    """

    log_ns: int
    stamp_ns: int | None
    sequence: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture.

    image: `(H, W, 3)` uint8 RGB, upright. t_ns: presentation time in ns, from the container's pts.
    index: number of the sampled frame in its source, from 0. mark: its place in a log or dataset, else None.
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
    """What is known about a source before it is decoded.

    uri: its address in the store, an absolute path. width, height: pixels, upright. duration_ns: 0 if unknown.
    fingerprint: identifies the content. start_ns: wall clock of t_ns = 0, in ns since the epoch, or None.
    recorded_by: how start_ns is known, one of RECORDED_BY; empty if it is unknown. former: the fingerprint by which
    memories of earlier versions know it; empty if there is none. files: what holds the content, none for a live source.
    """

    uri: str
    kind: SourceKind
    width: int
    height: int
    duration_ns: int
    fingerprint: str
    start_ns: int | None = None
    recorded_by: str = ""
    former: str = ""
    files: tuple[str, ...] = ()

    @property
    def address(self) -> Address:
        """The address that `uri` writes out."""
        return self.kind.address(self.uri)


@dataclass(frozen=True, slots=True, eq=False)
class RegionTokens:
    """The regions of one frame.

    visual: `(M, Dv)` float32 tokens, any norm.
    text: `(M, Dt)` float32 tokens, any norm.
    masks: `(M, h, w)` float32 in [0, 1] on the patch grid.
    points: `(M, 2)` float32 x, y in pixels of the frame.
    boxes: `(M, 4)` float32 x0, y0, x1, y1 in pixels of the frame.
    area: `(M,)` float32, the share of the frame that the mask covers.
    confidence: `(M,)` float32 in [0, 1], how sure it is that a thing is there; ones by default.

    For an encoder with views, `visual` is for tracking and `text` is the hint for the view (see `View`).
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
        """Select the regions at `rows`, in that order."""
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

    t_ns: its time. tracks: `(M,)` int64, unique ordinals of tracks in the source. boxes: `(M, 4)` float32 in pixels.
    masks: `(M, h, w)` bool on the patch grid.
    """

    t_ns: int
    tracks: NDArray[np.int64]
    boxes: Float32
    masks: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tracks)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A crop of a thing from a frame at full resolution, for the encoder's view step.

    image: `(h, w, 3)` uint8 RGB, the box with a margin. box: without the margin, in pixels of the upright frame.
    frame_size: width and height of that frame. t_ns: its time. hint: `(H,)` float32, the region step's text token,
    empty if the encoder wants none. sharpness: in [0, 1]. confidence: of the region.
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
    """Where a view of a track was cut.

    t_ns, box: see `View`. quality: the score it was chosen by (indexer/views.py). image: the crop as WebP if it was
    kept, with hint and confidence as in `View`.
    """

    t_ns: int
    box: Box
    quality: float
    image: bytes | None = None
    hint: tuple[float, ...] = ()
    confidence: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One thing, followed over the frames of one source.

    ordinal: number in the source, from 0, in order of first appearance. start_ns, end_ns: first and last frame in
    which it was seen, both inclusive. frames: number of sampled frames that show it. visual: `(Dv,)` and text: `(Dt,)`
    float32, running means of the tokens of its regions, or of its views. best_ns, best_box: the frame that shows it
    best. confidence: mean confidence of its regions. text_confidence: how sure its text token is, in [0, 1]; the score
    for words is the cosine times this. views: where views of it were cut, best first.
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
    """The poses over one source.

    topic: where they are from, or "tf". frame: the coordinate frame. t_ns: `(n,)` int64, increasing. values: `(n, 7)`
    float64, x, y, z in metres, then the quaternion x, y, z, w.
    """

    topic: str
    frame: str
    t_ns: NDArray[np.int64]
    values: NDArray[np.float64]

    def at(self, t_ns: int, max_gap_ns: int = 2 * NS) -> Pose | None:
        """The pose at t_ns, interpolated between two samples; None if the nearest is more than max_gap_ns away."""
        if not len(self.t_ns):
            return None
        after = int(np.searchsorted(self.t_ns, t_ns))
        before = max(after - 1, 0)
        after = min(after, len(self.t_ns) - 1)
        t0, t1 = int(self.t_ns[before]), int(self.t_ns[after])
        share = min(max((t_ns - t0) / (t1 - t0), 0.0), 1.0) if t1 > t0 else 0.0
        if t1 - t0 > max_gap_ns:
            share = round(share)
        if min(abs(t_ns - t0), abs(t1 - t_ns)) > max_gap_ns:
            return None
        a, b = self.values[before], self.values[after]
        b = np.concatenate([b[:3], b[3:] if a[3:] @ b[3:] >= 0 else -b[3:]])  # q and -q are the same rotation
        value = a + share * (b - a)
        value[3:] /= np.linalg.norm(value[3:]) or 1.0
        return Pose(self.topic, self.frame, *map(float, value))


@dataclass(frozen=True, slots=True)
class Pose:
    """Where something was.

    topic: the topic of the pose, "tf" for transforms. frame: the coordinate frame. x, y, z: metres. qx, qy, qz, qw: a
    unit quaternion.
    """

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
    """A moment of a sighting in the terms of its log or dataset.

    topic, clock: of the source; for a dataset the episode with its camera, and "episode". time_ns: the moment on that
    clock; log_ns, stamp_ns: on either clock, see `Mark`. All in ns since the epoch, or since the episode's start.
    sequence: number of the message, None if the log has none; frame_index in a dataset. pose: where the camera or the
    robot was, None if unknown.
    """

    topic: str
    clock: str
    time_ns: int
    log_ns: int
    stamp_ns: int | None
    sequence: int | None
    pose: Pose | None


@dataclass(frozen=True, slots=True)
class Sighting:
    """One contiguous span of time in which the thing was in view.

    source: the path or address of the source.
    start_ns, end_ns: the span, inclusive.
    score: the score for ranking and testing; the product of text_score and visual_score if the query has both.
    text_score: cosine times `Track.text_confidence`; None if the query has no words.
    visual_score: cosine; None if the query has no picture.
    frame_ns, box: the evidence, a frame inside the span and the thing in it.
    tracks: ids in the store.
    seen, last: the evidence and the end of the span in the terms of a log; None for other sources.
    picture: the file, in a folder of single pictures; boxes are in pixels of that picture.
    probability: that it shows what the query names; None if the encoder is not calibrated for such queries.
    confidence: that there is a thing at all.
    recorded_ns: wall clock of frame_ns in ns since the epoch; None if unknown.
    recorded_by: how recorded_ns is known; see `SourceInfo.recorded_by`.
    source_id: the id of the source in the store; 0 for a sighting that is not from a memory.
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
    source_id: int = 0

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
