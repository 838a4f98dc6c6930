"""`vidmem demo`: the whole of it on a video that it makes."""

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
) -> None:
    """Try it on a video that is made for it.

    Indexes the video, asks for three things that are there and one that never was, and saves pictures of the answers.
    Exit code 0 only when all four answers are right.
    """
    from ..demo import demo as run
    from ..demo import seconds_of

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
    if right < len(questions):
        raise typer.Exit(1)
