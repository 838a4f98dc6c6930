"""`vidmem demo`: index two videos that come with the package, ask, and check the answers; then your own videos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import say

if TYPE_CHECKING:
    from .demo_run import Question

FOLDER = Path("vidmem-demo")


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder for the videos, the memory and the pictures.")
    ] = FOLDER,
    clips: Annotated[
        Path | None,
        typer.Option(
            "--clips",
            metavar="FOLDER",
            help="Also index the videos in this folder, and ask for everyday"
            " things. Whether these answers are right, their pictures show.",
        ),
    ] = None,
) -> None:
    """Try vidmem on two short videos that come with it, and on your own.

    Indexes a synthetic walk and asks for three things that are there and one that never was. Then it indexes a film of
    real things and asks for what is in it and what is not. Pictures of all answers are saved. Exit code 1
    when an answer is wrong that is not known to be.
    """
    from .demo_run import MEMORY, REAL_MEMORY, demo_clips, seconds_of
    from .demo_run import demo as run

    questions = run(folder, say)
    for question in questions:
        expected = "never there" if question.truth is None else seconds_of(question.truth)
        found = _found(question)
        verdict = "right" if question.right else "known" if question.wrong else "WRONG"
        why = f"; {question.wrong}" if verdict == "known" else ""
        print(f"{verdict}   {question.text}: {found} (truth: {expected}{why}){_picture(question)}")
    right = sum(question.right for question in questions)
    known = sum(not question.right and question.wrong is not None for question in questions)
    say(f"{right} of {len(questions)} answers are right" + (f", {known} are known to be wrong" if known else ""))
    say(f"ask more: vidmem where --memory {folder / MEMORY} ...")
    if clips:
        guesses = demo_clips(folder, clips, say)
        sheets = [question.sheet for question in guesses]
        for question in guesses:
            print(f"guess   {question.text}: {_found(question)}{_picture(question)}")
        say("look at the pictures; ask more:" if any(sheets) else "nothing by name; ask with a picture or a box:")
        say(f"vidmem where --memory {folder / REAL_MEMORY} ..." + ("" if any(sheets) else " --image PICTURE"))
    if right + known < len(questions):
        raise typer.Exit(1)


def _found(question: Question) -> str:
    from .demo_run import seconds_of

    if not question.answer:
        return "not found"
    best = question.answer[0]
    return f"{Path(best.source).name} at {seconds_of((best.start_ns, best.end_ns))}"


def _picture(question: Question) -> str:
    return f"   {question.sheet}" if question.sheet else ""
