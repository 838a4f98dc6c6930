"""Instruction data that teaches language models to write masks: questions and answers about labelled images.

After Text4Seg (Fig. 4 and section 3.3), with questions and answers in our own words. Styles are those of the training
frameworks: `internvl` is {query, response, images}; `llava` is the same with <image> before the question; `qwen` has
the path of the picture in the question, between <img> and </img>; `messages` is {messages, images} with the roles user
and assistant. Earlier questions and answers about the picture are in `history`, or are earlier messages.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal

from ..errors import UsageError
from .textmask import Form, Label, TextMask, build, encode, wrap

Style = Literal["internvl", "llava", "qwen", "messages"]
STYLES: tuple[Style, ...] = ("internvl", "llava", "qwen", "messages")
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
    key: str | None = None,
) -> list[dict[str, Any]]:
    """Questions and answers about one picture. A mask without labels gives none, except for `absent`.

    Args:
        mask: What is in the picture.
        picture: Its path.
        style: How a record refers to the picture; see the module.
        ask: One question about all labels, or one about each.
        absent: Names that are not in the picture. Each is asked for once, and the answer is an empty mask.
        form: How masks are written.
        seed: The wording depends on it and on `key` only.
        key: Identifies the picture, wherever its file lies. Default: the path.

    Raises:
        UsageError: An unknown `style` or `ask`, or a label that the legacy form cannot hold.
    """
    if style not in STYLES or ask not in ASKS:
        raise UsageError(f"`style` is one of {', '.join(STYLES)}, and `ask` {' or '.join(ASKS)}; got {style}, {ask}")
    rng = random.Random(f"{seed} {picture if key is None else key}")
    names = list(dict.fromkeys(label.name for label in mask.labels))
    out = []
    if names and ask == "all":
        shuffled = names[:]
        rng.shuffle(shuffled)  # so that the order says nothing about the picture
        question = rng.choice(ALL).format_map(Names(names=", ".join(shuffled)))
        out.append(_record(style, picture, question, _answer(rng, ANSWERS, mask, form, "")))
    for name in names if ask == "each" else ():
        question = rng.choice(ONE).format_map(Names(name=name))
        out.append(_record(style, picture, question, _answer(rng, ANSWERS, only_named(mask, name), form, name)))
    for name in absent:
        if name in names:
            continue
        question = rng.choice(ONE).format_map(Names(name=name))
        out.append(_record(style, picture, question, _answer(rng, NOT_THERE, only_named(mask, name), form, name)))
    return out


def only_named(mask: TextMask, name: str) -> TextMask:
    """The mask with only the things of that name; numbered instances stay numbered."""
    kept: list[Label] = [label for label in mask.labels if label.name == name]
    cells = mask.cells.copy()
    cells[~mask.mask(name)] = -1
    for new, label in enumerate(kept):
        cells[mask.mask(name, label.instance)] = new
    return build(cells, kept)


class Names(dict[str, str]):
    """The values for format_map, which unlike `format` does not read braces in a name."""


def _answer(rng: random.Random, wordings: Sequence[str], mask: TextMask, form: Form, name: str) -> str:
    return rng.choice(wordings).format_map(Names(mask=wrap(encode(mask, form)), name=name))


def _record(style: Style, picture: str, question: str, answer: str) -> dict[str, Any]:
    return record(style, picture, [(question, answer)])


def record(style: Style, picture: str | None, turns: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Questions and answers about one picture as a style writes them. picture: its path; None for text alone."""
    (first, answer), *rest = turns
    if picture is not None:
        first = {"internvl": "", "llava": "<image>\n", "qwen": f"<img>{picture}</img>\n", "messages": "<image>"}[
            style
        ] + first
    said = [(first, answer), *rest]
    if style == "messages":
        messages = [
            {"role": role, "content": text}
            for turn in said
            for role, text in zip(("user", "assistant"), turn, strict=True)
        ]
        return {"messages": messages} | ({} if picture is None else {"images": [picture]})
    out: dict[str, Any] = {"query": said[-1][0], "response": said[-1][1]}
    if len(said) > 1:
        out["history"] = [list(turn) for turn in said[:-1]]
    if picture is not None and style != "qwen":
        out["images"] = [picture]
    return out
