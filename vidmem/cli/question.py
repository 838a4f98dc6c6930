"""Options that make up a question: words, pictures, thresholds, times, and the memory to ask."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..encoders.vocabulary import MAX_LISTED, first_names, notes, read
from ..errors import UsageError
from ..memory import Memory
from ..query import arguments
from ..timecode import parse_span
from . import completion
from .messages import say
from .options import AskedMemoryOption, DeviceOption, EncoderOption, EngineOption, WeightsOption, source_option
from .signatures import parameter, parameters, set_parameters

if TYPE_CHECKING:
    from ..encoders import TextEncoder

Options = Mapping[str, tuple[Any, Any]]
"""Annotation and default of each parameter."""

# Pydantic would check defaults other than None, and its import takes a quarter of a question's time.
TEXT: Options = {
    "text": (
        Annotated[
            list[str] | None,
            typer.Argument(metavar="TEXT", help="What to look for, in words.", autocompletion=completion.words),
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
            typer.Option("--min-probability", metavar="P", help="Minimum probability of an answer. Default: 0.5."),
        ],
        None,
    ),
}
TESTS: Options = {
    "threshold": (
        Annotated[
            float | None,
            typer.Option(
                "--threshold", metavar="SCORE", help="Minimum score of an answer; overrides the calibrated test."
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
            source_option("Only in this video, by path or file name. Repeatable."),
        ],
        None,
    ),
    "after": (
        Annotated[
            str | None,
            typer.Option(
                "--after",
                metavar="TIME",
                help="Only after this time: 12.5s or 1:02 in the video, a date, a date with a time, or an age such as "
                "90min, 12h, 30d.",
            ),
        ],
        None,
    ),
    "before": (Annotated[str | None, typer.Option("--before", metavar="TIME", help="Only before this time.")], None),
    "between": (
        Annotated[
            str | None, typer.Option("--between", metavar="A..B", help="Only between two times, such as 1:00..2:30.")
        ],
        None,
    ),
}
FILTERS: Options = {
    **TIMES,
    "near": (
        Annotated[
            list[str] | None,
            typer.Option(
                "--near",
                metavar="TEXT",
                help="Only near this other thing. Repeatable.",
                autocompletion=completion.names,
            ),
        ],
        None,
    ),
    "within": (
        Annotated[
            str, typer.Option("--within", metavar="TIME", help="For --near: maximum time between the two sightings.")
        ],
        "2s",
    ),
    "apart": (
        Annotated[
            float | None,
            typer.Option(
                "--apart",
                metavar="N",
                help="For --near: maximum gap between the boxes, in units of the longest side of the two. Default: 1.",
            ),
        ],
        None,
    ),
}
OPENING: Options = {
    "memory": (AskedMemoryOption, None),
    "encoder": (EncoderOption, None),
    "device": (DeviceOption, None),
    "weights": (WeightsOption, None),
    "engine": (EngineOption, None),
}


@dataclass(frozen=True, slots=True)
class Question:
    """A question as a command received it.

    arguments: for `Memory.where` and similar methods, as far as the command has the options.
    opening: for `Memory.open`.
    title: the question as a picture shows it.
    """

    arguments: dict[str, Any]
    opening: dict[str, Any]
    title: str

    def memory(self) -> Memory:
        """Open the memory for reading."""

        return Memory.open(
            self.opening["memory"],
            encoder=self.opening["encoder"],
            read_only=True,
            device=self.opening.get("device"),
            weights=self.opening["weights"],
            engine=self.opening.get("engine"),
        )


def say_readings(encoder: TextEncoder, phrases: Sequence[str], *, guess: bool = False, single: bool = False) -> None:
    """Say how the encoder reads phrases that it does not take literally.

    Args:
        encoder: The encoder.
        phrases: What the user typed.
        guess: As for `reading.read`.
        single: There is only one phrase, so the message need not repeat it.

    Raises:
        UnknownWordError: The encoder does not know a word.
    """
    readings = read(encoder, phrases, guess=guess)
    noted = [repr(phrase) for phrase, reading in zip(phrases, readings, strict=True) if reading.note]
    if len(noted) > MAX_LISTED:
        say(
            f"`{encoder.info.name}` does not know {len(noted)} of {len(phrases)} names as they stand, and reads them "
            f"differently or guesses: {first_names(noted)}"
        )
        return
    for line in [reading.note for reading in readings if reading.note] if single else notes(phrases, readings):
        say(line)


def asks(*groups: Options, without: Sequence[str] = ()) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Add groups of options to a command, which receives them as the keyword `question`. Use it below `listing`."""
    shared = {name: option for group in groups for name, option in group.items() if name not in without}

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def run(*args: Any, **options: Any) -> int:
            given = {name: options.pop(name) for name in shared}
            return command(*args, question=_question(given), **options)

        own = parameters(command, without=("question",))
        added = [parameter(name, annotation, default) for name, (annotation, default) in shared.items()]
        required = [p for p in own if p.default is p.empty and p.name != "show"]
        set_parameters(run, [*required, *added, *(p for p in own if p not in required)])
        return run

    return decorate


def _question(given: dict[str, Any]) -> Question:
    """Build the question from the options. Raises UsageError for contradictory or malformed options."""
    opening = {name: given.pop(name) for name in OPENING if name in given}
    out: dict[str, Any] = {}
    title = ""
    if "text" in given:
        words = given.pop("text")
        out["text"] = " ".join(words) if words else None
        title = out["text"] or ""
    if "image" in given:
        image, crop = given.pop("image"), given.pop("crop")
        out |= {"image": image, "crop": None if crop is None else arguments.crop(crop)}
        title = title or (Path(image).name if image else crop or "")
    for name in ("threshold", "min_probability"):
        if name in given:
            out[name] = given.pop(name)
            arguments.share(name, out[name])
    return Question(out | _filters(**given), opening, title)


def _filters(
    source: Sequence[str] | None,
    after: str | None,
    before: str | None,
    between: str | None,
    near: Sequence[str] | None = None,
    within: str | None = None,
    apart: float | None = None,
) -> dict[str, Any]:
    """The filters among the options, as arguments of `Memory.where`."""

    if between is not None and (after is not None or before is not None):
        raise UsageError("--between stands for --after and --before; give either")
    span = (None, None) if between is None else parse_span(between)
    out: dict[str, Any] = {
        "sources": source or (),
        "after": span[0] if after is None else arguments.moment(after),
        "before": span[1] if before is None else arguments.moment(before),
    }
    if within is not None:
        out |= {"near": near or (), "within": within, "apart": 1.0 if apart is None else apart}
    return out
