"""Ask a model for the mask of a thing in a picture, and read its answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..export.instruct import ANSWERS, NOT_THERE
from ..export.refine import ImagePredictor, refine
from ..export.textanswer import Reading, read_answer
from ..export.textmask import CLOSE, OPEN, OTHERS, Grid, escape
from ..export.trainset.turns import REFER, WISH
from .answer import Answer, Asker
from .grammar import MaskGrammar

SIDES = (16, 24, 32)
"""Sides of the grids that the paper measures (Text4Seg, Fig. 6)."""
MAX_PHRASE = 200
"""Characters of a phrase. It is the label of each of its runs in the answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a model answered.

    Attributes:
        phrase: What was asked for.
        question: The question.
        answer: The answer.
        reading: The mask in it, as cells, and what was repaired to read it.
        mask: `(H, W)` bool, the pixels of the picture that show the thing.
        refined: The mask went through a refiner.
        constrained: Only valid masks were allowed.
        instead: Labels of other things in the answer, if it shows only these. It then says nothing about the thing.
    """

    phrase: str
    question: str
    answer: Answer
    reading: Reading
    mask: NDArray[np.bool_]
    refined: bool
    constrained: bool
    instead: tuple[str, ...] = ()

    @property
    def readable(self) -> bool:
        """There is a mask in the answer, be it empty."""
        return NO_MASK not in self.reading.problems


NO_MASK = "there is no mask in the answer"
"""The problem that `read_answer` reports of an answer without a mask."""


def question(phrase: str, grid: Grid, *, describe: bool = False, say_grid: bool = False) -> str:
    """The question for a thing's mask, in words of the training sets of `vidmem export`.

    Args:
        phrase: The thing.
        grid: Rows and columns.
        describe: Describe the form of the answer, for a model that was not trained to write masks.
        say_grid: Say the grid, for a model that was trained with several.
    """
    h, w = grid
    asked = REFER[0].replace("{name}", phrase)
    if not describe:
        return asked + WISH.format(h=h, w=w) if say_grid else asked
    some = max(1, w // 4)
    return (
        f"{asked}\nDivide the picture into a grid of {h} rows and {w} columns. Write one line for each row, from top "
        f"to bottom. A line lists the runs of equal cells from left to right as `label *count`, joined by `| `; the "
        f"counts of a line sum to {w}. The label is `{escape(phrase)}` for cells that show it and `{OTHERS}` for all "
        f"others. Put the {h} lines between {OPEN} and {CLOSE} and write nothing else. A line looks like this: "
        f"{OTHERS} *{w - some}| {escape(phrase)} *{some}"
    )


def token_limit(grid: Grid) -> int:
    """The default limit of an answer's tokens: six a cell, as many as a mask without two equal neighbours takes."""
    return 64 + 6 * grid[0] * grid[1]


def ask_mask(
    asker: Asker,
    image: NDArray[np.uint8],
    phrase: str,
    *,
    grid: Grid = (16, 16),
    constrained: bool = True,
    describe: bool = False,
    say_grid: bool = False,
    max_tokens: int | None = None,
    refiner: ImagePredictor | None = None,
) -> Asked:
    """Ask a model for the mask of a thing.

    Args:
        asker: The model.
        image: `(H, W, 3)` uint8 RGB.
        phrase: The thing, such as "the cup left of the kettle".
        grid: Rows and columns of the mask in the answer.
        constrained: Allow only valid masks.
        describe: As for `question`.
        say_grid: As for `question`.
        max_tokens: Maximum number of tokens in the answer; None for `token_limit`.
        refiner: Finds the borders of the mask in the picture.

    Raises:
        UsageError: The phrase is empty or too long, or the model cannot be constrained.
        ModelError: The model does not answer.
    """
    name = " ".join(phrase.split())
    if not name or len(name) > MAX_PHRASE:
        raise UsageError(f"`ask` takes a phrase of 1 to {MAX_PHRASE} characters; got {len(name)}")
    limit = token_limit(grid) if max_tokens is None else max_tokens
    asked = question(name, grid, describe=describe, say_grid=say_grid)
    grammar = MaskGrammar(grid, [name], openings=_openings(name)) if constrained else None
    answer = asker.ask(image, asked, max_tokens=limit, grammar=grammar)
    reading = read_mask(answer, name, grid)
    mask = reading.mask.pixels(*image.shape[:2]) >= 0
    refined = refiner is not None and bool(mask.any())
    if refiner is not None and refined:
        refiner.set_image(image)
        mask = refine(refiner, mask)
    free = () if reading.mask.labels else read_answer(answer.text, grid).mask.labels
    instead = tuple(dict.fromkeys(label.name for label in free))
    return Asked(name, asked, answer, reading, mask, refined, constrained, instead)


def read_mask(answer: Answer, phrase: str, grid: Grid) -> Reading:
    """Read the mask of one thing.

    Other labels are background. If there is just one other label and no cell of the thing, and all its words are in the
    phrase ("cup" for "the cup left of the kettle"), it stands for the thing.
    """
    reading = read_answer(answer.text, grid, [phrase])
    if not reading.mask.labels:
        free = read_answer(answer.text, grid)
        names = {label.name for label in free.mask.labels}
        if len(names) == 1 and (words := _words(next(iter(names)))) and words <= _words(phrase):
            problem = f"{next(iter(names))[:40]!r} is taken for {phrase[:40]!r}"
            reading = replace(free, problems=(*free.problems, problem))
    if answer.cut:
        reading = replace(reading, problems=(*reading.problems, "the answer reached the limit of tokens and was cut"))
    return reading


def _words(text: str) -> set[str]:
    return set("".join(char if char.isalnum() else " " for char in text.casefold()).split())


def _openings(name: str) -> list[str]:
    """The texts before a mask in the answers that models are trained with, and none."""
    wordings = [wording.partition("{mask}")[0] for wording in (*ANSWERS, *NOT_THERE)]
    texts = [wording.replace("{name}", name) for wording in wordings]
    return ["", *(text for text in texts if OPEN not in text)]
