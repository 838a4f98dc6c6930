"""`vidmem annotate`: write what was seen back beside the recording."""

from __future__ import annotations

from typing import Annotated

import typer

from . import completing
from .asking import say_readings
from .options import DeviceOption, EncoderOption, MemoryOption, WeightsOption
from .output import say, warn


def annotate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="An indexed log, dataset or video.",
            show_default=False,
            autocompletion=completing.source,
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="What to write: .mcap a copy of an MCAP log with annotations, .rrd for "
            "Rerun, .parquet a table of spans.",
            show_default=False,
        ),
    ],
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            metavar="TEXT",
            help="Name what is found for it, and write nothing else; may be given again.",
            autocompletion=completing.name,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Beside what is named, all other tracks too.")] = False,
    memory: MemoryOption = None,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    weights: WeightsOption = None,
) -> None:
    """Write boxes, track numbers and names beside the recording.

    For frames that were looked at when it was indexed: `vidmem index --fps all` for every frame. Exit code 3 when parts
    of the recording are damaged and left out.
    """
    from ..memory import Memory

    with Memory.open(memory, encoder=encoder, device=device, read_only=True, weights=weights) as m:
        say_readings(m.text_encoder, label or ())
        written = m.annotate(source, out, labels=label or (), everything=everything)
    say(f"{written.path}: {written.boxes} boxes in {written.frames} frames")
    if written.damaged:
        causes = f" ({'; '.join(written.notes[:3])})" if written.notes else ""
        warn(f"damaged: {written.damaged} parts left out{causes}")
        raise typer.Exit(3)
