"""`vidmem watch`: index a camera live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from ..errors import MediaError, UsageError
from ..memory import Memory
from .messages import say, warn
from .options import (
    DeviceOption,
    EncoderOption,
    EveryFrameOption,
    KeepViewsOption,
    MemoryOption,
    WeightsOption,
    with_still,
)

if TYPE_CHECKING:
    from ..indexer.live import Policy


def watch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            show_default=False,
            help="A camera such as /dev/video0, - for a stream on stdin, or with --network an address such as "
            "rtsp://...",
        ),
    ],
    network: Annotated[bool, typer.Option("--network", help="Allow an address on a network.")] = False,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Name of the source in the memory. Default: SOURCE without user and password.",
        ),
    ] = None,
    every: Annotated[
        float,
        typer.Option("--every", metavar="SECONDS", help="Write at least this often; a crash loses what came after."),
    ] = 2.0,
    depth: Annotated[int, typer.Option("--depth", metavar="N", help="Frames that may wait for the encoder.")] = 8,
    drop: Annotated[
        str, typer.Option("--drop", metavar="NAME", help="Frame to drop when the queue is full: oldest or newest.")
    ] = "oldest",
    every_frame: EveryFrameOption = None,
    keep_views: KeepViewsOption = False,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    weights: WeightsOption = None,
    memory: MemoryOption = None,
) -> None:
    """Index a camera live, until it ends or Ctrl-C.

    Frames that the encoder has no time for are dropped and counted. Questions see what is written so far.

    \b
    Examples:
      vidmem watch /dev/video0
      vidmem watch rtsp://camera.local/stream --network --name door
    """
    from ..media.base import Damage  # imports PyAV
    from ..media.camera import plain_name
    from ..media.camera import watch as frames_of

    if drop not in ("oldest", "newest"):
        raise UsageError(f"--drop is oldest or newest; got {drop}")
    damage = Damage()
    with Memory.open(memory, encoder=encoder, device=device, weights=weights) as m:
        config = None if every_frame is None else with_still(m.settings(), not every_frame)
        session = m.session(
            name or plain_name(source),
            config=config,
            depth=depth,
            interval_s=every,
            drop=cast("Policy", drop),  # checked above
            keep_views=keep_views,
        )
        try:
            for frame in frames_of(source, damage, network=network):
                session.append(frame.image, frame.t_ns)
        except KeyboardInterrupt:
            say("stopped; everything seen so far is written")
        session.close()
        stats = session.stats
    say(
        f"{session.name}: {stats.appended} frames received, {stats.committed} indexed, {stats.dropped} dropped, "
        f"{stats.late} out of order"
    )
    if stats.still:
        say(f"{stats.still} of {stats.still + stats.encoded} showed nothing new and were not encoded")
    if not stats.appended:
        raise MediaError(f"no frame was received: {plain_name(source)}")
    if damage:
        warn(f"damaged: {damage.packets + damage.frames} packets or frames left out ({'; '.join(damage.notes[:3])})")
        raise typer.Exit(3)
