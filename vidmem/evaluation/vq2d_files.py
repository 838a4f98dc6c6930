"""The annotations of Ego4D's visual queries (VQ2D); `vq2d_predictions` writes the answers.

Frames are counted at the rate of the clip, which is 5 per second. Boxes of the files are x, y, width, height in pixels
of the picture size that stands beside them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import MediaError
from ..export.trainset.show import cut, short
from ..records import Box
from ..text_files import read_json

CLIP_FPS = 5.0
"""The rate at which the clips of Ego4D's visual queries are annotated, in frames per second."""

MOST_FRAMES = 10_000_000
"""Numbers of frames are below this: 23 days at the rate of the clips. It keeps all times within 64 bits of ns."""
MOST_PIXELS = 1_000_000
"""Sizes and places in pictures are at most this many pixels."""
FPS_RANGE = (0.1, 1000.0)
"""Lowest and highest rate of a clip in frames per second."""

_PLAIN = re.compile(r"\w[\w.-]{0,199}", re.ASCII)

Key = tuple[str, str]
"""annotation_uid and the number of the query set, which name a query."""


@dataclass(frozen=True, slots=True)
class FrameBox:
    """A box in a frame.

    Attributes:
        frame: Number of the frame in the clip.
        box: x0, y0, x1, y1 in pixels of a picture of `size`.
        size: Width and height in pixels.
    """

    frame: int
    box: Box
    size: tuple[int, int]

    def scaled(self, width: int, height: int) -> Box:
        """The box in pixels of a picture of another size."""
        x, y = width / self.size[0], height / self.size[1]
        return self.box[0] * x, self.box[1] * y, self.box[2] * x, self.box[3] * y


@dataclass(frozen=True, slots=True)
class VisualQuery:
    """A query: where was this thing last seen before that frame?

    Attributes:
        clip: clip_uid; None in some files.
        key: See `Key`.
        title: The name of the thing; empty in a file without one.
        frame: Number of the frame at which is asked; the answer lies before it.
        crop: The picture of the thing, cut out of a frame of the clip.
        response: The last appearance, ascending by frame; empty in files without answers.
        fps: Frames per second of the clip.
    """

    clip: str | None
    key: Key
    title: str
    frame: int
    crop: FrameBox
    response: tuple[FrameBox, ...]
    fps: float


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip with its queries.

    Attributes:
        uid: clip_uid, which names its file; None in some files.
        video: video_uid, which names the whole video that the clip is a part of; None in some files.
        split: `train`, `val` or `test`; None if the file does not say.
        start_s: Where the clip starts in the whole video, in s; None if the file does not say.
        end_s: Where it ends.
        queries: In the order of the file, without those that are marked as not valid.
    """

    uid: str | None
    video: str | None
    split: str | None
    start_s: float | None
    end_s: float | None
    queries: tuple[VisualQuery, ...]

    @property
    def name(self) -> str:
        """A name for people and for keys: clip_uid, or the video and the place in it."""
        return self.uid or f"{self.video or 'video'}@{0 if self.start_s is None else self.start_s:g}"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer to a query.

    Attributes:
        boxes: x0, y0, x1, y1 in pixels of the original, one for each frame from `first` on, without a gap.
        first: Number of the first frame.
        score: The higher the more certain.
    """

    first: int
    boxes: tuple[Box, ...]
    score: float

    @property
    def last(self) -> int:
        """Number of the last frame, inclusive."""
        return self.first + len(self.boxes) - 1


