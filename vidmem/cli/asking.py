"""What a question is made of on the command line: words, pictures, tests, times, and which memory is asked."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from ..query import arguments
from . import completing
from .options import DeviceOption, EncoderOption, MemoryOption, WeightsOption
from .output import say

if TYPE_CHECKING:
    from ..encoders import TextEncoder
    from ..memory import Memory

Options = Mapping[str, tuple[Any, Any]]
"""By parameter: annotation and default."""

# A default other than None would be checked by pydantic, whose import costs a quarter of a question.
TEXT: Options = {
    "text": (
        Annotated[
            list[str] | None,
            typer.Argument(metavar="TEXT", help="What to look for, in words.", autocompletion=completing.words),
        ],
        None,
    ),
}
PICTURE: Options = {
    "image": (Annotated[str | None, typer.Option("--image", metavar="PICTURE", help="A picture of the thing.")], None),
    "crop": (
        Annotated[
            str | None,
            typer.Option(
                "--crop",
                metavar="VIDEO@TIME:X,Y,W,H",
                help="The thing in a box of an indexed video, in pixels. TIME is 12, 12.5s, 00:01:02.5 or 90000000ns.",
            ),
        ],
        None,
    ),
}
PROBABILITY: Options = {
    "min_probability": (
        Annotated[
            float | None,
            typer.Option(
                "--min-probability", metavar="P", help="Least probability that counts as found, .5 by default."
            ),
        ],
        None,
    ),
}
TESTS: Options = {
    "threshold": (
        Annotated[
            float | None,
            typer.Option(
                "--threshold", metavar="SCORE", help="Least score that counts as found, not the calibrated test."
            ),
        ],
        None,
    ),
    **PROBABILITY,
}
TIMES: Options = {
    "source": (
        Annotated[
            list[str] | None,
            typer.Option(
                "--source",
                metavar="SOURCE",
                help="Only in this video, a path or file name; may be given again.",
                autocompletion=completing.source,
            ),
        ],
        None,
    ),
    "after": (
        Annotated[
            str | None,
            typer.Option(
                "--after",
                metavar="TIME",
                help="Only from then on: 12.5s or 1:02 (in the video), a date, a date with "
                "a time, 90min, 12h, 30d (ago).",
            ),
        ],
        None,
    ),
    "before": (Annotated[str | None, typer.Option("--before", metavar="TIME", help="Only before that time.")], None),
    "between": (
        Annotated[
            str | None, typer.Option("--between", metavar="A..B", help="Only from A until B, such as 1:00..2:30.")
        ],
        None,
    ),
}
NARROWING: Options = {
    **TIMES,
    "near": (
        Annotated[
            list[str] | None,
            typer.Option(
                "--near",
                metavar="TEXT",
                help="Only near another thing; may be given again.",
                autocompletion=completing.name,
            ),
        ],
        None,
    ),
    "within": (
        Annotated[str, typer.Option("--within", metavar="TIME", help="Near: both in view so far apart at the most.")],
        "2s",
    ),
    "apart": (
        Annotated[
            float | None,
            typer.Option("--apart", metavar="N", help="Near: gap between the boxes, in longest sides of the two; 1."),
        ],
        None,
    ),
}
OPENING: Options = {
    "memory": (MemoryOption, None),
    "encoder": (EncoderOption, None),
    "device": (DeviceOption, None),
    "weights": (WeightsOption, None),
}


@dataclass(frozen=True, slots=True)
class Question:
    """asked: arguments of `Memory.where` and the like, those of the options that the command has. opening: of
    `Memory.open`. title: what was asked, for a picture."""

    asked: dict[str, Any]
    opening: dict[str, Any]
    title: str

    def memory(self) -> Memory:
        """The memory, for reading."""
        from ..memory import Memory

        return Memory.open(
            self.opening["memory"],
            encoder=self.opening["encoder"],
            read_only=True,
            device=self.opening.get("device"),
            weights=self.opening["weights"],
        )


def say_readings(encoder: TextEncoder, phrases: Sequence[str], *, guess: bool = False, alone: bool = False) -> None:
    """How the encoder reads them, where that is not as they are. guess: as in `reading.read`. alone: the phrase is all
    that was asked for, so it need not be repeated. Raises UnknownWordError."""
    from ..encoders.reading import MOST_TOLD, few, notes, read

    readings = read(encoder, phrases, guess=guess)
    noted = [repr(phrase) for phrase, one in zip(phrases, readings, strict=True) if one.note]
    if len(noted) > MOST_TOLD:
        say(
            f"{len(noted)} of {len(phrases)} are none of the names that `{encoder.info.name}` was taught, or are read "
            f"otherwise: {few(noted)}"
        )
        return
    for line in [one.note for one in readings if one.note] if alone else notes(phrases, readings):
        say(line)


def asking(*groups: Options, without: Sequence[str] = ()) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command the options of these groups, and a keyword `question` made of them. Goes below `listing`."""
    shared = {name: option for group in groups for name, option in group.items() if name not in without}

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def run(*args: Any, **options: Any) -> int:
            given = {name: options.pop(name) for name in shared}
            return command(*args, question=_question(given), **options)

        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.name not in ("question", "show")]
        ours = [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)
            for name, (annotation, default) in shared.items()
        ]
        required = [p for p in own if p.default is inspect.Parameter.empty]
        optional = [p for p in own if p.default is not inspect.Parameter.empty]
        show = [signature.parameters["show"]]
        run.__signature__ = signature.replace(parameters=[*required, *ours, *optional, *show])  # type: ignore[attr-defined]
        return run

    return decorate


def _question(given: dict[str, Any]) -> Question:
    """Raises UsageError for what makes no sense."""
    opening = {name: given.pop(name) for name in OPENING if name in given}
    asked: dict[str, Any] = {}
    title = ""
    if "text" in given:
        words = given.pop("text")
        asked["text"] = " ".join(words) if words else None
        title = asked["text"] or ""
    if "image" in given:
        image, crop = given.pop("image"), given.pop("crop")
        asked |= {"image": image, "crop": None if crop is None else arguments.crop(crop)}
        title = title or (Path(image).name if image else crop or "")
    for name in ("threshold", "min_probability"):
        if name in given:
            asked[name] = given.pop(name)
            arguments.share(name, asked[name])
    return Question(asked | _conditions(**given), opening, title)


def _conditions(
    source: Sequence[str] | None,
    after: str | None,
    before: str | None,
    between: str | None,
    near: Sequence[str] | None = None,
    within: str | None = None,
    apart: float | None = None,
) -> dict[str, Any]:
    from ..timecode import parse_span

    if between is not None and (after is not None or before is not None):
        raise UsageError("--between is --after and --before in one; give either")
    moments = (None, None) if between is None else parse_span(between)
    out: dict[str, Any] = {
        "sources": source or (),
        "after": moments[0] if after is None else arguments.moment(after),
        "before": moments[1] if before is None else arguments.moment(before),
    }
    if within is not None:
        out |= {"near": near or (), "within": within, "apart": 1.0 if apart is None else apart}
    return out
