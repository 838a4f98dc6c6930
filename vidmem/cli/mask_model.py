"""Options for a multimodal language model that writes masks, and its answer as rows, JSON and messages."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ModelError, UsageError
from . import completion
from .messages import say, warn
from .output import Row
from .question import Options
from .signatures import parameter, parameters, set_parameters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..memory import Memory
    from ..query.answers import Answer as Found
    from ..vlm.ask import Asked

GRIDS = (16, 24, 32)
Ask = Callable[["NDArray[np.uint8]", str], tuple["Asked", Row]]
"""Asks a loaded model about a picture `(H, W, 3)` uint8 RGB: the mask of a thing, and its row for JSON."""
# Not "grid" and "refine": help puts parameters under a heading by their names, and other commands have those, too.
MODEL: Options = {
    "model": (
        Annotated[
            str | None,
            typer.Option(
                "--model",
                metavar="FOLDER|URL",
                help="A vision-language model of transformers, or a LoRA adapter, in a folder; or http://HOST/v1, an "
                "endpoint with OpenAI's chat completions.",
            ),
        ],
        None,
    ),
    "model_name": (
        Annotated[
            str | None, typer.Option("--model-name", metavar="NAME", help="For an endpoint: the model's name there.")
        ],
        None,
    ),
    "allow_network": (
        Annotated[
            bool,
            typer.Option("--allow-network", help="Send the picture to the endpoint of --model. Off by default."),
        ],
        False,
    ),
    "timeout": (
        Annotated[
            float | None,
            typer.Option("--timeout", metavar="SECONDS", help="For an endpoint: time for an answer. Default: 120."),
        ],
        None,
    ),
    "asked_grid": (
        Annotated[
            int | None,
            typer.Option(
                "--grid",
                metavar="16|24|32",
                help="Cells on a side of the mask that the model writes. Default: 16.",
                autocompletion=completion.choices(*map(str, GRIDS)),
            ),
        ],
        None,
    ),
    "asked_refine": (
        Annotated[
            str | None,
            typer.Option(
                "--refine",
                metavar="sam2[:SIZE]",
                help="Let SAM2 find the borders of the mask. SIZE is as for --masks of `vidmem index`.",
            ),
        ],
        None,
    ),
    "constrained": (
        Annotated[
            bool | None,
            typer.Option(
                "--constrained/--free",
                show_default=False,
                help="Allow the model only valid masks, or any text. Default: --constrained in a folder, --free for an "
                "endpoint.",
            ),
        ],
        None,
    ),
    "describe": (
        Annotated[
            bool | None,
            typer.Option(
                "--describe/--bare",
                show_default=False,
                help="Describe the form of a mask in the question, for models that were not trained to write masks, or "
                "do not. Default: --bare in a folder, --describe for an endpoint.",
            ),
        ],
        None,
    ),
    "max_tokens": (
        Annotated[
            int | None,
            typer.Option("--max-tokens", metavar="N", help="Cut the answer after N tokens. Default: 6 for each cell."),
        ],
        None,
    ),
}


@dataclass(frozen=True, slots=True)
class MaskModel:
    """The options of a model that writes masks. given: by the names in MODEL, as far as the command has them."""

    given: dict[str, Any]

    @property
    def chosen(self) -> bool:
        """--model was given."""
        return self.given["model"] is not None

    def check(self) -> None:
        """Raise UsageError for options that do not fit, before anything is loaded."""
        if not self.chosen:
            absent = {name: default for name, (_, default) in MODEL.items()}
            if others := [name for name, value in self.given.items() if value is not absent[name]]:
                flag = others[0].removeprefix("asked_").replace("_", "-")
                if self.given[others[0]] is False:
                    flag = {"constrained": "free", "describe": "bare"}[others[0]]
                raise UsageError(f"--{flag} is about a model that writes masks; give --model, too")
            return
        if self.given["asked_grid"] not in (None, *GRIDS):
            raise UsageError(f"--grid is 16, 24 or 32; got {self.given['asked_grid']}")
        name = self.given.get("model_name")
        if name is not None and not name.strip():
            raise UsageError("--model-name is empty; give the name of the model at the endpoint")
        limit, timeout = self.given.get("max_tokens"), self.given.get("timeout")
        if limit is not None and not 1 <= limit <= 100_000:
            raise UsageError(f"--max-tokens is 1 to 100000; got {limit}")
        if timeout is not None and not 0 < timeout <= 86_400:
            raise UsageError(f"--timeout is more than 0 and at most 86400 seconds; got {timeout:g}")

    def open(self, *, device: str | None, weights: str | None) -> Ask:
        """Load the model. The result asks it for the mask of a thing in a picture, and gives the row for JSON, too.

        Args:
            device: For the model and for SAM2.
            weights: Folder of SAM2's weights.
        """
        from ..encoders.masks.sam_predictor import load_predictor
        from ..vlm.ask import ask_mask
        from ..vlm.opening import is_url, open_model

        given = self.given
        served = is_url(given["model"])
        refiner = None if given.get("asked_refine") is None else load_predictor(given["asked_refine"], device, weights)
        asker = open_model(
            given["model"],
            device=device,
            model_name=given.get("model_name"),
            allow_network=bool(given.get("allow_network")),
            timeout_s=given.get("timeout"),
        )
        side = given.get("asked_grid") or GRIDS[0]
        constrained, describe = given.get("constrained"), given.get("describe")

        def ask(image: NDArray[np.uint8], phrase: str) -> tuple[Asked, Row]:
            asked = ask_mask(
                asker,
                image,
                phrase,
                grid=(side, side),
                constrained=not served if constrained is None else constrained,
                describe=served if describe is None else describe,
                say_grid=given.get("asked_grid") is not None,
                max_tokens=given.get("max_tokens"),
                refiner=refiner,
            )
            return asked, _row(asked, asker.name)

        return ask

    def ask(
        self, image: NDArray[np.uint8], phrase: str, *, device: str | None, weights: str | None
    ) -> tuple[Asked, Row]:
        """Load the model and ask it for the mask of a thing in a picture `(H, W, 3)` uint8 RGB; see `open`."""
        return self.open(device=device, weights=weights)(image, phrase)


def asks_a_model(without: Sequence[str] = ()) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Add the options of MODEL to a command, which receives them as the keyword `mask_model`. Use it below
    `listing`."""
    shared = {name: option for name, option in MODEL.items() if name not in without}

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def run(*args: Any, **options: Any) -> int:
            given = MaskModel({name: options.pop(name) for name in shared})
            given.check()
            return command(*args, mask_model=given, **options)

        own = parameters(command, without=("mask_model",))
        added = [parameter(name, annotation, default) for name, (annotation, default) in shared.items()]
        keywords = [p for p in own if p.name in ("show", "question")]
        set_parameters(run, [*(p for p in own if p not in keywords), *added, *keywords])
        return run

    return decorate


