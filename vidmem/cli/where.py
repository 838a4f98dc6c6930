"""`vidmem where`: when and where a thing was last seen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import MediaError, UsageError
from ..query.answers import sighting_row
from ..records import SourceKind
from ..timecode import EPOCHAL_NS, NS, clock, relative_date
from .asking import NARROWING, OPENING, PICTURE, TESTS, TEXT, Question, asking
from .clips import write_clips
from .opening import opens
from .output import Listing, Row, Show, listing, say, warn

if TYPE_CHECKING:
    from PIL import Image

    from ..memory import Memory
    from ..query.answers import Answer
    from ..records import Box, LogPoint, Sighting

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@listing
@opens("save", "clip", "explain")
@asking(TEXT, PICTURE, TESTS, NARROWING, OPENING)
def where(
    everything: Annotated[bool, typer.Option("--all", help="All sightings, newest first, not the last alone.")] = False,
    top: Annotated[int | None, typer.Option("--top", metavar="N", min=1, help="The N newest sightings.")] = None,
    save: Annotated[
        str | None,
        typer.Option(
            "--save",
            metavar="PICTURE",
            help="Save a contact sheet of the newest sighting, with --all or --top of all "
            "that are told (.png, .jpg, .webp).",
        ),
    ] = None,
    near_misses: Annotated[
        bool, typer.Option("--near-misses", help="If it is not found, save the nearest misses with --save.")
    ] = False,
    clip: Annotated[
        str | None,
        typer.Option(
            "--clip",
            metavar="VIDEO",
            help="Save the newest sighting (.mp4), a second more at each end, with a box around the thing.",
        ),
    ] = None,
    clips: Annotated[
        str | None, typer.Option("--clips", metavar="FOLDER", help="Save a clip of every sighting, or of the --top N.")
    ] = None,
    vtt: Annotated[
        str | None,
        typer.Option(
            "--vtt",
            metavar="FILE",
            help="Save every sighting, or the --top N, as chapters of its video (.vtt); a file "
            "for each of several videos.",
        ),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            "--explain",
            metavar="PICTURE",
            help="Save why the newest sighting, or the nearest miss, is taken for the "
            "text: how much the score falls where it is covered, or the cosine of each place (.png, .jpg, .webp).",
        ),
    ] = None,
    *,
    question: Question,
    show: Show,
) -> int:
    """Say when and where a thing was last seen.

    Ask in words, with a picture, or both. Exit code 1 and the nearest misses when it was not found.
    """
    if everything and top is not None:
        raise UsageError("--all and --top exclude each other; give one of them")
    if near_misses and save is None:
        raise UsageError("--near-misses says what --save writes; give both")
    check_suffix("--save", save, PICTURES)
    check_suffix("--clip", clip, (".mp4",))
    check_suffix("--vtt", vtt, (".vtt",))
    check_suffix("--explain", explain, PICTURES)
    phrase = question.asked["text"]
    if explain is not None and phrase is None:
        raise UsageError("--explain shows where a text is; give a text")
    most = None if everything or save or (top is None and (clips or vtt)) else top or 1  # the sheet's timeline has all
    with question.memory() as m:
        answer = m.where(**question.asked, top=most)
        shown = answer.sightings if everything else answer.sightings[: top or 1]
        for note in answer.notes:
            warn(note)
        looked = _explain(m, answer, phrase, explain) if explain is not None and phrase is not None else None
        show(_listing(answer, shown, looked))
        if (better := answer.likelier) is not None:
            warn(f"likelier: {place(better, better.frame_ns)} ({likely(better.probability)}), older")
        if not answer:
            _not_found(m, answer)
            if looked is not None:
                what = "fall of the score when covered" if looked["by"] == "covering" else "raw cosine"
                say(
                    f"{what} of the nearest: {_number(looked['inside'])} inside its box, "
                    f"{_number(looked['outside'])} outside"
                )
            if save is not None and near_misses and answer.near_misses:
                heading = "the nearest misses, the best first"
                write_picture(m.sheet(answer.near_misses, f"not found: {question.title}", heading=heading), save)
                save = None
            unsaved(save, clip, clips, vtt)
            return 1
        if save is not None:
            many = everything or top is not None
            picture = (
                m.sheet(shown, question.title, total=max(answer.total, len(shown)))
                if many
                else m.picture(answer[0], question.title, others=answer.sightings)
            )
            write_picture(picture, save)
        return write_clips(m, answer[0], answer.sightings[:top], question.title, clip, clips, vtt)


def unsaved(*paths: str | None) -> None:
    """Say of files that were asked for that they were not written; what lies there already is of an earlier answer."""
    for path in paths:
        if path is not None:
            say(
                f"nothing was written, what is there is older: {path}"
                if Path(path).exists()
                else f"nothing was written: {path}"
            )


def check_suffix(option: str, path: str | None, suffixes: tuple[str, ...]) -> None:
    if path is not None and Path(path).suffix.lower() not in suffixes:
        raise UsageError(f"{option} writes {', '.join(s[1:] for s in suffixes)}; give such a name: {path}")


def _explain(memory: Memory, answer: Answer, phrase: str, path: str) -> Row | None:
    """The picture written, and what it says in numbers; None when there is not even a near miss."""
    sighting = next(iter(answer.sightings or answer.near_misses), None)
    if sighting is None:
        return None
    explained = memory.explain(sighting, phrase)
    write_picture(explained.picture, path)
    numbers = {"inside": explained.inside, "outside": explained.outside, "low": explained.low, "high": explained.high}
    return {
        "source": sighting.source,
        "frame_s": None if sighting.picture else sighting.frame_s,
        "box": [round(v, 2) for v in sighting.box],
        "found": answer.found,
        **{name: None if v is None else round(v, 6) for name, v in numbers.items()},
        "by": explained.by,
        "score": None if explained.score is None else round(explained.score, 6),
        "picture": path,
    }


def _listing(answer: Answer, shown: Sequence[Sighting], looked: Row | None = None) -> Listing:
    rows = [sighting_row(s) for s in shown]
    seen = seen_cells(shown)
    table = [(*seen[0], "frame", "box", "source")]
    table += [
        (*cells, _clock(s, s.frame_ns), _box(s.box), s.picture or s.source)
        for s, cells in zip(shown, seen[1:], strict=True)
    ]
    if any(s.last for s in shown):
        last = [("last seen",), *((_told(s.last),) for s in shown)]
        table = [row + more for row, more in zip(table, last, strict=True)]
    near = [sighting_row(s) for s in answer.near_misses]
    document: Row = {
        "found": answer.found,
        "query": answer.query,
        "sightings": rows,
        "near_misses": near,
        "likelier": None if answer.likelier is None else sighting_row(answer.likelier),
    }
    if looked is not None:
        document["explain"] = looked
        parts = {name: looked[name] for name in ("inside", "outside")}
        rows = [row | (parts if i == 0 else dict.fromkeys(parts)) for i, row in enumerate(rows)]
        heads, cells = tuple(parts), tuple(map(_number, parts.values()))
        table = [row + (heads if i == 0 else cells if i == 1 else ("", "")) for i, row in enumerate(table)]
    return Listing(rows, table, document)


def seen_cells(sightings: Sequence[Sighting]) -> list[tuple[str, ...]]:
    """The cells that a table of sightings begins with, the head first: when they were recorded, where that is known of
    any, from and to in the video, and how sure it is: the score where there is no probability."""
    calibrated = all(s.probability is not None for s in sightings)
    heads, rows = (
        ("from", "to", "prob" if calibrated else "score"),
        [(_clock(s, s.start_ns), _clock(s, s.end_ns), _sure(s) if calibrated else f"{s.score:.3f}") for s in sightings],
    )
    dates = [relative_date(s.recorded_ns, s.recorded_by) for s in sightings]
    if not any(dates):
        return [heads, *rows]
    return [("when", *heads), *((date or "-", *row) for date, row in zip(dates, rows, strict=True))]


def place(s: Sighting, t_ns: int) -> str:
    """A moment of a sighting for people: "yesterday 18:02, 0:12.0 into a.mp4"."""
    date = relative_date(s.recorded_ns, s.recorded_by)
    if s.picture:
        return f"{date}, {Path(s.picture).name}" if date else Path(s.picture).name
    name = Path(s.source).name
    return f"{date}, {clock(t_ns)} into {name}" if date else f"{clock(t_ns)} in {name}"


def _clock(s: Sighting, t_ns: int) -> str:
    """A time in the video; a single picture has none."""
    return "-" if s.picture else clock(t_ns)


LIMITS = "knows a fixed list of names"
NEXT_STEP = "for any phrase: `vidmem reembed --encoder clip` (its weights: `vidmem models pull clip`)"
"""What to do when the encoder's names do not suffice."""


