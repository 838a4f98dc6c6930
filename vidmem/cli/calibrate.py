"""`vidmem calibrate`: what a score is worth, from questions with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .options import EncoderOption, MemoryOption, WeightsOption
from .output import Listing, Row, Show, listing, say, warn

if TYPE_CHECKING:
    from ..encoders.probability import Bin


@listing
def calibrate(
    questions: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE", help="Questions with answers, a line each: name,source,from-to or name,source,absent."
        ),
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Drop what was fitted to this memory.")] = False,
    memory: MemoryOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:
    """Learn how probable answers are, from questions with known answers.

    Kept in the memory. Then `where` tells probabilities and takes --min-probability.
    """
    from ..memory import Memory

    if reset == (questions is not None):
        raise UsageError("give a FILE of questions, or --reset")
    with Memory.open(memory, encoder=encoder, weights=weights, read_only=True):
        pass  # a memory that is not there is not made
    with Memory.open(memory, encoder=encoder, weights=weights) as m:
        if questions is None:
            m.uncalibrate()
            say("dropped; what comes with the encoder holds again")
            return 0
        import numpy as np

        from ..encoders.probability import brier, left_out, reliability

        curve, samples, asked = m.calibrate(questions)
    new = left_out(samples)
    known = ~np.isnan(new)
    bins = reliability(new[known], samples.right[known])
    score = brier(new[known], samples.right[known]) if known.any() else None
    document: Row = {
        "asked": asked,
        "questions": curve.questions,
        "right": curve.right,
        "wrong": curve.wrong,
        "curve": {"bias": curve.bias, "score": curve.score, "share": curve.share, "best": curve.best},
        "brier": score,
        "reliability": _rows(bins),
    }
    table: list[Sequence[str]] = [("probability", "candidates", "told", "right")]
    table += [(f"{b.low:.1f} to {b.high:.1f}", str(b.count), f"{b.mean:.2f}", f"{b.right:.2f}") for b in bins]
    show(Listing(_rows(bins), table, document))
    say(
        f"fitted on {curve.questions} questions ({curve.right} right and {curve.wrong} wrong candidates); in the table "
        "each question is told by the others" + (f", Brier score {score:.3f}" if score is not None else "")
    )
    if curve.questions < asked:
        left = asked - curve.questions
        warn(f"{left} of {asked} questions have no track that is at all like them, and no part in it")
    if curve.questions < 30:
        warn("less than 30 questions: take the probabilities as a rough guide")
    return 0


def _rows(bins: Sequence[Bin]) -> list[Row]:
    return [
        {"low": b.low, "high": b.high, "candidates": b.count, "told": round(b.mean, 4), "right": round(b.right, 4)}
        for b in bins
    ]
