"""The demo: a synthetic walk and a film of real things with known answers, in one memory; and clips of the user, whose
answers the user checks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..export.files import replacing
from ..memory import Memory
from ..timecode import NS
from .demo_film import FILM, Film, FilmQuestion, script

if TYPE_CHECKING:
    from ..query.answers import Answer

WALK = Path(__file__).parent / "demo_data" / "walk.mp4"
QUESTIONS = WALK.with_name("walk.json")
"""The walk and its questions, made by `lab.demo_walk`."""

MIN_OVERLAP = 0.25
"""Minimum temporal IoU of a right answer, as in Ego4D VQ2D."""

WORDS = ("cup", "bottle", "dog", "person", "dining table", "chair", "shoe", "kettle", "violin")
"""What the user's clips are searched for: everyday things, and a rare one."""
MEMORY = "demo.memory"
CLIPS_MEMORY = "clips.memory"


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its answer.

    text: the question.
    truth: when the thing was last in view, from and to in ns; None when it never was.
    answer: what the memory answered.
    sheet: the picture that was saved; None when nothing was found.
    placed: False if the box of the answer is known not to be on the thing.
    wrong: why the encoder is known to fail here; None when it does not.
    """

    text: str
    truth: tuple[int, int] | None
    answer: Answer
    sheet: Path | None
    placed: bool = True
    wrong: str | None = None

    @property
    def right(self) -> bool:
        """Return True if it was found at the right time and place, or rightly not found."""
        if self.truth is None or not self.answer:
            return self.truth is None and not self.answer
        return self.placed and overlap(self.truth, (self.answer[0].start_ns, self.answer[0].end_ns)) >= MIN_OVERLAP


def overlap(a: tuple[int, int], b: tuple[int, int]) -> float:
    """Temporal IoU of two spans in ns."""
    shared = min(a[1], b[1]) - max(a[0], b[0])
    return max(shared, 0) / max(max(a[1], b[1]) - min(a[0], b[0]), 1)


def run_demo(folder: Path, say: Callable[[str], None]) -> list[Question]:
    """Index the walk and the film into a memory in `folder`, ask the questions and save contact sheets there.

    Raises UsageError if the folder holds something else.
    """
    mark = folder / QUESTIONS.name
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not mark.exists())):
        raise UsageError(f"the demo needs a folder of its own and this one is in use; give another: {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(QUESTIONS, mark)
    video = folder / WALK.name
    shutil.copyfile(WALK, video)
    shutil.rmtree(folder / MEMORY, ignore_errors=True)
    with Memory.open(folder / MEMORY) as memory:
        (report,) = memory.index(video)
        say(f"indexed a synthetic walk, {report.media_s:.1f} s in {report.seconds:.1f} s, {report.tracks} tracks")
        questions = [_ask(memory, text, truth, folder) for text, truth in walk_questions()]
        return questions + ask_film(memory, folder, say)


def walk_questions() -> list[tuple[str, tuple[int, int] | None]]:
    """The questions about the walk, each with the last span in ns when the thing was in view; None if it never was."""
    rows = json.loads(QUESTIONS.read_text("utf-8"))["questions"]
    return [(q["ask"], None if q["start_ns"] is None else (q["start_ns"], q["end_ns"])) for q in rows]


def ask_film(memory: Memory, folder: Path, say: Callable[[str], None]) -> list[Question]:
    """Index a copy of the film in `folder` and ask the questions of its script.

    They are limited to the film, because the truth about the walk does not cover them.
    """
    film, video = script(), folder / FILM.name
    shutil.copyfile(FILM, video)
    (report,) = memory.index(video)
    say(f"indexed a film of real things, {report.media_s:.1f} s in {report.seconds:.1f} s, {report.tracks} tracks")
    return [_ask_of_film(memory, film, question, video) for question in film.questions]


def _ask_of_film(memory: Memory, film: Film, film_question: FilmQuestion, video: Path) -> Question:
    """Ask one question. The box of the answer is on the thing if its centre is in the annotated box."""
    question = _ask(memory, film_question.text, None, video.parent, "film-", sources=[str(video)])
    if film_question.thing is None:
        return replace(question, wrong=film_question.wrong)
    shot = film.last(film_question.thing)
    placed = False
    if question.answer:
        best = question.answer[0]
        x, y = (best.box[0] + best.box[2]) / 2, (best.box[1] + best.box[3]) / 2
        x0, y0, x1, y1 = shot.box(film_question.thing, best.frame_s, film.size)
        placed = shot.start_s <= best.frame_s < shot.end_s and x0 <= x <= x1 and y0 <= y <= y1
    truth = (round(shot.start_s * NS), round(shot.end_s * NS))
    return replace(question, truth=truth, placed=placed, wrong=film_question.wrong)


def demo_clips(folder: Path, clips: Path, say: Callable[[str], None]) -> list[Question]:
    """Index the videos in `clips` into a memory in `folder`, ask for WORDS and save contact sheets.

    The truth is unknown, so `truth` means nothing here. Raises as `Memory.index` does if there is no video.
    """
    shutil.rmtree(folder / CLIPS_MEMORY, ignore_errors=True)
    with Memory.open(folder / CLIPS_MEMORY) as memory:
        reports = memory.index(clips)
        media, spent = sum(r.media_s for r in reports), sum(r.seconds for r in reports)
        tracks = sum(r.tracks for r in reports)
        say(f"indexed {len(reports)} clips, {media:.1f} s in {spent:.1f} s, {tracks} tracks")
        return [_ask(memory, word, None, folder, "clips-") for word in WORDS]


def _ask(
    memory: Memory,
    text: str,
    truth: tuple[int, int] | None,
    folder: Path,
    prefix: str = "",
    sources: Sequence[str] = (),
) -> Question:
    answer = memory.where(text, top=None, sources=sources)
    sheet = folder / f"{prefix}{text.replace(' ', '-').replace('/', '-')}.png"
    sheet.unlink(missing_ok=True)  # from an earlier run
    if answer:
        with replacing(str(sheet), "the picture") as part:
            memory.picture(answer[0], text, others=answer.sightings).save(part)
    return Question(text, truth, answer, sheet if answer else None)


def seconds_of(span: tuple[int, int]) -> str:
    """A span in ns, in seconds for people."""
    return f"{span[0] / NS:.1f} to {span[1] / NS:.1f} s"
