"""Answers to Ego4D's visual queries (VQ2D) in the layout of the challenge."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..errors import MediaError
from ..records import Box
from ..text_files import read_json
from .vq2d_files import Key, Response, frame_number, is_valid

CHALLENGE = "ego4d_vq2d_challenge"


def whole_pixels(answer: Response) -> Response:
    """The answer as `predictions` writes it: with boxes of whole pixels."""
    return replace(answer, boxes=tuple(_rounded(box) for box in answer.boxes))


def _rounded(box: Box) -> Box:
    return float(round(box[0])), float(round(box[1])), float(round(box[2])), float(round(box[3]))


def predictions(annotations: Mapping[str, Any], answers: Mapping[Key, Response | None]) -> dict[str, Any]:
    """Predictions in the layout of the challenge, in the order of the annotations.

    Coordinates are rounded to whole pixels, see `whole_pixels`. The official evaluation cannot read a query without
    boxes. A query without an answer therefore has one box without area at the frame at which is asked. An answer lies
    before that frame, so that this box never counts as right. Its score is below that of every answer, and at most 0.
    Queries that the benchmark leaves out have no boxes.

    Args:
        annotations: As `vq2d_files.load_annotations` read them, and as `clips` accepts them.
        answers: By key.
    """
    lowest = min((answer.score for answer in answers.values() if answer is not None), default=1.0)
    nowhere = 0.0 if lowest > 0 else lowest - 1.0
    videos = []
    for video in annotations["videos"]:
        parts = []
        for clip in video["clips"]:
            entries = []
            for annotation in clip["annotations"]:
                uid = str(annotation.get("annotation_uid"))  # as `queries` names it
                sets = {
                    number: _entry(answers.get((uid, str(number))), entry, nowhere)
                    for number, entry in annotation["query_sets"].items()
                }
                entries.append({"annotation_uid": annotation.get("annotation_uid"), "query_sets": sets})
            parts.append({"clip_uid": clip.get("clip_uid"), "predictions": entries})
        videos.append({"video_uid": video.get("video_uid"), "clips": parts})
    return {"version": annotations.get("version"), "challenge": CHALLENGE, "results": {"videos": videos}}


def _entry(answer: Response | None, asked: Mapping[str, Any], nowhere: float) -> dict[str, Any]:
    if not is_valid(asked):
        return {"bboxes": [], "score": 0.0}
    if answer is None:
        return {
            "bboxes": [{"fno": frame_number(asked, "query_frame"), "x1": 0, "y1": 0, "x2": 0, "y2": 0}],
            "score": nowhere,
        }
    boxes = [
        {"fno": answer.first + i, "x1": round(x0), "y1": round(y0), "x2": round(x1), "y2": round(y1)}
        for i, (x0, y0, x1, y1) in enumerate(answer.boxes)
    ]
    return {"bboxes": boxes, "score": answer.score}


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
