"""`vidmem haystack`: a question about one of many pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import MediaError, UsageError
from ..timecode import iso
from .asking import say_readings
from .opening import opens
from .options import EncoderOption, MemoryOption, WeightsOption
from .output import Listing, Row, Show, listing, say, warn
from .where import PICTURES, check_suffix, unsaved, write_picture

if TYPE_CHECKING:
    from ..memory import Memory
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
        typer.Option("--anchor", metavar="TEXT", help="What the picture is known by, in place of a question."),
    ] = None,
    target: Annotated[str | None, typer.Option("--target", metavar="TEXT", help="What is asked for in it.")] = None,
    rule: Annotated[
        str,
        typer.Option(
            "--rule",
            metavar="default|paper",
            help="When something counts as seen: calibrated as for `where`, or as in T-REN's paper.",
        ),
    ] = "default",
    questions: Annotated[
        str | None,
        typer.Option("--questions", metavar="FILE", help="All of a file of Visual Haystacks; how many are right."),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option("--save", metavar="PICTURE", help="Save the picture with both boxes (.png, .jpg, .webp)."),
    ] = None,
    memory: MemoryOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:
    """Find one of many pictures by what is in it, and say what else is.

    Of photos that were indexed. Exit code 1 for no, and when there is no such picture.
    """
    from ..memory import Memory

    check_suffix("--save", save, PICTURES)
    text = " ".join(question) if question else None
    given = (text is not None) + (anchor is not None or target is not None) + (questions is not None)
    if given != 1:
        raise UsageError("give a question, or --anchor and --target, or --questions FILE")
    if questions is None and text is None and (anchor is None or target is None):
        raise UsageError("--anchor and --target go together: what the picture is known by, and what is asked for in it")
    if questions is not None and save is not None:
        raise UsageError("--save shows one answer; ask one question")
    if text is not None:
        from ..query.haystack import split_question

        anchor, target = split_question(text)
    with Memory.open(memory, encoder=encoder, weights=weights, read_only=True) as m:
        if questions is not None:
            return _batch(m, questions, show)
        assert anchor is not None
        assert target is not None
        say_readings(m.text_encoder, [anchor, target])
        answer = m.haystack(anchor, target, rule=rule)
        show(_listing(answer, anchor, target))
        if answer.anchor is None:
            near = "; ".join(f"{r.score:.3f} in {_name(r)}" for r in answer.near_misses)
            say(f"no picture with {anchor!r} was found" + (f"; nearest: {near}" if near else ""))
        elif answer.pictures > 1:
            say(f"{answer.pictures} pictures have {anchor!r}; this is the one most like it")
        if answer.anchor is None:
            unsaved(save)
        elif save is not None:
            _save(answer, save, anchor, target)
    return 0 if answer.verdict == "yes" else 1


def _listing(answer: HaystackAnswer, anchor: str, target: str) -> Listing:
    found = answer.anchor
    row: Row = {
        "answer": answer.verdict,
        "image": found.paths[0] if found and found.paths else None,
        "paths": list(found.paths) if found else [],
        "width": found.width if found else None,
        "height": found.height if found else None,
        "recorded": iso(found.recorded_ns) if found else None,
        "recorded_by": found.recorded_by or None if found else None,
        "anchor": anchor,
        "anchor_score": _score(found),
        "anchor_box": _box(found),
        "target": target,
        "target_score": _score(answer.target),
        "target_box": _box(answer.target),
        "pictures": answer.pictures,
    }
    table = [("answer", "anchor", "at", "target", "at", "image")]
    table.append(
        (
            answer.verdict,
            _told(found),
            _place(found),
            _told(answer.target),
            _place(answer.target if answer.verdict == "yes" else None),
            _name(found) if found else "-",
        )
    )
    near = [
        {"image": r.paths[0] if r.paths else None, "score": round(r.score, 6), "box": _box(r)}
        for r in answer.near_misses
    ]
    return Listing([row], table, {**row, "near_misses": near})


def _batch(memory: Memory, path: str, show: Show) -> int:
    """Ask all questions of a file; how many are right by each rule, and how often the right picture was chosen."""
    from ..query.haystack import RULES

    asked, missing, total = memory.haystack_questions(path)
    if not asked:
        cause = "no question has all its pictures in the memory"
        raise MediaError(f"{cause}; `vidmem index` their folder: {path}")
    retrieved = sum(one.retrieved for one in asked) / len(asked)
    rows: list[Row] = []
    table = [("rule", "questions", "right", "picture found", "not found")]
    for rule in RULES:
        right = sum(one.right(rule) for one in asked) / len(asked)
        unknown = sum(one.answers[rule].verdict == "not found" for one in asked)
        rows.append(
            {
                "rule": rule,
                "questions": len(asked),
                "accuracy": round(right, 6),
                "retrieved": round(retrieved, 6),
                "not_found": unknown,
            }
        )
        table.append((rule, str(len(asked)), f"{right:.1%}", f"{retrieved:.1%}", str(unknown)))
    answers: list[dict[str, Any]] = [
        {
            "question": one.needle.number,
            "anchor": one.needle.anchor,
            "target": one.needle.target,
            "truth": "yes" if one.needle.answer else "no",
            "retrieved": one.retrieved,
            **{rule: one.answers[rule].verdict for rule in RULES},
        }
        for one in asked
    ]
    show(Listing(rows, table, {"rules": rows, "left_out": total - len(asked), "missing": missing, "answers": answers}))
    if missing:
        few = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        warn(f"{total - len(asked)} of {total} questions left out, their pictures are not in the memory: {few}")
        return 3
    return 0


def _save(answer: HaystackAnswer, path: str, anchor: str, target: str) -> None:
    from ..render.boxes import boxes_picture
    from ..render.drawing import INNER, TEXT, fitted

    first, second = answer.anchor, answer.target
    assert first is not None
    if not first.paths:
        raise MediaError("the picture is no longer in its folder; run `vidmem index` on it again")
    boxes = [(f"{anchor} {first.score:.2f}", first.box)]
    if second is not None and answer.verdict == "yes":
        boxes.append((f"{target} {second.score:.2f}", second.box))
    name = fitted(_name(first), TEXT, INNER)
    sheet = boxes_picture(first.paths[0], f"{anchor}: {target}? {answer.verdict}", [name], boxes)
    write_picture(sheet, path)


def _name(region: Region) -> str:
    if not region.paths:
        return "a picture that is no longer there"
    more = len(region.paths) - 1
    return region.paths[0] + (f" (and {more} more of the same)" if more else "")


def _score(region: Region | None) -> float | None:
    return None if region is None else round(region.score, 6)


def _box(region: Region | None) -> list[float] | None:
    return None if region is None else [round(v, 2) for v in region.box]


def _told(region: Region | None) -> str:
    return "-" if region is None else f"{region.score:.3f}"


def _place(region: Region | None) -> str:
    return "-" if region is None else ",".join(f"{v:.0f}" for v in region.box)
