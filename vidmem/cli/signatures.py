"""Tell Typer which parameters a decorated command has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, cast


def parameters(command: Callable[..., Any], without: Sequence[str] = ()) -> list[inspect.Parameter]:
    """The parameters of a command with their annotations evaluated."""
    signature = inspect.signature(command, eval_str=True)
    return [p for p in signature.parameters.values() if p.name not in without]


def parameter(name: str, annotation: object, default: object = False) -> inspect.Parameter:
    """A keyword parameter that Typer reads as an option."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def set_parameters(run: Callable[..., Any], parameters: Sequence[inspect.Parameter]) -> None:
    """Replace the parameters that Typer reads of `run`. It calls commands with keywords, so all become keywords."""
    signed = cast(Any, run)  # functions declare no __signature__
    signed.__signature__ = inspect.Signature([p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters])
    signed.__annotations__ = {p.name: p.annotation for p in parameters}