def load_annotations(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file of annotations (`vq_val.json`).

    Raises:
        MediaError: The file cannot be read or has another form.
    """
    found = read_json(path, "the annotations cannot")
    if not isinstance(found, dict) or not isinstance(found.get("videos"), list):
        raise MediaError(f"annotations of VQ2D have a list `videos`, and this file does not: {path}")
    return found


def is_valid(entry: Any) -> bool:
    """Return False for a query of the file that the benchmark leaves out. Such a query may lack any part."""
    return not isinstance(entry, dict) or bool(entry.get("is_valid", True))


def clips(annotations: Mapping[str, Any]) -> Iterator[Clip]:
    """Yield the clips of a file in its order.

    Raises:
        MediaError: An entry lacks a part, or a number is out of range; the message names it.
    """
    for video in annotations["videos"]:
        for clip in _list(video, "clips", "a video"):
            rows = _list(clip, "annotations", "a clip")
            fps = _rate(clip)
            found = []
            for annotation in rows:
                sets = annotation.get("query_sets") if isinstance(annotation, dict) else None
                if not isinstance(sets, dict):
                    raise MediaError("an annotation has no mapping `query_sets`; is it a file of VQ2D?")
                for number, entry in sets.items():
                    if is_valid(entry):
                        key = str(annotation.get("annotation_uid")), str(number)
                        found.append(_query(_text(clip, "clip_uid"), key, entry, fps))
            yield Clip(
                uid=_name(clip, "clip_uid"),
                video=_name(video, "video_uid"),
                split=_text(video, "split"),
                start_s=_seconds(clip, "video_start_sec"),
                end_s=_seconds(clip, "video_end_sec"),
                queries=tuple(found),
            )


def queries(annotations: Mapping[str, Any]) -> Iterator[VisualQuery]:
    """Yield the valid queries of a file in its order.

    Raises:
        MediaError: An entry lacks a part; the message names it.
    """
    for clip in clips(annotations):
        yield from clip.queries


def _text(entry: Mapping[str, Any], name: str) -> str | None:
    value = entry.get(name)
    if value is not None and not isinstance(value, str):
        raise MediaError(f"`{name}` is a text; got {short(value)}; is it a file of VQ2D?")
    return value


def _name(entry: Mapping[str, Any], name: str) -> str | None:
    value = _text(entry, name)
    if value is not None and not _PLAIN.fullmatch(value):
        raise MediaError(f"`{name}` names a file, so it has no / and no odd signs; got {value[:40]!r}")
    return value


def _seconds(entry: Mapping[str, Any], name: str) -> float | None:
    value = entry.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e7:
        raise MediaError(f"`{name}` is a number of seconds; got {short(value)}; is it a file of VQ2D?")
    return float(value)


def _list(entry: Any, name: str, owner: str) -> Sequence[Any]:
    found = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(found, list):
        raise MediaError(f"{owner} of the annotations has no list `{name}`; is it a file of VQ2D?")
    return found


def _rate(clip: Mapping[str, Any]) -> float:
    value = clip.get("clip_fps")
    if value is None:
        return CLIP_FPS
    low, high = FPS_RANGE
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise MediaError(
            f"`clip_fps` is frames per second, from {low:g} to {high:g}; got {short(value)}; is it a file of VQ2D?"
        )
    return float(value)


def _query(clip: str | None, key: Key, entry: Any, fps: float) -> VisualQuery:
    try:
        if not isinstance(entry, dict):
            raise ValueError(f"{short(entry)} is no query")
        track, title = entry.get("response_track", []), entry["object_title"]
        if not isinstance(track, list):
            raise ValueError(f"`response_track` is {short(track)}, not a list")
        if title is not None and not isinstance(title, str):
            raise ValueError(f"`object_title` is {short(title)}, not a text")
        return VisualQuery(
            clip=clip,
            key=key,
            title=title or "",
            frame=frame_number(entry, "query_frame"),
            crop=_box(entry["visual_crop"]),
            response=tuple(sorted(map(_box, track), key=lambda one: one.frame)),
            fps=fps,
        )
    except KeyError as error:
        raise MediaError(f"{_named(key)} has no `{error.args[0]}`; fetch the file again") from None
    except ValueError as error:
        raise MediaError(f"{_named(key)} has a wrong part ({error}); fetch the file again") from None


def _named(key: Key) -> str:
    return f"query {cut(key[1])} of annotation {cut(key[0])}"


def _box(entry: Any) -> FrameBox:
    if not isinstance(entry, dict):
        raise ValueError(f"{short(entry)} is no box")
    x, y, width, height = (_pixels(entry, name) for name in ("x", "y", "width", "height"))
    size = _whole(entry, "original_width", 1, MOST_PIXELS), _whole(entry, "original_height", 1, MOST_PIXELS)
    return FrameBox(frame_number(entry, "frame_number"), (x, y, x + width, y + height), size)


def frame_number(entry: Mapping[str, Any], name: str) -> int:
    """The number of a frame in an entry of the file.

    Raises:
        KeyError: It is not there.
        ValueError: It is not a whole number from 0 to below MOST_FRAMES.
    """
    return _whole(entry, name, 0, MOST_FRAMES - 1)


def _whole(entry: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = entry[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high or value % 1:
        raise ValueError(f"`{name}` is {short(value)}, not a whole number from {low:,} to {high:,}")
    return int(value)


def _pixels(entry: Mapping[str, Any], name: str) -> float:
    value = entry[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not -MOST_PIXELS <= value <= MOST_PIXELS:
        raise ValueError(f"`{name}` is {short(value)}, not a number of pixels")
    return float(value)
