"""A small set in the layout of VQ2D: films of coloured squares as clips, with annotations made from their script."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fakes

SIZE = (2 * fakes.WIDTH, 2 * fakes.HEIGHT)
"""The annotations are of a picture of twice the size, as Ego4D's are larger than its clips."""
FPS = 5
SCENES: Mapping[str, fakes.Scene] = {
    "c0": [("red", 0, 2, 8), ("red", 4, 6, 120), ("blue", 0, 9, 64)],
    "c1": [("green", 1, 3, 24), ("yellow", 5, 8, 96)],
    "c2": [("red", 2, 5, 64)],
}
QUERIES: Mapping[str, Sequence[tuple[str, int, int, int, int]]] = {
    "c0": [("red", 38, 2, 20, 29), ("red", 18, 22, 0, 9)],
    "c1": [("green", 30, 7, 5, 14), ("yellow", 44, 28, 25, 39)],
    "c2": [("red", 40, 12, 10, 24)],
}
"""Of each clip: the thing, when is asked, the frame of the crop, first and last frame of the answer."""
SECONDS = 9


def box(clip: str, colour: str, frame: int) -> dict[str, Any]:
    """Where a colour is in a frame, in pixels of SIZE."""
    at = frame / FPS
    (x,) = (x for name, start, end, x in SCENES[clip] if name == colour and start <= at < end)
    size = {"original_width": SIZE[0], "original_height": SIZE[1], "rotation": 0}
    return {"frame_number": frame, "x": 2.0 * x, "y": 64.0, "width": 64.0, "height": 64.0, **size}


def entry(clip: str, row: tuple[str, int, int, int, int]) -> dict[str, Any]:
    colour, asked, crop, first, last = row
    return {
        "is_valid": True,
        "errors": [],
        "query_frame": asked,
        "object_title": colour,
        "visual_crop": box(clip, colour, crop),
        "response_track": [box(clip, colour, frame) for frame in reversed(range(first, last + 1))],
    }


def document() -> dict[str, Any]:
    """The annotations: a video for each clip, and one query that the benchmark leaves out."""
    videos = []
    for number, clip in enumerate(SCENES):
        sets = {str(i): entry(clip, row) for i, row in enumerate(QUERIES[clip], 1)}
        sets["9"] = {**sets["1"], "is_valid": False, "response_track": []}
        made = {
            "clip_uid": clip,
            "video_start_sec": 0.0,
            "video_end_sec": float(SECONDS),
            "clip_fps": float(FPS),
            "annotations": [{"annotation_uid": f"a{number}", "query_sets": sets}],
        }
        videos.append({"video_uid": f"v{number}", "split": "val", "clips": [made]})
    return {"version": "1.0.5", "date": "today", "description": "made up", "videos": videos}


def write(folder: Path) -> tuple[Path, Path]:
    """Write the set; the file of annotations and the folder of clips."""
    clips = folder / "clips"
    clips.mkdir(parents=True)
    for clip, scene in SCENES.items():
        fakes.squares(clips / f"{clip}.mp4", scene, SECONDS, fps=FPS)
    annotations = folder / "vq_val.json"
    annotations.write_text(json.dumps(document()))
    return annotations, clips