def ask_on_evidence(
    memory: Memory, answer: Found, phrase: str | None, model: MaskModel, opening: dict[str, Any]
) -> tuple[Asked | None, Row | None]:
    """Ask for the mask of a phrase in the frame or photo of the newest sighting; None without a model or a sighting.

    Args:
        memory: The memory.
        answer: What `where` found.
        phrase: The thing.
        model: The options of the model.
        opening: The options `device` and `weights`.
    """
    if not model.chosen or not answer or phrase is None:
        return None, None
    image, _ = memory.evidence(answer[0])
    asked, row = model.ask(image, phrase, device=opening["device"], weights=opening["weights"])
    place = {"source": answer[0].source, "frame_s": None if answer[0].picture else answer[0].frame_s}
    return asked, place | row


def say_mask(asked: Asked) -> None:
    """Say what the model answered, and warn about an answer that had to be repaired or has no mask of the thing."""
    say_problems(asked)
    if asked.instead:
        warn(f"the model's answer shows only other things: {_quoted(asked.instead)}")
    elif asked.mask.any():
        say(f"the model's mask covers {asked.mask.mean():.1%} of the picture: {asked.phrase}")
    elif asked.readable:
        say(f"the model answers that this is not there: {asked.phrase}")


def say_problems(asked: Asked) -> None:
    """Warn about an answer that had to be repaired, or has no mask."""
    for problem in asked.reading.problems:
        warn(f"the answer was repaired: {problem}" if asked.readable else f"the model's answer: {problem}")


def check_readable(asked: Asked) -> None:
    """Raise ModelError if there is no mask in the answer, or only masks of other things: that is no answer, not even
    "not there"."""
    if asked.instead:
        raise ModelError(
            f"the model's answer shows only other things ({_quoted(asked.instead)}), so it says nothing about "
            f"{asked.phrase[:40]!r}; ask with one of these labels, or try --describe"
        )
    if not asked.readable:
        start = " ".join(asked.answer.text.split())[:60]
        raise ModelError(
            f"there is no mask in the model's answer, so it says nothing about the thing ({start!r}); try --describe "
            "or --constrained, or a model that was trained to write masks"
        )


def _quoted(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
    return ", ".join(repr(label[:40]) for label in labels[:3]) + more


def _row(asked: Asked, model: str) -> Row:
    from ..export.rle import box, segmentation

    found = bool(asked.mask.any())
    grid = asked.reading.mask.cells.shape
    return {
        "phrase": asked.phrase,
        "found": found,
        "model": model,
        "share": round(float(asked.mask.mean()), 6),
        "bbox": box(asked.mask),
        "segmentation": segmentation(asked.mask),
        "refined": asked.refined,
        "grid": [int(grid[0]), int(grid[1])],
        "valid": not asked.reading.problems,
        "problems": list(asked.reading.problems),
        "instead": list(asked.instead),
        "constrained": asked.constrained,
        "question": asked.question,
        "answer": asked.answer.text,
        "tokens": asked.answer.tokens,
        "seconds": round(asked.answer.seconds, 3),
        "cut": asked.answer.cut,
    }
