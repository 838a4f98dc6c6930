"""`vidmem haystack`: a question about one of many pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import MediaError, UsageError
from ..memory import Memory
from ..query.documents import haystack_document, plain
from ..query.haystack import split_question
from .messages import say
from .options import AskedMemoryOption, EncoderOption, WeightsOption
from .output import Listing, Row, Show, box_cell, listing
from .proof import exit_code, say_missed
from .question import say_readings
from .saving import check_suffix, opens, say_not_saved, write_picture

if TYPE_CHECKING:
    from ..query.haystack import HaystackAnswer, Region


@listing
@opens("save")
def haystack(
    question: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUESTION", help='Such as "the image with the dog: is there a frisbee?".'),
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option("--anchor", metavar="TEXT", help="Instead of QUESTION: what identifies the picture."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="TEXT", help="Instead of QUESTION: what to look for in it.")
    ] = None,
    rule: Annotated[
        str,
        typer.Option(
            "--rule",
            metavar="default|paper",
            help="When something counts as found: by the calibrated test of `where`, or as in the T-REN paper.",
        ),
    ] = "default",
    save: Annotated[
        str | None,
        typer.Option("--save", metavar="PICTURE", help="Save the picture with both boxes (.png, .jpg, .webp)."),
    ] = None,
    memory: AskedMemoryOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:
    """Find one of many photos and say what else is in it.

    Index the photos first. The exit code is 1 if the answer is no, or if there is no such photo.

    \b
    Examples:
      vidmem haystack "the image with the dog: is there a frisbee?"
      vidmem haystack --anchor dog --target frisbee --save answer.png
    """

    check_suffix("--save", save)
    text = " ".join(question) if question else None
    if (text is not None) == (anchor is not None or target is not None):
        raise UsageError("give a question, or --anchor and --target")
    if text is not None:
        anchor, target = split_question(text)
    if anchor is None or target is None:
        raise UsageError("--anchor and --target go together: what identifies the picture, and what to look for in it")
    with Memory.open(memory, encoder=encoder, weights=weights, read_only=True) as m:
        say_readings(m.text_encoder, [anchor, target])
        answer = m.haystack(anchor, target, rule=rule)
        say_missed(answer.proof)
        show(_listing(answer, anchor, target))
        if answer.anchor is None:
            near = "; ".join(f"{r.score:.3f} in {_name(r)}" for r in answer.near_misses)
            say(f"no picture with {anchor!r} was found" + (f"; nearest: {near}" if near else ""))
            say_not_saved(save)
        else:
            if answer.pictures > 1:
                say(f"{answer.pictures} pictures have {anchor!r}; this one is most like it")
            if save is not None:
                _save(answer, save, anchor, target)
    return exit_code(0 if answer.verdict == "yes" else 1, answer.proof)


def _listing(answer: HaystackAnswer, anchor: str, target: str) -> Listing:
    found = answer.anchor
    document: Row = plain(haystack_document(answer, anchor, target))
    row = {name: value for name, value in document.items() if name not in ("near_misses", "exact", "shards")}
    table = [
        ("answer", "anchor", "at", "target", "at", "image"),
        (
            answer.verdict,
            *_cells(found),
            _cells(answer.target)[0],
            _cells(answer.target if answer.verdict == "yes" else None)[1],
            _name(found) if found else "-",
        ),
    ]
    return Listing([row], table, document)


def _save(answer: HaystackAnswer, path: str, anchor: str, target: str) -> None:
    from ..media import known_photo
    from ..render.drawing import INNER, TEXT, fitted
    from ..render.photo_sheet import photo_sheet

    first, second = answer.anchor, answer.target
    assert first is not None
    file = known_photo(first.paths, first.digest)
    if file is None:
        place = f": {first.paths[0]}" if first.paths else ""
        raise MediaError(f"the picture that was indexed is gone; run `vidmem index` on its folder again{place}")
    boxes = [(f"{anchor} {first.score:.2f}", first.box)]
    if second is not None and answer.verdict == "yes":
        boxes.append((f"{target} {second.score:.2f}", second.box))
    name = fitted(_name(first), TEXT, INNER)
    sheet = photo_sheet(file, f"{anchor}: {target}? {answer.verdict}", [name], boxes)
    write_picture(sheet, path)


def _name(region: Region) -> str:
    """The path of the picture."""
    if not region.paths:
        return "a picture that no longer exists"
    copies = len(region.paths) - 1
    return region.paths[0] + (f" (and {copies} more copies)" if copies else "")


def _cells(region: Region | None) -> tuple[str, str]:
    """Score and box for the table."""
    return ("-", "-") if region is None else (f"{region.score:.3f}", box_cell(region.box))
