"""The demo: a made-up walk and a film of real things with known answers, both indexed into one memory and asked; and
real clips, whose answers one has to look at."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..timecode import NS
from .demo_film import FILM, Film, FilmQuestion, script

if TYPE_CHECKING:
    from ..memory import Memory
    from ..query.answers import Answer

WALK = Path(__file__).parent / "demo_data" / "walk.mp4"
QUESTIONS = WALK.with_name("walk.json")
"""The walk and its questions, as `lab.demo_walk` made them."""

OVERLAP = 0.25
"""Least temporal IoU of a right answer (the measure of Ego4D VQ2D)."""

WORDS = ("cup", "bottle", "dog", "person", "dining table", "chair", "shoe", "kettle", "violin")
"""What real clips are asked for: things of every day, and one that is seldom there."""
MEMORY = "demo.memory"
REAL_MEMORY = "clips.memory"


@dataclass(frozen=True, slots=True)
class Question:
    """text: what was asked. truth: ns from and to when it was last in view, None when it never was. sheet: the
    picture that was saved, None when nothing was found. placed: the box of the answer lies on the thing, where that is
    known. wrong: why today's encoder is known to fail here, None where it is not."""

    text: str
    truth: tuple[int, int] | None
    answer: Answer
    sheet: Path | None
    placed: bool = True
    wrong: str | None = None

    @property
    def right(self) -> bool:
        """Found at the right time and place, or rightly not found."""
        if self.truth is None or not self.answer:
            return self.truth is None and not self.answer
        return self.placed and overlap(self.truth, (self.answer[0].start_ns, self.answer[0].end_ns)) >= OVERLAP


def overlap(a: tuple[int, int], b: tuple[int, int]) -> float:
    """Temporal IoU of two spans in ns."""
    both = min(a[1], b[1]) - max(a[0], b[0])
    return max(both, 0) / max(max(a[1], b[1]) - min(a[0], b[0]), 1)


def demo(folder: Path, say: Callable[[str], None]) -> list[Question]:
    """Index the walk in `folder` and ask; then the film, in the same memory. Contact sheets are saved there.

    Raises UsageError when the folder holds something else.
    """
    from ..memory import Memory

    mark = folder / QUESTIONS.name
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not mark.exists())):
        raise UsageError(f"the demo wants a folder of its own, and there is something else; give another: {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(QUESTIONS, mark)
    video = folder / WALK.name
    shutil.copyfile(WALK, video)
    shutil.rmtree(folder / MEMORY, ignore_errors=True)
    with Memory.open(folder / MEMORY) as memory:
        (report,) = memory.index(video)
        say(f"indexed a made-up walk, {report.media_s:.1f} s in {report.seconds:.1f} s, {report.tracks} tracks")
        questions = [_ask(memory, asked, truth, folder) for asked, truth in walk_questions()]
        return questions + ask_film(memory, folder, say)


def walk_questions() -> list[tuple[str, tuple[int, int] | None]]:
    """What is asked about the walk, and from when to when (ns) it was last in view; None when it never was."""
    rows = json.loads(QUESTIONS.read_text("utf-8"))["questions"]
    return [(q["ask"], None if q["start_ns"] is None else (q["start_ns"], q["end_ns"])) for q in rows]


def ask_film(memory: Memory, folder: Path, say: Callable[[str], None]) -> list[Question]:
    """Index a copy of the film, which stays where its pictures can be cut from it again, and ask what its script has.
    Only the film is asked: nobody wrote down what else the walk may be said to hold."""
    film, video = script(), folder / FILM.name
    shutil.copyfile(FILM, video)
    (report,) = memory.index(video)
    say(f"indexed a film of real things, {report.media_s:.1f} s in {report.seconds:.1f} s, {report.tracks} tracks")
    return [_ask_of_film(memory, film, question, video) for question in film.questions]


def _ask_of_film(memory: Memory, film: Film, asked: FilmQuestion, video: Path) -> Question:
    """The box of an answer lies on the thing when its middle lies in the box that was drawn by eye."""
    question = _ask(memory, asked.text, None, video.parent, "film-", sources=[str(video)])
    if asked.thing is None:
        return replace(question, wrong=asked.wrong)
    shot = film.last(asked.thing)
    placed = False
    if question.answer:
        best = question.answer[0]
        x, y = (best.box[0] + best.box[2]) / 2, (best.box[1] + best.box[3]) / 2
        x0, y0, x1, y1 = shot.box(asked.thing, best.frame_s, film.size)
        placed = shot.start_s <= best.frame_s < shot.end_s and x0 <= x <= x1 and y0 <= y <= y1
    truth = (round(shot.start_s * NS), round(shot.end_s * NS))
    return replace(question, truth=truth, placed=placed, wrong=asked.wrong)


def demo_clips(folder: Path, clips: Path, say: Callable[[str], None]) -> list[Question]:
    """Index the videos in `clips` into a memory in `folder`, ask for WORDS, and save contact sheets. Nobody wrote down
    what is in them, so `truth` says nothing here.

    Raises as Memory.index does for what holds no video.
    """
    from ..memory import Memory

    shutil.rmtree(folder / REAL_MEMORY, ignore_errors=True)
    with Memory.open(folder / REAL_MEMORY) as memory:
        reports = memory.index(clips)
        media, spent = sum(r.media_s for r in reports), sum(r.seconds for r in reports)
        tracks = sum(r.tracks for r in reports)
        say(f"indexed {len(reports)} real clips, {media:.1f} s in {spent:.1f} s, {tracks} tracks")
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
    sheet.unlink(missing_ok=True)  # of an earlier run
    if answer:
        memory.picture(answer[0], text, others=answer.sightings).save(sheet)
    return Question(text, truth, answer, sheet if answer else None)


def seconds_of(span: tuple[int, int]) -> str:
    """A span for people."""
    return f"{span[0] / NS:.1f} to {span[1] / NS:.1f} s"
