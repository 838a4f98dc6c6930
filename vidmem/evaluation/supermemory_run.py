"""A run of SuperMemory-VQA: a memory for each person, and each question asked of what was recorded before it.

A question goes to `Memory.where` as it is written. Its windows are the sightings, best first, or the near misses where
nothing counts as found. Only the recordings that the question lists are searched, up to the moment when it is asked.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..encoders import Encoder
from ..errors import MediaError, UsageError
from ..indexer.progress import IndexProgress
from ..memory import Memory
from .memories import opened
from .supermemory_files import MemoryQuestion, MemoryQuestions

MOST = 10
"""Windows that are kept of an answer."""


def video_file(folder: str | Path, video: str) -> Path | None:
    """The file of a recording: below its person's folder, as it is shipped, or in the folder itself."""
    person = "_".join(video.split("_")[:2])
    for place in (Path(folder, person), Path(folder)):
        if (file := place / f"{video}.mp4").is_file():
            return file
    return None


class People:
    """The memories of a run, one for each person."""

    def __init__(self, asked: MemoryQuestions, folder: str | Path, memories: str | Path, encoder: Encoder) -> None:
        """folder: Of the videos. memories: Folder for the memories, person_N each."""
        self._asked, self._folder, self._memories, self._encoder = asked, Path(folder), Path(memories), encoder
        self._open: tuple[int, Memory] | None = None
        self._damaged: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def index(
        self, questions: Sequence[MemoryQuestion], progress: Callable[[IndexProgress], None] | None = None
    ) -> None:
        """Index the recordings that questions may use, and note when each began. What is indexed is skipped.

        Recordings that are missing or damaged are left out; `ask` names them.

        Raises:
            MediaError: None of the recordings is there.
            ModelMismatchError: A memory was made with other settings.
            StoreError: A memory cannot be written.
        """
        wanted: dict[int, set[str]] = defaultdict(set)
        for question in questions:
            wanted[question.subject] |= {*question.videos, question.asked[0]}
        there = False
        for subject, videos in sorted(wanted.items()):
            files = {video: file for video in sorted(videos) if (file := video_file(self._folder, video)) is not None}
            there = there or bool(files)
            memory = self._memory(subject)
            for video, file in files.items():
                try:
                    (report,) = memory.index(file, progress=progress)
                except MediaError as error:
                    self._damaged[video] = str(error)
                    continue
                # A recording that was moved keeps its name in the memory.
                rows = memory.store.sources()
                self._names[video] = next(row.uri for row in rows if row.fingerprint == report.info.fingerprint)
                if (start := self._asked.starts.get(video)) is not None:
                    memory.set_recorded(self._names[video], datetime.fromtimestamp(start, UTC))
        if not there:
            name = next(iter(sorted(next(iter(wanted.values())))))
            raise MediaError(f"no recording is there, such as {name}.mp4; check the folder: {self._folder}")

    def ask(self, question: MemoryQuestion) -> dict[str, Any]:
        """Ask a question whose recordings `index` was given, as plain data for the journal.

        Raises:
            MediaError: A recording is missing or damaged, or it is not known when one began.
            StoreError: The memory is damaged.
        """
        files = {}
        for video in dict.fromkeys((*question.videos, question.asked[0])):
            if video_file(self._folder, video) is None:
                raise MediaError(f"a recording is missing; put {video}.mp4 there: {self._folder}")
            if video in self._damaged:
                raise MediaError(self._damaged[video])
            if video not in self._asked.starts:
                raise MediaError(f"the file does not say when a recording began, or says it twice: {video}")
            files[self._names[video]] = video
        video, seconds = question.asked
        moment = datetime.fromtimestamp(self._asked.starts[video], UTC) + timedelta(seconds=seconds)
        began = [uri for uri, name in files.items() if self._asked.starts[name] < moment.timestamp()]
        memory = self._memory(question.subject)
        start, windows, note, found, score = time.perf_counter(), [], "", False, 0.0
        if began:
            try:
                answer = memory.where(question.text, top=None, sources=began, before=moment)
            except UsageError as error:  # words that the encoder does not know
                note = str(error)
            else:
                found = bool(answer)
                listed = sorted(answer.sightings or answer.near_misses, key=lambda one: -_rank(one))
                windows = [[files[one.source], one.start_s, one.end_s] for one in listed[:MOST]]
                score = _rank(listed[0]) if listed else 0.0
        ms = (time.perf_counter() - start) * 1000
        return {"found": found, "score": score, "windows": windows, "note": note, "ms": ms}

    def close(self) -> None:
        """Close the memory that is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def __enter__(self) -> People:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _memory(self, subject: int) -> Memory:
        if self._open is None or self._open[0] != subject:
            self.close()
            self._open = subject, opened(self._memories / f"person_{subject}", self._encoder)
        return self._open[1]


def _rank(sighting: Any) -> float:
    return float(sighting.score if sighting.probability is None else sighting.probability)
