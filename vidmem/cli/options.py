"""Options that several commands share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from . import completing

if TYPE_CHECKING:
    from ..config import IndexConfig

MemoryOption = Annotated[
    str | None,
    typer.Option("--memory", "-m", envvar="VIDMEM_MEMORY", metavar="FOLDER", help="Folder of the memory."),
]
EncoderOption = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        metavar="NAME",
        help="Encoder, as `vidmem models` lists them. By default the memory's.",
        autocompletion=completing.encoder,
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="FOLDER",
        help="Folder of the encoder's weights. By default VIDMEM_WEIGHTS, or the platform's.",
    ),
]
MasksOption = Annotated[
    str | None,
    typer.Option(
        "--masks",
        metavar="sam2[:SIZE]|FOLDER",
        help="Where regions come from, for textregion and gem: SAM2, "
        "or a folder of masks. By default clusters of patches.",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="cuda, mps or cpu. By default the best there is.",
        autocompletion=completing.one_of("cuda", "mps", "cpu"),
    ),
]
KeepViewsOption = Annotated[
    bool,
    typer.Option(
        "--keep-views",
        help="Keep the pictures of the views in the memory, so that `vidmem reembed` can do without the source.",
    ),
]
EveryFrameOption = Annotated[
    bool | None,
    typer.Option(
        "--every-frame/--skip-still",
        show_default=False,
        help="Encode every frame, or carry over what was "
        "seen where the picture stands still. By default the memory's; skip if new.",
    ),
]


def with_still(config: IndexConfig, skip: bool) -> IndexConfig:
    """The settings with frames that stand still passed over, or not."""
    from ..config import IndexConfig as Default

    return replace(config, still=(config.still or Default().still) if skip else 0)
