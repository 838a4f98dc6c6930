"""`vidmem annotate`: write boxes and names back beside the recording."""

from __future__ import annotations

from typing import Annotated

import typer

from ..memory import Memory
from . import completion
from .messages import say, warn
from .options import AskedMemoryOption, DeviceOption, EncoderOption, WeightsOption, source_argument
from .question import say_readings


def annotate(
    source: Annotated[
        str,
        source_argument("An indexed log, dataset or video, or one part of it."),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="File to write: .mcap (copy of an MCAP log with annotations), .rrd (for Rerun) or .parquet (table of "
            "spans).",
            show_default=False,
        ),
    ],
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            metavar="TEXT",
            help="Write only tracks that are found for this name, with the name. Repeatable.",
            autocompletion=completion.names,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="With --label: write the other tracks too.")] = False,
    memory: AskedMemoryOption = None,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    weights: WeightsOption = None,
) -> None:
    """Write boxes, track numbers and names beside a recording.

    Covers the frames that were indexed; `vidmem index --fps all` indexes every frame. The exit code is 3 if parts of
    the recording are damaged and left out.

    \b
    Examples:
      vidmem annotate run.mcap -o out.mcap --label umbrella
    """

    with Memory.open(memory, encoder=encoder, device=device, read_only=True, weights=weights) as m:
        say_readings(m.text_encoder, label or ())
        written = m.annotate(source, out, labels=label or (), everything=everything)
    say(f"{written.path}: {written.boxes} boxes in {written.frames} frames")
    if written.damaged:
        causes = f" ({'; '.join(written.notes[:3])})" if written.notes else ""
        warn(f"damaged: {written.damaged} parts left out{causes}")
        raise typer.Exit(3)
