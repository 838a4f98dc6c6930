"""Instruction data for language models that are to write masks: questions and answers about pictures with known masks.

After Text4Seg (its Fig. 4 and section 3.3); questions and answers are worded here. Styles are those of the training
frameworks: `internvl` {query, response, images}; `llava` the same with <image> before the question; `qwen` with the
path of the picture in the question, between <img> and </img>.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal

from ..errors import UsageError
from .textmask import Form, Label, TextMask, build, encode, wrap

Style = Literal["internvl", "llava", "qwen"]
STYLES: tuple[Style, ...] = ("internvl", "llava", "qwen")
Ask = Literal["all", "each"]
ASKS: tuple[Ask, ...] = ("all", "each")

ALL = (
    "Divide this picture into: {names}.",
    "Which parts of the picture show each of these? {names}.",
    "Give me a mask with the labels {names}.",
    "Label every part of the picture with one of {names}, and with others where none of them is.",
    "Map out where {names} are to be seen here.",
)
ONE = (
    "Where is the {name} in this picture? Answer with a mask.",
    "Outline the {name}.",
    "Mark every part of the picture that shows the {name}.",
    "Give me a mask of the {name}.",
    "Which part of this is the {name}? Reply as a mask.",
)
ANSWERS = ("Here is the mask:\n{mask}", "This is where:\n{mask}", "The mask:\n{mask}")
NOT_THERE = ("There is no {name} here:\n{mask}", "I see no {name}; the mask is empty:\n{mask}")


def records(
    mask: TextMask,
    picture: str,
    *,
    style: Style = "internvl",
    ask: Ask = "all",
    absent: Sequence[str] = (),
    form: Form = "strict",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Questions and answers about one picture; none for a mask without labels, unless something absent is asked for.

    ask: one question about all labels, or one about each. absent: names that are not in the picture, each asked for
    once; the mask of the answer is empty. The wording hangs on `seed` and the picture's path alone.

    Raises UsageError for an unknown style or way to ask, and for labels that the legacy form cannot hold.
    """
    if style not in STYLES or ask not in ASKS:
        raise UsageError(f"style is one of {', '.join(STYLES)}, and asking {' or '.join(ASKS)}; got {style}, {ask}")
    rng = random.Random(f"{seed} {picture}")
    names = list(dict.fromkeys(label.name for label in mask.labels))
    out = []
    if names and ask == "all":
        shuffled = names[:]
        rng.shuffle(shuffled)  # the order of the question tells nothing about the picture
        question = rng.choice(ALL).format_map(_Names(names=", ".join(shuffled)))
        out.append(_record(style, picture, question, _answer(rng, ANSWERS, mask, form, "")))
    for name in names if ask == "each" else ():
        question = rng.choice(ONE).format_map(_Names(name=name))
        out.append(_record(style, picture, question, _answer(rng, ANSWERS, only(mask, name), form, name)))
    for name in absent:
        if name in names:
            continue
        question = rng.choice(ONE).format_map(_Names(name=name))
        out.append(_record(style, picture, question, _answer(rng, NOT_THERE, only(mask, name), form, name)))
    return out


def only(mask: TextMask, name: str) -> TextMask:
    """The mask with nothing in it but things of that name, told apart if they were."""
    kept: list[Label] = [label for label in mask.labels if label.name == name]
    cells = mask.cells.copy()
    cells[~mask.mask(name)] = -1
    for new, label in enumerate(kept):
        cells[mask.mask(name, label.instance)] = new
    return build(cells, kept)


class _Names(dict[str, str]):
    """For format_map: a name may hold braces."""


def _answer(rng: random.Random, wordings: Sequence[str], mask: TextMask, form: Form, name: str) -> str:
    return rng.choice(wordings).format_map(_Names(mask=wrap(encode(mask, form)), name=name))


def _record(style: Style, picture: str, question: str, answer: str) -> dict[str, Any]:
    if style == "qwen":
        return {"query": f"<img>{picture}</img>\n{question}", "response": answer}
    query = f"<image>\n{question}" if style == "llava" else question
    return {"query": query, "response": answer, "images": [picture]}
