"""The questions of SuperMemory-VQA (arXiv 2606.00825): `all_qa.json`, or `qa_person_N.json` of one person.

A list of questions, each about recordings of one person, with the windows of time that hold the evidence. Times are
seconds in a recording, and the start of each recording is in Unix time. Some questions have their own time as text.

    {question_id, question, choices[4], correct_option_index, choice_types[4], is_answerable, subject, video_ids,
     metadata: {skill, primary_video_id, primary_video_start_time},
     question_evidence: {time_spans: [{start_time, end_time, video_id, video_start_time_unix}]}
                     or {time_span: {start_time: "00:01:02", end_time}, video_id, start_time},
     answer_evidence: {evidence_list: [{video_id, start_time, time_span: {start_time, end_time}, modalities}]}}
"""

from __future__ import annotations

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import MediaError
from ..text_files import read_json

SEEN = frozenset({"Video", "OCR"})
"""The modalities of evidence that can be seen."""
_VIDEO = re.compile(r"\w[\w.-]{0,199}", re.ASCII)
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):(\d{2}(?:\.\d+)?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """A window of time in s from the start of a recording."""

    video: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class MemoryQuestion:
    """A question.

    Attributes:
        number: question_id.
        subject: Number of the person.
        text: What is asked.
        answerable: False if the recordings do not hold the answer.
        skill: The kind of memory that it asks for.
        videos: The recordings that the question may use.
        asked: When it is asked: the recording, and s from its start. What comes later does not exist yet.
        evidence: Where the answer can be seen or heard.
        modalities: Of the evidence.
    """

    number: int
    subject: int
    text: str
    answerable: bool
    skill: str
    videos: tuple[str, ...]
    asked: tuple[str, float]
    evidence: tuple[Window, ...]
    modalities: frozenset[str]

    @property
    def seen(self) -> bool:
        """True if all of the evidence can be seen."""
        return bool(self.modalities) and self.modalities <= SEEN


@dataclass(frozen=True, slots=True)
class MemoryQuestions:
    """A file.

    Attributes:
        questions: In the order of the file.
        starts: When each recording began, in s since the epoch; without those of which the file says nothing, or two
            times.
    """

    questions: tuple[MemoryQuestion, ...]
    starts: Mapping[str, float]


def load_questions(path: str | os.PathLike[str]) -> MemoryQuestions:
    """Read a file of questions.

    Raises:
        MediaError: The file cannot be read or has another form; the message names the first question that has.
    """
    data = read_json(path, "the questions cannot")
    if not isinstance(data, list) or not data:
        raise MediaError(f"a file of SuperMemory-VQA is a list of questions, and this is not one: {path}")
    questions, starts = [], defaultdict[str, set[float]](set)
    for place, entry in enumerate(data):
        try:
            questions.append(_question(entry))
            for video, start in _starts(entry):
                starts[video].add(start)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            raise MediaError(
                f"question {place} of the file lacks a part or has a wrong one ({error}); is it SuperMemory-VQA's "
                f"all_qa.json?: {path}"
            ) from None
    if len({question.number for question in questions}) < len(questions):
        raise MediaError(f"two questions have one question_id; fetch the file again: {path}")
    known = {video: min(times) for video, times in starts.items() if len(times) == 1}
    return MemoryQuestions(tuple(questions), known)


def _question(entry: Mapping[str, Any]) -> MemoryQuestion:
    text = entry["question"]
    if not isinstance(text, str) or not text.strip():
        raise ValueError("a question without words")
    if not isinstance(entry["is_answerable"], bool):
        raise ValueError(f"is_answerable is true or false, not {str(entry['is_answerable'])[:40]}")
    listed = (entry.get("answer_evidence") or {}).get("evidence_list") or []
    evidence = tuple(_window(one["video_id"], one["time_span"]) for one in listed if one.get("time_span"))
    return MemoryQuestion(
        number=int(entry["question_id"]),
        subject=int(entry["subject"]),
        text=text.strip(),
        answerable=entry["is_answerable"],
        skill=str(entry["metadata"]["skill"]),
        videos=tuple(_video(video) for video in entry["video_ids"]),
        asked=_asked(entry["question_evidence"]),
        evidence=evidence,
        modalities=frozenset(str(kind) for one in listed for kind in one.get("modalities") or ()),
    )


def _asked(evidence: Mapping[str, Any]) -> tuple[str, float]:
    spans = evidence.get("time_spans") or [evidence["time_span"]]
    first = min(spans, key=lambda span: _seconds(span["start_time"]))
    return _video(first.get("video_id") or evidence["video_id"]), _seconds(first["start_time"])


def _starts(entry: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The recordings and their starts that an entry names."""
    about, asked = entry["metadata"], entry["question_evidence"]
    pairs = [(about.get("primary_video_id"), about.get("primary_video_start_time"))]
    pairs += [(asked.get("video_id"), asked.get("start_time"))]
    pairs += [(span.get("video_id"), span.get("video_start_time_unix")) for span in asked.get("time_spans") or ()]
    listed = (entry.get("answer_evidence") or {}).get("evidence_list") or []
    pairs += [(one.get("video_id"), one.get("start_time")) for one in listed]
    for video, start in pairs:
        if video is not None and start is not None:
            yield _video(video), _seconds(start)


def _window(video: Any, span: Mapping[str, Any]) -> Window:
    start, end = _seconds(span["start_time"]), _seconds(span["end_time"])
    if end < start:
        raise ValueError(f"evidence that ends at {end:g} s, before it begins")
    return Window(_video(video), start, end)


def _video(value: Any) -> str:
    if not isinstance(value, str) or not _VIDEO.fullmatch(value):
        raise ValueError(f"{str(value)[:40]!r} is no name of a recording")
    return value


def _seconds(value: Any) -> float:
    """Seconds from a number, or from text such as 01:29:28."""
    if isinstance(value, str):
        match = _CLOCK.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"{value[:40]!r} is no time")
        return 3600 * int(match[1] or 0) + 60 * int(match[2]) + float(match[3])
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not 0 <= value < 1e11
    ):
        raise ValueError(f"{str(value)[:40]} is no time")
    return float(value)
