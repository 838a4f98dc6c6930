"""`vidmem calibrate`: fit probabilities to questions with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from ..encoders.probability import brier, leave_one_out, reliability
from ..errors import UsageError
from ..memory import Memory
from .messages import say, warn
from .options import EncoderOption, MemoryOption, WeightsOption
from .output import Listing, Row, Show, listing

if TYPE_CHECKING:
    from ..encoders.probability import Bin

FEW_QUESTIONS = 30
"""Below this number the probabilities are only a rough guide."""


@listing
def calibrate(
    questions: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            help="Questions with answers, one per line: name,source,from-to or name,source,absent.",
        ),
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Drop the fit of this memory.")] = False,
    memory: MemoryOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:
    """Fit probabilities to questions with known answers.

    The fit is stored in the memory. Answers then have probabilities, and --min-probability works.

    \b
    Examples:
      vidmem calibrate known.csv
      vidmem calibrate --reset
    """

    if reset == (questions is not None):
        raise UsageError("give a FILE of questions, or --reset")
    with Memory.open(memory, encoder=encoder, weights=weights, read_only=True):
        pass  # fails if there is no memory, which the next line would make
    with Memory.open(memory, encoder=encoder, weights=weights) as m:
        if questions is None:
            m.uncalibrate()
            say("fit dropped; the probabilities that come with the encoder apply again")
            return 0

        curve, samples, question_count = m.calibrate(questions)
    probabilities = leave_one_out(samples)
    known = ~np.isnan(probabilities)
    bins = reliability(probabilities[known], samples.right[known])
    score = brier(probabilities[known], samples.right[known]) if known.any() else None
    document: Row = {
        "asked": question_count,
        "questions": curve.questions,
        "right": curve.right,
        "wrong": curve.wrong,
        "curve": {"bias": curve.bias, "score": curve.score, "share": curve.share, "best": curve.best},
        "brier": score,
        "reliability": _rows(bins),
    }
    table: list[Sequence[str]] = [("probability", "candidates", "predicted", "right")]
    table += [(f"{b.low:.1f} to {b.high:.1f}", str(b.count), f"{b.mean:.2f}", f"{b.right:.2f}") for b in bins]
    show(Listing(_rows(bins), table, document))
    say(
        f"fitted to {curve.questions} questions ({curve.right} right and {curve.wrong} wrong candidates); the table "
        "predicts each question from the others" + (f", Brier score {score:.3f}" if score is not None else "")
    )
    if curve.questions < question_count:
        unused = question_count - curve.questions
        warn(f"{unused} of {question_count} questions were not used: no track is at all like them")
    if curve.questions < FEW_QUESTIONS:
        warn(f"fewer than {FEW_QUESTIONS} questions: the probabilities are only a rough guide")
    return 0


def _rows(bins: Sequence[Bin]) -> list[Row]:
    return [
        {"low": b.low, "high": b.high, "candidates": b.count, "told": round(b.mean, 4), "right": round(b.right, 4)}
        for b in bins
    ]
