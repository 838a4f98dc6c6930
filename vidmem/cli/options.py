"""Options and arguments that several commands share."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from ..config import MEMORY_VARIABLE, IndexConfig
from ..errors import UsageError
from . import completion


def _memory_option(help: str) -> Any:
    return typer.Option("--memory", "-m", envvar=MEMORY_VARIABLE, metavar="FOLDER", help=help)


MemoryOption = Annotated[str | None, _memory_option("Folder of the memory.")]
AskedMemoryOption = Annotated[str | None, _memory_option("Folder of the memory, or fleet:CATALOGUE.")]
"""The memory of a command that only reads, which may be a fleet."""


def _encoder_option(default: str) -> Any:
    return typer.Option(
        "--encoder",
        metavar="NAME",
        help=f"Encoder, one that `vidmem models` lists. Default: {default}.",
        autocompletion=completion.encoders,
    )


def source_argument(help: str) -> Any:
    """A positional source of the memory."""
    return typer.Argument(metavar="SOURCE", help=help, show_default=False, autocompletion=completion.sources)


def source_option(help: str) -> Any:
    """--source, a source of the memory."""
    return typer.Option("--source", metavar="SOURCE", help=help, autocompletion=completion.sources)


def labels_option(help: str) -> Any:
    """--labels, a file of labels or a data set."""
    complete = completion.choices("vspw", "ade20k", "coco")
    return typer.Option("--labels", metavar="FILE|vspw|ade20k|coco", help=help, autocompletion=complete)


EncoderOption = Annotated[str | None, _encoder_option("the memory's")]
PhotoEncoderOption = Annotated[str | None, _encoder_option("tiny")]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="FOLDER",
        help="Folder of the encoder's weights. Default: VIDMEM_WEIGHTS, or the platform's data folder.",
    ),
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="milvus:URI",
        help="Search in Milvus, where `vidmem export milvus` put the vectors. It may miss some. Default: the memory.",
    ),
]
MasksOption = Annotated[
    str | None,
    typer.Option(
        "--masks",
        metavar="sam2[:SIZE]|FOLDER",
        help="Regions of textregion, gem and densevlm: SAM2, or a folder of masks. Default: clusters of patches.",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="cuda, mps or cpu. Default: the fastest available.",
        autocompletion=completion.choices("cuda", "mps", "cpu"),
    ),
]
KeepViewsOption = Annotated[
    bool,
    typer.Option(
        "--keep-views",
        help="Store the best views of each track, so that `vidmem reembed` works without the source.",
    ),
]
EveryFrameOption = Annotated[
    bool | None,
    typer.Option(
        "--every-frame/--skip-still",
        show_default=False,
        help="Encode every frame, or skip frames that show nothing new. Default: the memory's; a new one skips.",
    ),
]
PhotoArgument = Annotated[str, typer.Argument(metavar="PICTURE", help="A photo.", show_default=False)]
CosineOption = Annotated[
    float | None,
    typer.Option("--threshold", metavar="SCORE", help="Minimum cosine; overrides the calibrated test."),
]


def with_still(config: IndexConfig, skip: bool) -> IndexConfig:
    """Return the settings with frames that show nothing new skipped, or not."""

    return replace(config, still=(config.still or IndexConfig().still) if skip else 0)


def check_limits(everything: bool, top: int | None) -> None:
    """Raise UsageError if both --all and --top are given."""
    if everything and top is not None:
        raise UsageError("--all and --top exclude each other; give one of them")
