"""`vidmem index`: watch videos and look at photos once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ..address import Address
from ..errors import MediaError, UsageError
from ..timecode import NS, clock
from . import completing, progress
from .indexed import report_row, say_dates, summarise
from .options import (
    DeviceOption,
    EncoderOption,
    EveryFrameOption,
    KeepViewsOption,
    MasksOption,
    MemoryOption,
    WeightsOption,
    with_still,
)
from .output import Listing, Show, listing, say, warn

if TYPE_CHECKING:
    from ..config import IndexConfig
    from ..indexer.pipeline import SourceReport
    from ..indexer.plan import Album
    from ..indexer.progress import Progress
    from ..media import Found, Source
    from ..memory import Memory

STDIN = "-"
"""Stands for the paths that come on stdin."""
PHOTO_NS = NS // 5
"""What a photo counts beside media time in the progress bar: as much as a frame that is looked at."""


@listing
def index(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATHS...",
            show_default=False,
            help="Videos, logs, photos, folders or patterns such as '*.mp4'; - for paths on stdin, one a line.",
        ),
    ],
    fps: Annotated[
        str | None,
        typer.Option("--fps", metavar="N|all", help="Frames looked at per second. By default the memory's; 5 if new."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="Thresholds: default, boxes, paper for T-REN as published, or "
            "patches for its baseline. By default the memory's; the encoder's if new.",
            autocompletion=completing.preset,
        ),
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            "--topic",
            metavar="TOPIC",
            help="Topic of a log or camera of a dataset, or a pattern such as '/cam/*'; may be "
            "given again. May be left out when only one has pictures.",
        ),
    ] = None,
    clock_name: Annotated[
        str,
        typer.Option(
            "--clock",
            metavar="NAME",
            help="Whose times count in a log: log, when it was recorded, or header, the sender's stamp.",
        ),
    ] = "log",
    film: Annotated[
        bool,
        typer.Option("--film", help="Folders of pictures are films, numbered frame after frame, not single photos."),
    ] = False,
    pose: Annotated[
        str | None,
        typer.Option(
            "--pose",
            metavar="TOPIC",
            help="Topic of a log to take the robot's pose from, or tf. By default the best of "
            "all. Of a log done before the poses are read anew.",
        ),
    ] = None,
    recorded: Annotated[
        str | None,
        typer.Option(
            "--recorded",
            metavar="WHEN",
            help="When it was recorded: 2026-01-31T08:30, or what tells it: container, name, "
            "mtime (the time of the file), none. Also of what is done. By default the first of them that does.",
        ),
    ] = None,
    every_frame: EveryFrameOption = None,
    keep_views: KeepViewsOption = False,
    decoder: Annotated[str, typer.Option("--decoder", metavar="NAME", help="pyav or decord.")] = "pyav",
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    weights: WeightsOption = None,
    masks: MasksOption = None,
    memory: MemoryOption = None,
    *,
    show: Show,
) -> int:
    """Watch videos and look at photos once, and remember what is in them.

    What is done is skipped, what was interrupted goes on where it stopped: run the same command again.

    A summary goes to stderr; --json, --csv and --nl print what each source came to.
    """
    from ..indexer.dating import parse_choice
    from ..media import check_topics
    from ..memory import Memory

    rate = None if fps is None else _rate(fps)
    chosen = None if recorded is None else parse_choice(recorded)
    found, failed = _discover(_given(paths), film, topic or (), clock_name)
    if not found:
        raise typer.Exit(MediaError.exit_code)
    check_topics(found, topic or (), pose)
    with Memory.open(memory, encoder=encoder, device=device, weights=weights, masks=masks) as m:
        try:
            reports, more = _index(
                m, found, film, decoder, _config(m, rate, preset, every_frame), pose, keep_views, recorded
            )
        except KeyboardInterrupt:
            warn("interrupted; what was checkpointed is kept, run the same command again to go on")
            raise typer.Exit(130) from None
        if reports:
            m.cache()  # so that the first question finds it ready
            summarise(m, reports, keep_views)
            if chosen is not None:
                say_dates(m, reports, chosen)
    show(Listing([report_row(report) for report in reports], ()))
    if not reports:
        return MediaError.exit_code
    return 3 if failed + more or any(report.damaged for report in reports) else 0


def _rate(text: str) -> float:
    try:
        rate = 0.0 if text == "all" else float(text)
    except ValueError:
        rate = -1.0
    if text != "all" and not 0 < rate <= 1000:
        raise UsageError(f"--fps is a number above 0 and up to 1000, or all; got {text}")
    return rate


def _config(memory: Memory, rate: float | None, preset: str | None, every_frame: bool | None) -> IndexConfig | None:
    if rate is None and preset is None and every_frame is None:
        return None
    from ..config import preset as named

    config = memory.settings() if preset is None else named(preset)
    config = config if rate is None else replace(config, fps=rate)
    return config if every_frame is None else with_still(config, not every_frame)


def _given(paths: Sequence[str]) -> list[str]:
    """The paths, with those from stdin in place of -. Raises UsageError when none come."""
    if STDIN not in paths:
        return list(paths)
    if sys.stdin.isatty():
        say("reading paths from the terminal, one a line; end with Ctrl-D")
    data = sys.stdin.buffer.read()
    lines = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    read = [os.fsdecode(line) for line in lines if line.strip()]
    if not read:
        raise UsageError("- reads paths from stdin, one a line, and none came")
    place = paths.index(STDIN)
    return [*paths[:place], *read, *(path for path in paths[place:] if path != STDIN)]


def _discover(paths: Sequence[str], film: bool, topics: Sequence[str], clock: str) -> tuple[list[Found], int]:
    """What there is, and how many paths lead nowhere; those are reported."""
    from ..media import Photos, discover, parts

    found: list[Found] = []
    failed = 0
    for path in paths:
        try:
            whole = discover([path], film)
        except MediaError as error:
            warn(f"vidmem: {error}")
            failed += 1
            continue
        for one in whole:
            try:
                found += [one] if isinstance(one, Photos) else parts(one, topics, clock)
            except MediaError as error:
                warn(f"vidmem: {error}")
                failed += 1
    return found, failed


def _index(
    memory: Memory,
    found: Sequence[Found],
    film: bool,
    decoder: str,
    config: IndexConfig | None,
    pose: str | None,
    keep_views: bool,
    recorded: str | None,
) -> tuple[list[SourceReport], int]:
    from ..indexer.plan import Album

    amounts = _amounts(memory, found, decoder)
    total, photos = sum(amounts.values()), sum(n for (album, _), n in amounts.items() if album)
    only = photos == total and any(album for album, _ in amounts)

    def told(n: int) -> str:
        return clock(n) if not only else f"{n // PHOTO_NS:,}" if total else "nothing new"

    failed = finished = 0
    running = (False, "")
    labels = {str(item): item.label for item in found if isinstance(item, Address)}

    with progress.progress_bar(total, told, mixed=photos > 0 and not only) as advance:

        def on_source(path: str, source: Source | Album | MediaError) -> Progress | None:
            nonlocal failed, finished, running
            if isinstance(source, MediaError):
                warn(f"vidmem: {source}")
                failed += 1
                return None
            finished += amounts.get(running, 0)
            photos, before, label = isinstance(source, Album), finished, labels.get(path) or Address(path).label
            running = photos, path
            most = amounts.get(running, 0)
            advance(label, before)
            return lambda t_ns, n: advance(label, before + (n * PHOTO_NS if photos else min(t_ns, most or t_ns)))

        reports = memory.index(
            *found,
            film=film,
            config=config,
            decoder=decoder,
            on_source=on_source,
            pose=pose,
            keep_views=keep_views,
            recorded=recorded,
        )
        advance("done", total)
    return reports, failed


def _amounts(memory: Memory, found: Sequence[Found], decoder: str) -> dict[tuple[bool, str], int]:
    """What there is to do in each source, by whether it is photos and its path: nanoseconds of media, and PHOTO_NS for
    each photo that is not known. Those that do not open are reported when their turn comes."""
    from ..indexer.pictures import to_look_at
    from ..indexer.plan import Album, planned
    from ..media import open_source

    out: dict[tuple[bool, str], int] = {}
    for item in planned(found, memory.store):
        if isinstance(item, Album):
            todo = to_look_at(item, memory.store)
            out[True, item.folder] = len(todo) * PHOTO_NS
            if folder := item.film_like(todo):
                say(f"these look like frames of a film; with --film they are followed as one: {folder}")
        elif progress.wanted():
            try:
                with open_source(item, decoder) as source:
                    out[False, str(item)] = source.info.duration_ns
            except MediaError:
                continue
    return out
