"""`vidmem watch`: a camera, live."""

from __future__ import annotations

from typing import Annotated, Any, cast

import typer

from ..errors import MediaError, UsageError
from .options import (
    DeviceOption,
    EncoderOption,
    EveryFrameOption,
    KeepViewsOption,
    MemoryOption,
    WeightsOption,
    with_still,
)
from .output import say, warn


def watch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            show_default=False,
            help="A camera such as /dev/video0, - "
            "for a stream on stdin, or an address such as rtsp://... with --network.",
        ),
    ],
    network: Annotated[bool, typer.Option("--network", help="Allow an address on a network.")] = False,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Name of the source in the memory. By default what it is called, without password.",
        ),
    ] = None,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", help="Write at least this often: what a crash can lose.")
    ] = 2.0,
    depth: Annotated[int, typer.Option("--depth", metavar="N", help="Pictures that may wait for the encoder.")] = 8,
    drop: Annotated[
        str, typer.Option("--drop", metavar="NAME", help="Which picture goes when too many wait: oldest or newest.")
    ] = "oldest",
    every_frame: EveryFrameOption = None,
    keep_views: KeepViewsOption = False,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    weights: WeightsOption = None,
    memory: MemoryOption = None,
) -> None:
    """Watch a camera live until it ends or Ctrl-C.

    Pictures that the encoder is too slow for are dropped and counted. What is written can be asked for meanwhile.
    """
    from ..media.base import Damage
    from ..media.camera import plain_name
    from ..media.camera import watch as pictures
    from ..memory import Memory

    if drop not in ("oldest", "newest"):
        raise UsageError(f"--drop is oldest or newest; got {drop}")
    met = Damage()
    with Memory.open(memory, encoder=encoder, device=device, weights=weights) as m:
        config = None if every_frame is None else with_still(m.settings(), not every_frame)
        session = m.session(
            name or plain_name(source),
            config=config,
            depth=depth,
            interval_s=every,
            drop=cast(Any, drop),
            keep_views=keep_views,
        )
        try:
            for frame in pictures(source, met, network=network):
                session.append(frame.image, frame.t_ns)
        except KeyboardInterrupt:
            say("stopped; what was seen is written")
        session.close()
        stats = session.stats
    say(
        f"{session.name}: {stats.appended} pictures, {stats.committed} looked at, {stats.dropped} dropped, "
        f"{stats.late} with a time that goes back"
    )
    if stats.still:
        say(f"{stats.still} of {stats.still + stats.encoded} showed nothing new and were not encoded")
    if not stats.appended:
        raise MediaError(f"no picture came: {plain_name(source)}")
    if met:
        warn(f"damaged: {met.packets + met.frames} packets or frames left out ({'; '.join(met.notes[:3])})")
        raise typer.Exit(3)
