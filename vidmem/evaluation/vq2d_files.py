"""Files of Ego4D's visual queries (VQ2D): the annotations, and predictions in the layout of the challenge.

Frames are counted at the rate of the clip, which is 5 per second. Boxes of the files are x, y, width, height in pixels
of the picture size that stands beside them.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import MediaError
from ..records import Box
from ..text_files import read_json

CHALLENGE = "ego4d_vq2d_challenge"
CLIP_FPS = 5.0
"""The rate at which the clips of Ego4D's visual queries are annotated, in frames per second."""

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
        title: The name of the thing.
        frame: Number of the frame at which is asked; the answer lies before it.
        crop: The picture of the thing, cut out of a frame of the clip.
        response: The last appearance, ascending by frame; empty in files without answers.
        fps: Frames per second of the clip.
        valid: False for queries that the benchmark leaves out.
    """

    clip: str | None
    key: Key
    title: str
    frame: int
    crop: FrameBox
    response: tuple[FrameBox, ...]
    fps: float
    valid: bool


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip with its queries.

    Attributes:
        uid: clip_uid, which names its file; None in some files.
        video: video_uid, which names the whole video that the clip is a part of; None in some files.
        split: `train`, `val` or `test`; None if the file does not say.
        start_s: Where the clip starts in the whole video, in s; None if the file does not say.
        end_s: Where it ends.
        queries: In the order of the file.
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


def clips(annotations: Mapping[str, Any]) -> Iterator[Clip]:
    """Yield the clips of a file in its order.

    Raises:
        MediaError: An entry lacks a part; the message names it.
    """
    for video in annotations["videos"]:
        for clip in _list(video, "clips", "a video"):
            rows = _list(clip, "annotations", "a clip")
            fps = clip.get("clip_fps") or CLIP_FPS
            if not isinstance(fps, int | float) or not 0 < fps < 1000:
                raise MediaError(f"`clip_fps` is frames per second; got {str(fps)[:40]}; is it a file of VQ2D?")
            found = []
            for annotation in rows:
                sets = annotation.get("query_sets") if isinstance(annotation, dict) else None
                if not isinstance(sets, dict):
                    raise MediaError("an annotation has no mapping `query_sets`; is it a file of VQ2D?")
                for number, entry in sets.items():
                    key = str(annotation.get("annotation_uid")), str(number)
                    found.append(_query(_text(clip, "clip_uid"), key, entry, float(fps)))
            yield Clip(
                uid=_name(clip, "clip_uid"),
                video=_name(video, "video_uid"),
                split=_text(video, "split"),
                start_s=_seconds(clip, "video_start_sec"),
                end_s=_seconds(clip, "video_end_sec"),
                queries=tuple(found),
            )


def queries(annotations: Mapping[str, Any]) -> Iterator[VisualQuery]:
    """Yield the queries of a file in its order.

    Raises:
        MediaError: An entry lacks a part; the message names it.
    """
    for clip in clips(annotations):
        yield from clip.queries


def predictions(annotations: Mapping[str, Any], answers: Mapping[Key, Response | None]) -> dict[str, Any]:
    """Predictions in the layout of the challenge, in the order of the annotations.

    Coordinates are rounded to whole pixels. The official evaluation cannot read a query without boxes. A query without
    an answer therefore has one box without area and the score 0, at the frame at which is asked: an answer lies before
    it, so that this box never counts as right. Queries that the benchmark leaves out have no boxes.
    """
    videos = []
    for video in annotations["videos"]:
        parts = []
        for clip in video["clips"]:
            entries = []
            for annotation in clip["annotations"]:
                uid = str(annotation.get("annotation_uid"))  # as `queries` names it
                sets = {
                    number: _entry(answers.get((uid, str(number))), entry)
                    for number, entry in annotation["query_sets"].items()
                }
                entries.append({"annotation_uid": annotation.get("annotation_uid"), "query_sets": sets})
            parts.append({"clip_uid": clip.get("clip_uid"), "predictions": entries})
        videos.append({"video_uid": video.get("video_uid"), "clips": parts})
    return {"version": annotations.get("version"), "challenge": CHALLENGE, "results": {"videos": videos}}


def load_predictions(path: str | os.PathLike[str]) -> dict[Key, Response]:
    """Read predictions in the layout of the challenge; queries without boxes are left out.

    Raises:
        MediaError: The file cannot be read or has another form, or the frames of a query have a gap.
    """
    found = read_json(path, "the predictions cannot")
    try:
        return {
            key: answer
            for video in found["results"]["videos"]
            for clip in video["clips"]
            for entry in clip["predictions"]
            for key, answer in _answers(str(entry["annotation_uid"]), entry["query_sets"])
        }
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise MediaError(f"these are no predictions of VQ2D ({error}); write the file again: {path}") from None


def _answers(uid: str, sets: Mapping[str, Any]) -> Iterator[tuple[Key, Response]]:
    for number, entry in sets.items():
        rows = sorted(entry["bboxes"], key=lambda row: int(row["fno"]))
        frames = [int(row["fno"]) for row in rows]
        if frames != list(range(frames[0], frames[0] + len(frames))) if frames else False:
            raise ValueError(f"the frames of query {number} of annotation {uid} have a gap")
        boxes = [(float(row["x1"]), float(row["y1"]), float(row["x2"]), float(row["y2"])) for row in rows]
        if not all(math.isfinite(value) for box in boxes for value in box):
            raise ValueError(f"query {number} of annotation {uid} has a box that is not finite")
        if boxes:
            yield (uid, str(number)), Response(frames[0], tuple(boxes), float(entry["score"]))


def _entry(answer: Response | None, asked: Mapping[str, Any]) -> dict[str, Any]:
    if answer is None:
        nowhere = [{"fno": int(asked["query_frame"]), "x1": 0, "y1": 0, "x2": 0, "y2": 0}]
        return {"bboxes": nowhere if asked.get("is_valid", True) else [], "score": 0.0}
    boxes = [
        {"fno": answer.first + i, "x1": round(x0), "y1": round(y0), "x2": round(x1), "y2": round(y1)}
        for i, (x0, y0, x1, y1) in enumerate(answer.boxes)
    ]
    return {"bboxes": boxes, "score": answer.score}


def _text(entry: Mapping[str, Any], name: str) -> str | None:
    value = entry.get(name)
    if value is not None and not isinstance(value, str):
        raise MediaError(f"`{name}` is a text; got {str(value)[:40]}; is it a file of VQ2D?")
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
        raise MediaError(f"`{name}` is a number of seconds; got {str(value)[:40]}; is it a file of VQ2D?")
    return float(value)


def _list(entry: Any, name: str, owner: str) -> Sequence[Any]:
    found = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(found, list):
        raise MediaError(f"{owner} of the annotations has no list `{name}`; is it a file of VQ2D?")
    return found


def _query(clip: str | None, key: Key, entry: Any, fps: float) -> VisualQuery:
    try:
        track = sorted((_box(one) for one in entry.get("response_track", ())), key=lambda one: one.frame)
        frame, title = int(entry["query_frame"]), str(entry["object_title"])
        if frame < 0:
            raise ValueError(f"frame {frame}")
        return VisualQuery(
            clip=clip,
            key=key,
            title=title,
            frame=frame,
            crop=_box(entry["visual_crop"]),
            response=tuple(track),
            fps=fps,
            valid=bool(entry.get("is_valid", True)),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise MediaError(
            f"query {key[1]} of annotation {key[0]} lacks a part or has a wrong one ({error}); fetch the file again"
        ) from None


def _box(entry: Mapping[str, Any]) -> FrameBox:
    x, y = float(entry["x"]), float(entry["y"])
    size = int(entry["original_width"]), int(entry["original_height"])
    if min(size) < 1:
        raise ValueError(f"a picture of {size[0]} x {size[1]} pixels")
    if not all(math.isfinite(float(entry[name])) for name in ("x", "y", "width", "height")):
        raise ValueError("a box that is not finite")
    return FrameBox(int(entry["frame_number"]), (x, y, x + float(entry["width"]), y + float(entry["height"])), size)
