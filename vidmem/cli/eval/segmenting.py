"""What the commands that segment pictures share: options, and the settings they stand for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import completion
from ..options import MasksOption

if TYPE_CHECKING:
    from ...config import MergeConfig

__all__ = ["FeaturesOption", "MasksOption", "NamesOption", "TemplatesOption", "fingerprint", "merge_of"]

FeaturesOption = Annotated[
    str | None,
    typer.Option(
        "--features",
        metavar="points|patches|regions",
        help="What is compared with the names. Default: the finest that the encoder has.",
        autocompletion=completion.choices("points", "patches", "regions"),
    ),
]
NamesOption = Annotated[
    str | None,
    typer.Option(
        "--names",
        metavar="FILE",
        help="Names of the classes, one a line in their order; after a tab the words for the encoder. Default: the "
        "data set's.",
    ),
]
TemplatesOption = Annotated[
    bool,
    typer.Option("--templates/--no-templates", help="Put names into many sentences, where the encoder can."),
]


def fingerprint(value: Any) -> str:
    """A short hash of plain data, for the settings of a journal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def merge_of(spec: str | None) -> MergeConfig:
    """How the regions of an encoder are merged."""
    from ...config import preset
    from ...encoders import DEFAULT, find

    return preset(find(spec or DEFAULT).preset).merge


def comma_list(given: Sequence[str]) -> list[str]:
    """The parts of values with commas, in order, each once."""
    return list(dict.fromkeys(part.strip() for value in given for part in value.split(",") if part.strip()))
