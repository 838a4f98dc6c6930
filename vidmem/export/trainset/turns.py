"""Questions and answers of a training set: the tasks of Text4Seg (appendix B) in our own words.

refer   one expression, and where it is
part    some of the labels of a picture, and where they are
given   a list of labels, some of them absent; the answer has those that are there
open    no list; the answer names and places everything
absent  one label that is not in the picture; the answer is an empty mask

The paper mixes open : part : given as 1 : 3 : 6 for COCO-Stuff.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from ..instruct import ALL, ANSWERS, NOT_THERE, ONE, Names
from ..textmask import BACKGROUND, Form, Grid, TextMask, build, encode, wrap
from .content import Seen

Task = Literal["refer", "open", "part", "given", "absent"]
TASKS: tuple[Task, ...] = ("refer", "open", "part", "given", "absent")
MIX: dict[Task, float] = {"refer": 1, "open": 1, "part": 3, "given": 6, "absent": 0}
"""Weights of the tasks when none are given. `open`, `part` and `given` are the paper's."""
MOST_PARTS = 3
"""Labels in one `part` question, at most."""

REFER = (
    "Show me with a mask: {name}.",
    "Where is this in the picture: {name}? Answer with a mask.",
    "Find {name} and reply with its mask.",
    "Mark the place of {name}.",
    "I am looking for {name}. Which cells show it?",
)
PART = (
    "Mark only these in the picture: {names}.",
    "Leave everything else out and show where these are: {names}.",
    "Write a mask of {names}.",
    "Pick out {names} for me, as a mask.",
)
OPEN = (
    "Name all that you see in this picture, and show where it is in a mask.",
    "Write a mask of the whole picture with labels of your choice.",
    "What is where in this picture? Reply with a mask.",
    "Divide the picture into its things and grounds and name each of them in a mask.",
)
NOTHING = (
    "Nothing in this picture is {name}; the mask is empty:\n{mask}",
    "I cannot find {name} here:\n{mask}",
    "Not there:\n{mask}",
)
WISH = " The grid has {h} rows of {w} cells."
"""Ends a question in a set with several grids, so that the model knows which one is meant."""


class Turn(NamedTuple):
    """A question about a picture, and its answer."""

    task: Task
    question: str
    answer: str


class Wish(NamedTuple):
    """How questions are made.

    Attributes:
        mix: Weight of each task.
        distractors: Absent labels in a `given` question, at most.
        form: How masks are written.
        say_grid: Questions end with the grid.
    """

    mix: Mapping[Task, float]
    distractors: int
    form: Form
    say_grid: bool


def said(name: str) -> str:
    """A name as a question has it: in quotes, as in JSON, where it would not be clear where it ends."""
    return json.dumps(name, ensure_ascii=False) if any(c in name for c in ',"\n\r') or name != name.strip() else name


def expression_turn(rng: random.Random, text: str, mask: TextMask, wish: Wish) -> Turn:
    """A question about one expression. mask: what it means, with the expression as its label; empty for nothing."""
    task: Task = "refer" if mask.labels else "absent"
    wordings = ANSWERS if mask.labels else NOTHING
    return _turn(rng, task, rng.choice(REFER), text, text, wordings, mask, wish)


def picture_turns(rng: random.Random, seen: Seen, grid: Grid, count: int, wish: Wish) -> list[Turn]:
    """Up to `count` different questions about a picture with labels; fewer, or none, when it has too few labels."""
    mask = seen.at(grid)
    names = list(dict.fromkeys(label.name for label in mask.labels))
    absent = sorted(set(seen.pool) - seen.present - set(names))
    left: dict[Task, float] = {task: weight for task, weight in wish.mix.items() if weight > 0 and task != "refer"}
    asked: set[str] = set()
    out: list[Turn] = []
    while len(out) < count and left:
        task = rng.choices(list(left), list(left.values()))[0]
        turn: Turn | None = None
        if task == "absent":
            turn = _absent(rng, [name for name in absent if name not in asked], mask, wish, asked)
        elif names and task == "part":
            turn = _part(rng, [name for name in names if name not in asked], mask, wish, asked)
        elif names:
            turn = _whole(rng, task, names, absent, mask, wish)
        if turn is None or task in ("open", "given"):
            del left[task]
        if turn is not None:
            out.append(turn)
    return out


def _absent(rng: random.Random, names: Sequence[str], mask: TextMask, wish: Wish, asked: set[str]) -> Turn | None:
    if not names:
        return None
    name = rng.choice(names)
    asked.add(name)
    return _turn(rng, "absent", rng.choice(ONE), said(name), name, NOT_THERE, only(mask, []), wish)


def _part(rng: random.Random, names: Sequence[str], mask: TextMask, wish: Wish, asked: set[str]) -> Turn | None:
    if not names:
        return None
    chosen = rng.sample(names, rng.randint(1, min(MOST_PARTS, len(names))))
    asked.update(chosen)
    wording = rng.choice(ONE) if len(chosen) == 1 else rng.choice(PART)
    text = ", ".join(map(said, chosen))
    return _turn(rng, "part", wording, text, text, ANSWERS, only(mask, chosen), wish)


def _whole(
    rng: random.Random, task: Task, names: Sequence[str], absent: Sequence[str], mask: TextMask, wish: Wish
) -> Turn:
    if task == "open":
        return _turn(rng, task, rng.choice(OPEN), "", "", ANSWERS, mask, wish)
    extra = rng.sample(absent, rng.randint(0, min(wish.distractors, len(absent))))
    listed = [*names, *extra]
    rng.shuffle(listed)  # so that the order says nothing about the picture
    return _turn(rng, task, rng.choice(ALL), ", ".join(map(said, listed)), "", ANSWERS, mask, wish)


def only(mask: TextMask, names: Sequence[str]) -> TextMask:
    """The mask with only the things of these names; numbered instances stay numbered."""
    kept = [i for i, label in enumerate(mask.labels) if label.name in names]
    table = {old: new for new, old in enumerate(kept)}
    cells = mask.cells.copy()
    for index in range(len(mask.labels)):
        cells[mask.cells == index] = table.get(index, BACKGROUND)
    return build(cells, [mask.labels[i] for i in kept])


def _turn(
    rng: random.Random,
    task: Task,
    question: str,
    names: str,
    name: str,
    answers: Sequence[str],
    mask: TextMask,
    wish: Wish,
) -> Turn:
    h, w = mask.cells.shape
    asked = question.format_map(Names(name=names, names=names))
    if wish.say_grid:
        asked += WISH.format(h=h, w=w)
    answer = rng.choice(answers).format_map(Names(name=name, mask=wrap(encode(mask, wish.form))))
    return Turn(task, asked, answer)
