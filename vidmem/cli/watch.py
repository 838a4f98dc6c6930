"""`vidmem watch`: index a camera live, and tell of what comes into view."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ..errors import MediaError, UsageError
from ..memory import Memory
from ..timecode import counted
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
from .question import say_readings

if TYPE_CHECKING:
    from ..indexer.live import Policy, SessionStats
    from ..standing import Sink, StandingEvent, StandingQuestion, StandingStats


def watch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            show_default=False,
            help="A camera such as /dev/video0, - for a stream on stdin, a video file, or with --network an address "
            "such as rtsp://...",
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
    when: Annotated[
        list[str] | None,
        typer.Option("--when", metavar="TEXT", help="Tell when this comes into view, in words. Repeatable."),
    ] = None,
    when_image: Annotated[
        list[str] | None,
        typer.Option("--when-image", metavar="PICTURE", help="Tell when what this shows comes into view. Repeatable."),
    ] = None,
    when_list: Annotated[
        str | None,
        typer.Option("--when-list", metavar="FILE", help="Tell when one of these comes into view, one name a line."),
    ] = None,
    min_probability: Annotated[
        float | None,
        typer.Option("--min-probability", metavar="P", help="Tell only what is at least this probable. Default: 0.8."),
    ] = None,
    again_after_s: Annotated[
        float,
        typer.Option(
            "--again-after", metavar="SECONDS", help="Tell of a thing again only after it was away this long."
        ),
    ] = 60.0,
    run: Annotated[
        str | None,
        typer.Option("--exec", metavar="COMMAND", help="Run this for each event, with the event as JSON on its stdin."),
    ] = None,
    webhook: Annotated[
        str | None, typer.Option("--webhook", metavar="URL", help="Post each event as JSON to this http or https URL.")
    ] = None,
    mqtt: Annotated[
        str | None,
        typer.Option(
            "--mqtt", metavar="URL", help="Publish each event: mqtt://HOST/TOPIC or mqtts://USER@HOST:PORT/TOPIC."
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

    Frames that the encoder has no time for are dropped and counted. Questions see what is written so far. A video file
    is watched at the speed at which it plays.

    With --when, and with the names that `vidmem standing` keeps, each new sighting is told once, as an event: as a line
    of JSON on stdout, or where --exec, --webhook and --mqtt say. The exit code is 3 if events were lost.

    \b
    Examples:
      vidmem watch /dev/video0
      vidmem watch rtsp://camera.local/stream --network --name door
      vidmem watch /dev/video0 --when keys --mqtt mqtt://localhost/home/seen
    """
    from ..media.base import Damage  # imports PyAV
    from ..media.camera import plain_name
    from ..media.camera import watch as frames_of

    if drop not in ("oldest", "newest"):
        raise UsageError(f"--drop is oldest or newest; got {drop}")
    asked = _asked(when, when_image, when_list)
    sinks = _sinks(run, webhook, mqtt)
    damage, interrupted = Damage(), False
    with Memory.open(memory, encoder=encoder, device=device, weights=weights) as m:
        config = None if every_frame is None else with_still(m.settings(), not every_frame)
        stored = [row.text for row in m.standing_questions()]
        if (sinks or min_probability is not None) and not asked and not stored:
            raise UsageError("nothing to tell of; give --when, or keep names with `vidmem standing --add`")
        if texts := [one.text for one in asked if one.text is not None]:
            say_readings(m.text_encoder, texts)
        session = m.session(
            name or plain_name(source),
            config=config,
            depth=depth,
            interval_s=every,
            drop=cast("Policy", drop),  # checked above
            keep_views=keep_views,
            when=asked,
            on_event=(sinks or [_stdout()]) if asked or stored else None,
            min_probability=min_probability,
            again_after_s=again_after_s,
        )
        if more := [text for text in stored if text not in {one.text for one in asked}]:
            say(f"also asked, as `vidmem standing` keeps them: {', '.join(more)}")
        try:
            for frame in frames_of(source, damage, network=network, say=say):
                session.append(frame.image, frame.t_ns)
        except KeyboardInterrupt:
            interrupted = True
            if session.stats.appended:
                say("stopped; everything seen so far is written")
        session.close()
        stats, standing = session.stats, session.standing_stats
    if interrupted and not stats.appended:
        raise KeyboardInterrupt  # ends as it does before the camera is opened
    _say_counts(session.name, stats)
    if asked or stored:
        _say_events(standing)
    if not stats.appended:
        raise MediaError(f"no frame was received: {plain_name(source)}")
    if damage:
        warn(f"damaged: {damage.packets + damage.frames} packets or frames left out ({'; '.join(damage.notes[:3])})")
    if damage or standing.lost or standing.unanswered:
        raise typer.Exit(3)


def _asked(when: Sequence[str] | None, pictures: Sequence[str] | None, names: str | None) -> list[StandingQuestion]:
    """The standing questions of the command line. Raises UsageError, MediaError."""
    from ..standing import StandingQuestion

    texts = list(when or ())
    if names is not None:
        from ..query.labels import load_labels

        texts += [name for name in load_labels(names).names if name not in texts]
    if any(not text.strip() for text in texts):
        raise UsageError("--when is empty; name a thing, such as keys")
    return [*map(StandingQuestion, texts), *(StandingQuestion(image=picture) for picture in pictures or ())]


def _sinks(command: str | None, webhook: str | None, mqtt: str | None) -> list[Sink]:
    """The receivers of the command line. Raises UsageError."""
    from ..standing import Mqtt, RunCommand, Webhook

    out: list[Sink] = []
    if command is not None:
        out.append(RunCommand(command))
    if webhook is not None:
        out.append(Webhook(webhook))
    if mqtt is not None:
        out.append(Mqtt(mqtt))
    return out


def _stdout() -> Sink:
    """Events as lines on stdout, which may be a stream without a descriptor."""
    from ..standing.lines import Lines
    from ..standing.sink import Function

    def write(event: StandingEvent) -> None:
        print(event.to_json(), flush=True)

    try:
        return Lines(sys.stdout.fileno())
    except (io.UnsupportedOperation, ValueError, AttributeError):
        return Function(write)


def _say_counts(name: str, stats: SessionStats) -> None:
    say(
        f"{name}: {stats.appended} frames received, {stats.committed} indexed, {stats.dropped} dropped, "
        f"{stats.late} out of order"
    )
    if stats.still:
        say(f"{stats.still} of {stats.still + stats.encoded} showed nothing new and were not encoded")


def _say_events(stats: StandingStats) -> None:
    events = stats.events + stats.resumed
    text = f"{counted(events, 'event')}, {counted(stats.delivered, 'delivery', 'deliveries')} confirmed"
    for number, what in (
        (stats.resumed, f"{counted(stats.resumed, 'event')} of an earlier run"),
        (stats.retried, counted(stats.retried, "retry", "retries")),
        (stats.failed, f"{stats.failed} given up"),
        (stats.dropped, f"{stats.dropped} dropped, since too many waited"),
        (stats.waiting, f"{stats.waiting} left for the next run"),
        (stats.unanswered, f"{counted(stats.unanswered, 'question')} failed"),
    ):
        text += f", {what}" if number else ""
    (warn if stats.lost or stats.unanswered else say)(text)
