"""`vidmem demo`: index two videos that come with the package, ask questions and check the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .demo_run import CLIPS_MEMORY, MEMORY, Question, demo_clips, run_demo, seconds_of
from .messages import say

DEFAULT_FOLDER = Path("vidmem-demo")


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder for the videos, the memory and the pictures of answers.")
    ] = DEFAULT_FOLDER,
    clips: Annotated[
        Path | None,
        typer.Option(
            "--clips",
            metavar="FOLDER",
            help="Also index the videos in this folder and ask for everyday things. Check these answers by their "
            "pictures.",
        ),
    ] = None,
) -> None:
    """Try vidmem on two short videos that come with it.

    Indexes a synthetic walk and a film of real things, asks for things that are in them and things that are not, and
    compares the answers with the truth. Saves a picture of each answer. The exit code is 1 if an answer is wrong,
    unless it is known that the encoder fails there.

    \b
    Examples:
      vidmem demo
      vidmem demo --clips ~/Videos
    """
    questions = run_demo(folder, say)
    for question in questions:
        expected = "never there" if question.truth is None else seconds_of(question.truth)
        found = _found(question)
        verdict = "right" if question.right else "known" if question.wrong else "WRONG"
        why = f"; {question.wrong}" if verdict == "known" else ""
        print(f"{verdict}   {question.text}: {found} (truth: {expected}{why}){_picture(question)}")
    right = sum(question.right for question in questions)
    known = sum(not question.right and question.wrong is not None for question in questions)
    say(f"{right} of {len(questions)} answers are right" + (f", {known} are known failures" if known else ""))
    say(f"ask more: vidmem where --memory {folder / MEMORY} ...")
    if clips:
        guesses = demo_clips(folder, clips, say)
        sheets = [question.sheet for question in guesses]
        for question in guesses:
            print(f"guess   {question.text}: {_found(question)}{_picture(question)}")
        say(
            "look at the pictures; ask more:"
            if any(sheets)
            else "nothing was found by name; ask with a picture or box:"
        )
        say(f"vidmem where --memory {folder / CLIPS_MEMORY} ..." + ("" if any(sheets) else " --image PICTURE"))
    if right + known < len(questions):
        raise typer.Exit(1)


def _found(question: Question) -> str:
    if not question.answer:
        return "not found"
    best = question.answer[0]
    return f"{Path(best.source).name} at {seconds_of((best.start_ns, best.end_ns))}"


def _picture(question: Question) -> str:
    return f"   {question.sheet}" if question.sheet else ""