def likely(probability: float | None) -> str:
    """A probability for people."""
    return "not calibrated" if probability is None else f"{probability:.2f}"


def _sure(s: Sighting) -> str:
    """The probability, as tables tell it, or where none is known the score."""
    return f"{s.score:.3f}" if s.probability is None else likely(s.probability)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _told(point: LogPoint | None) -> str:
    """A moment in a log for people: UTC, message, pose."""
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


def _box(box: Box) -> str:
    return ",".join(f"{v:.0f}" for v in box)


def _not_found(memory: Memory, answer: Answer) -> None:
    near = "; ".join(
        (
            f"{_sure(s)} in {Path(s.picture).name}"
            if s.picture
            else f"{_sure(s)} at {clock(s.start_ns)} to {clock(s.end_ns)} in {Path(s.source).name}"
        )
        + (f" ({date})" if (date := relative_date(s.recorded_ns, s.recorded_by)) else "")
        for s in answer.near_misses
    )
    said = answer.query.get("near")
    beside = f" near {' and '.join(map(str, said))}" if isinstance(said, list) else ""
    say(f"not found{beside}; nearest: {near}" if near else f"not found{beside}")
    sources = memory.sources()
    if not sources:
        warn("the memory holds no video yet; `vidmem index` adds some")
    elif waiting := sum(row.state == "open" and row.kind is not SourceKind.LIVE for row in sources):
        warn(f"{waiting} of {len(sources)} sources are not indexed to their end; run `vidmem index` on them again")
    info = memory.text_encoder.info
    if near and answer.query.get("text") is not None and not info.open_vocabulary:
        say(f"`{info.name}` {LIMITS}; {NEXT_STEP}")


def write_picture(picture: Image.Image, path: str) -> None:
    """Save it and say so. Raises MediaError."""
    try:
        picture.save(path)
    except OSError as error:
        cause = error.strerror or str(error)
        raise MediaError(f"the picture cannot be written ({cause}); check the folder: {path}") from None
    say(f"saved {path}")
