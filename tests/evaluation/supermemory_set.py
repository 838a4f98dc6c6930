"""A small set in the layout of SuperMemory-VQA: films of coloured squares as recordings of two people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fakes

START = 1_773_180_000
"""Unix time of the first recording; the others begin an hour apart."""
SCENES: Mapping[str, fakes.Scene] = {
    "Person_1_session_1_01312026_glasses_1": [("red", 1, 3, 8), ("blue", 4, 8, 64)],
    "Person_1_session_2_01312026_glasses_1": [("green", 0, 2, 24), ("red", 6, 8, 96)],
    "Person_2_session_1_02012026_glasses_2": [("yellow", 2, 5, 64)],
}
SECONDS = 9
FIRST, SECOND, OTHER = SCENES
UNANSWERABLE = "This question can not be answered."


def started(video: str) -> int:
    return START + 3600 * list(SCENES).index(video)


def row(
    number: int, text: str, asked: tuple[str, float], evidence: list[tuple[str, float, float]], skill: str, *kinds: str
) -> dict[str, Any]:
    """A question of the file. evidence: empty for one that cannot be answered."""
    video, seconds = asked
    videos = [name for name in SCENES if name.startswith(video[:8])]
    choices = [UNANSWERABLE, "on the left", "on the right", "somewhere"]
    return {
        "question_id": number,
        "question": text,
        "choices": choices,
        "correct_answer": choices[1 if evidence else 0],
        "correct_option_index": 1 if evidence else 0,
        "choice_types": ["incorrect", "correct", "incorrect", "vague"],
        "is_answerable": bool(evidence),
        "subject": int(video.split("_")[1]),
        "metadata": {"skill": skill, "primary_video_id": video, "primary_video_start_time": started(video)},
        "video_ids": videos,
        "question_evidence": {
            "time_spans": [
                {
                    "start_time": seconds,
                    "end_time": seconds + 1,
                    "video_id": video,
                    "video_start_time_unix": started(video),
                }
            ],
            "modalities": ["Video"],
        },
        "answer_evidence": {
            "evidence_list": [
                {
                    "video_id": name,
                    "start_time": started(name),
                    "time_span": {"start_time": start, "end_time": end},
                    "modalities": list(kinds) or ["Video"],
                    "room": "kitchen",
                }
                for name, start, end in evidence
            ]
        },
    }


def document() -> list[dict[str, Any]]:
    clock = row(5, "Did I see a yellow thing?", (OTHER, 8), [(OTHER, 2, 5)], "visual_recall", "Video", "Audio")
    clock["question_evidence"] = {
        "time_span": {"start_time": "00:08", "end_time": "00:00:09"},
        "video_id": OTHER,
        "start_time": started(OTHER),
    }
    return [
        row(1, "Where was the red thing?", (SECOND, 5), [(FIRST, 1, 3)], "object_location_memory"),
        row(2, "Where was the blue thing?", (FIRST, 3), [], "object_location_memory"),
        row(
            3,
            "What green thing and what blue thing did I see?",
            (SECOND, 8),
            [(SECOND, 0, 2), (FIRST, 4, 8)],
            "timeline",
        ),
        row(4, "Where is the magenta thing?", (SECOND, 8), [], "visual_recall"),
        clock,
    ]


def write(folder: Path) -> tuple[Path, Path]:
    """Write the set; the file of questions and the folder of videos."""
    for video, scene in SCENES.items():
        place = folder / "data" / "video" / video[:8]
        place.mkdir(parents=True, exist_ok=True)
        fakes.squares(place / f"{video}.mp4", scene, SECONDS)
    file = folder / "data" / "all_qa.json"
    file.write_text(json.dumps(document()))
    return file, folder / "data" / "video"
