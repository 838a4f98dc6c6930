"""`vidmem where`: when and where a thing was last seen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..query.documents import box_row, plain, sighting_row, where_document
from ..records import SourceKind
from ..timecode import EPOCHAL_NS, NS, clock, relative_date
from .mask_model import MaskModel, ask_on_evidence, asks_a_model, say_mask
from .messages import say, warn
from .options import check_limits
from .output import Listing, Row, Show, box_cell, listing
from .proof import exit_code
from .question import FILTERS, OPENING, PICTURE, TESTS, TEXT, Question, asks
from .saving import check_suffix, opens, say_not_saved, write_picture
from .sightings import (
    ANY_PHRASE,
    NO_VIDEO,
    place,
    probability_cell,
    probability_or_score,
    sighting_cells,
    video_clock,
)
from .where_clips import write_clips

if TYPE_CHECKING:
    from ..memory import Memory
    from ..query.answers import Answer
    from ..records import LogPoint, Sighting


@listing
@opens("save", "clip", "explain")
@asks(TEXT, PICTURE, TESTS, FILTERS, OPENING)
@asks_a_model(without=("constrained", "describe", "max_tokens"))
def where(
    everything: Annotated[
        bool, typer.Option("--all", help="Print all sightings, newest first, instead of only the newest.")
    ] = False,
    top: Annotated[int | None, typer.Option("--top", metavar="N", min=1, help="Print the N newest sightings.")] = None,
    save: Annotated[
        str | None,
        typer.Option(
            "--save",
            metavar="PICTURE",
            help="Save a contact sheet of the newest sighting, or with --all or --top of all that are printed "
            "(.png, .jpg, .webp).",
        ),
    ] = None,
    near_misses: Annotated[
        bool, typer.Option("--near-misses", help="If nothing is found, save the nearest misses with --save.")
    ] = False,
    clip: Annotated[
        str | None,
        typer.Option(
            "--clip",
            metavar="VIDEO",
            help="Save the newest sighting as a clip (.mp4) with a box around the thing and one more second at each "
            "end.",
        ),
    ] = None,
    clips: Annotated[
        str | None,
        typer.Option("--clips", metavar="FOLDER", help="Save a clip of every sighting, or of the --top N."),
    ] = None,
    vtt: Annotated[
        str | None,
        typer.Option(
            "--vtt",
            metavar="FILE",
            help="Save every sighting, or the --top N, as chapters of its video (.vtt). Several videos get one file "
            "each.",
        ),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            "--explain",
            metavar="PICTURE",
            help="Save a heat map that shows why the newest sighting, or the nearest miss, matches the text "
            "(.png, .jpg, .webp).",
        ),
    ] = None,
    *,
    mask_model: MaskModel,
    question: Question,
    show: Show,
) -> int:
    """Find when and where a thing was last seen.

    Ask in words, with a picture, or with both. If the thing is not found, the nearest misses are printed and the exit
    code is 1. It is 3 if some shards of a fleet could not be asked. With --model, a multimodal language model writes
    the mask of the thing in the frame of the newest sighting. Its share of the frame is printed, --json has the mask,
    and --save without --all or --top draws it.

    \b
    Examples:
      vidmem where umbrella
      vidmem where cup --near laptop --after 2d
      vidmem where mug --image mug.jpg --save mug.png
      vidmem where --crop walk.mp4@12.5s:100,80,60,60 --all
    """
    check_limits(everything, top)
    if near_misses and save is None:
        raise UsageError("--near-misses changes what --save writes; give both")
    check_suffix("--save", save)
    check_suffix("--clip", clip, (".mp4",))
    check_suffix("--vtt", vtt, (".vtt",))
    check_suffix("--explain", explain)
    phrase = question.arguments["text"]
    if explain is not None and phrase is None:
        raise UsageError("--explain shows where the text matches; give a text")
    if mask_model.chosen and phrase is None:
        raise UsageError("--model is asked for what the text says; give a text")
    # The sheet's timeline shows all sightings; clips and chapters are of all unless --top limits them.
    limit = None if everything or save or (top is None and (clips or vtt)) else top or 1
    with question.memory() as m:
        answer = m.where(**question.arguments, top=limit)
        shown = answer.sightings if everything else answer.sightings[: top or 1]
        for note in answer.notes:
            warn(note)
        explained = _explain(m, answer, phrase, explain) if explain is not None and phrase is not None else None
        asked, mask_row = ask_on_evidence(m, answer, phrase, mask_model, question.opening)
        show(_listing(answer, shown, explained, mask_row))
        if asked is not None:
            say_mask(asked)
        if (better := answer.likelier) is not None:
            probability = probability_cell(better.probability)
            warn(f"an older sighting is likelier ({probability}): {place(better, better.frame_ns)}")
        if not answer:
            _say_not_found(m, answer)
            if explained is not None:
                what = "drop of the score when covered" if explained["by"] == "covering" else "raw cosine"
                say(
                    f"{what} of the nearest miss: {_number(explained['inside'])} inside its box, "
                    f"{_number(explained['outside'])} outside"
                )
            if save is not None and near_misses and answer.near_misses:
                heading = "the nearest misses, the best first"
                write_picture(m.sheet(answer.near_misses, f"not found: {question.title}", heading=heading), save)
                save = None
            say_not_saved(save, clip, clips, vtt)
            return exit_code(1, answer.proof)
        if save is not None:
            picture = (
                m.sheet(shown, question.title, total=max(answer.total, len(shown)))
                if everything or top is not None
                else m.picture(
                    answer[0], question.title, others=answer.sightings, mask=None if asked is None else asked.mask
                )
            )
            write_picture(picture, save)
        code = write_clips(m, answer[0], answer.sightings[:top], question.title, clip=clip, clips=clips, vtt=vtt)
        return exit_code(code, answer.proof)


def _explain(memory: Memory, answer: Answer, phrase: str, path: str) -> Row | None:
    """Write the heat map and return its numbers; None when there is not even a near miss."""
    sighting = next(iter(answer.sightings or answer.near_misses), None)
    if sighting is None:
        return None
    explained = memory.explain(sighting, phrase)
    write_picture(explained.picture, path)
    numbers = {"inside": explained.inside, "outside": explained.outside, "low": explained.low, "high": explained.high}
    return {
        "source": sighting.source,
        "frame_s": None if sighting.picture else sighting.frame_s,
        "box": box_row(sighting.box),
        "found": answer.found,
        **{name: None if v is None else round(v, 6) for name, v in numbers.items()},
        "by": explained.by,
        "score": None if explained.score is None else round(explained.score, 6),
        "picture": path,
    }


def _listing(
    answer: Answer, shown: Sequence[Sighting], explained: Row | None = None, mask: Row | None = None
) -> Listing:
    rows = [sighting_row(s) for s in shown]
    header, *cells = sighting_cells(shown)
    table = [(*header, "frame", "box", "source")]
    table += [
        (*row, video_clock(s, s.frame_ns), box_cell(s.box), s.picture or s.source)
        for s, row in zip(shown, cells, strict=True)
    ]
    if any(s.last for s in shown):
        last = [("last seen",), *((_log_point(s.last),) for s in shown)]
        table = [row + more for row, more in zip(table, last, strict=True)]
    document: Row = plain(where_document(answer, shown))
    if mask is not None:
        document["mask"] = mask
    if explained is not None:
        document["explain"] = explained
        means = {name: explained[name] for name in ("inside", "outside")}
        rows = [row | (means if i == 0 else dict.fromkeys(means)) for i, row in enumerate(rows)]
        more_cells = [tuple(means), tuple(map(_number, means.values()))]
        table = [row + (more_cells[i] if i < 2 else ("", "")) for i, row in enumerate(table)]
    return Listing(rows, table, document)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _log_point(point: LogPoint | None) -> str:
    """A moment in a log or dataset: UTC or the log's clock, message, pose."""
    if point is None:
        return ""
    if point.clock == "episode":
        return f"episode {point.topic.partition('/')[0]}, frame {point.sequence}"
    if point.time_ns < EPOCHAL_NS:
        text = f"{clock(point.time_ns)} of the log's clock"
    else:
        day = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(point.time_ns // NS))
        text = f"{day}.{point.time_ns % NS // 1_000_000:03d} UTC"
    if point.sequence is not None:
        text += f", message {point.sequence}"
    if point.pose is not None:
        text += f", at x={point.pose.x:.1f} y={point.pose.y:.1f} {point.pose.frame}"
    return text


def _say_not_found(memory: Memory, answer: Answer) -> None:
    """Name the nearest misses, and what can help."""
    misses = "; ".join(map(_near_miss, answer.near_misses))
    near = answer.query.get("near")
    condition = f" near {' and '.join(map(str, near))}" if isinstance(near, list) else ""
    say(f"not found{condition}; nearest: {misses}" if misses else f"not found{condition}")
    sources = memory.sources()
    if not sources:
        warn(NO_VIDEO)
    elif unfinished := sum(row.state == "open" and row.kind is not SourceKind.LIVE for row in sources):
        warn(f"{unfinished} of {len(sources)} sources are only partly indexed; run `vidmem index` on them again")
    info = memory.text_encoder.info
    if answer.proof is not None and answer.proof.approximate:
        say(f"{answer.proof.approximate} may have missed it; to be sure, ask without --engine")
    if answer.proof is not None and answer.proof.down:
        say("what was not found may still have been seen, as some shards could not be asked")
    if misses and answer.query.get("text") is not None and not info.open_vocabulary:
        say(f"`{info.name}` knows a fixed list of names; {ANY_PHRASE}")


def _near_miss(s: Sighting) -> str:
    if s.picture:
        text = f"{probability_or_score(s)} in {Path(s.picture).name}"
    else:
        text = f"{probability_or_score(s)} at {clock(s.start_ns)} to {clock(s.end_ns)} in {Path(s.source).name}"
    date = relative_date(s.recorded_ns, s.recorded_by)
    return f"{text} ({date})" if date else text
