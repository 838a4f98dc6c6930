"""`vidmem demo`: the whole of it on a video that it makes, and on real ones when there are some."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..output import say

FOLDER = Path("vidmem-demo")


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder for the video, the memory and the pictures.")
    ] = FOLDER,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="SECONDS", help="Length of the video, 10 to 3600.")
    ] = 40.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another seed is another world.", min=0)] = 0,
    clips: Annotated[
        Path | None,
        typer.Option("--clips", metavar="FOLDER", help="Also index the videos in this folder, and ask for everyday"
                     " things. Whether these answers are right, their pictures show."),
    ] = None,
) -> None:
    """Try it on a video that is made for it, and on your own.

    Indexes the video, asks for three things that are there and one that never was, and saves pictures of the answers.
    Exit code 0 only when all four answers are right.
    """
    from ..demo import REAL_MEMORY, demo_clips, seconds_of
    from ..demo import demo as run

    questions = run(folder, seconds, seed, say)
    for question in questions:
        expected = "never there" if question.truth is None else seconds_of(question.truth)
        found = "not found"
        if question.answer:
            found = seconds_of((question.answer[0].start_ns, question.answer[0].end_ns))
        verdict = "right" if question.right else "WRONG"
        picture = f"   {question.sheet}" if question.sheet else ""
        print(f"{verdict}   {question.text}: {found} (truth: {expected}){picture}")
    right = sum(question.right for question in questions)
    say(f"{right} of {len(questions)} answers are right; ask more: vidmem where --memory {folder / 'demo.memory'} ...")
    if clips:
        guesses = demo_clips(folder, clips, say)
        sheets = [question.sheet for question in guesses]
        for question in guesses:
            best = question.answer[0] if question.answer else None
            found = f"{Path(best.source).name} at {seconds_of((best.start_ns, best.end_ns))}" if best else "not found"
            print(f"guess   {question.text}: {found}" + (f"   {question.sheet}" if question.sheet else ""))
        say("look at the pictures; ask more:" if any(sheets) else "nothing by name; ask with a picture or a box:")
        say(f"vidmem where --memory {folder / REAL_MEMORY} ..." + ("" if any(sheets) else " --image PICTURE"))
    if right < len(questions):
        raise typer.Exit(1)
