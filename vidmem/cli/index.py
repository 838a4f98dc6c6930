"""`vidmem index`: index videos and photos."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ..address import Address
from ..config import preset as load_preset
from ..errors import MediaError, UsageError
from ..memory import Memory
from ..timecode import clock
from . import completion
from .index_report import report_row, say_dates, summarise
from .messages import progress_bar, say, shows_progress, warn
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
from .output import Listing, Show, listing

if TYPE_CHECKING:
    from ..config import IndexConfig
    from ..indexer.pipeline import SourceReport
    from ..indexer.plan import Album
    from ..indexer.progress import Progress
    from ..media import Found, Source

STDIN = "-"
"""Stands for paths that are read from stdin."""


@listing
def index(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            show_default=False,
            help="Videos, logs, photos, folders, or patterns such as '*.mp4'. - reads paths from stdin, one per line.",
        ),
    ],
    fps: Annotated[
        str | None,
        typer.Option(
            "--fps", metavar="N|all", help="Frames per second to look at. Default: the memory's; a new one has 5."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="Thresholds: default, boxes, paper (T-REN as published), patches (its baseline) or patches-tracked. "
            "Default: the memory's; a new one has its encoder's.",
            autocompletion=completion.presets,
        ),
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            "--topic",
            metavar="TOPIC",
            help="Topic of a log or camera of a dataset, or a pattern such as '/cam/*'. Needed when several have "
            "pictures. Repeatable.",
        ),
    ] = None,
    clock_name: Annotated[
        str,
        typer.Option(
            "--clock",
            metavar="NAME",
            help="Times to use in a log: log (when a message was recorded) or header (the sender's stamp).",
        ),
    ] = "log",
    film: Annotated[
        bool,
        typer.Option("--film", help="Treat folders of numbered pictures as films, one frame a second, not as photos."),
    ] = False,
    pose: Annotated[
        str | None,
        typer.Option(
            "--pose",
            metavar="TOPIC",
            help="Topic of a log to read the robot's pose from, or tf. Default: the best one. For an indexed log, only "
            "the poses are read again.",
        ),
    ] = None,
    recorded: Annotated[
        str | None,
        typer.Option(
            "--recorded",
            metavar="WHEN",
            help="When it was recorded: 2026-01-31T08:30, or where to read that from: container, name, mtime (time of "
            "the file), none. Also applies to sources that are indexed already. Default: the first that has a date.",
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
    """Index videos and photos into the memory.

    Sources that are indexed already are skipped, and interrupted ones resume: run the same command again. A summary
    goes to stderr; --json, --csv and --nl print one record per source.

    \b
    Examples:
      vidmem index walk.mp4 holiday/ cup.jpg '*.mov'
      vidmem index --recorded name ~/Videos
      find ~/Videos -newer last -print0 | vidmem index -
    """
    from ..indexer.dating import parse_choice  # imports PyAV
    from ..media import check_topics

    rate = None if fps is None else _parse_fps(fps)
    dating = None if recorded is None else parse_choice(recorded)
    found, failed = _discover(_expand_stdin(paths), film, topic or (), clock_name)
    if not found:
        raise typer.Exit(MediaError.exit_code)
    check_topics(found, topic or (), pose)
    with Memory.open(memory, encoder=encoder, device=device, weights=weights, masks=masks) as m:
        try:
            reports, unopened = _index(
                m,
                found,
                film=film,
                decoder=decoder,
                config=_config(m, rate, preset, every_frame),
                pose=pose,
                keep_views=keep_views,
                recorded=recorded,
            )
        except KeyboardInterrupt:
            warn("interrupted; finished checkpoints are kept, run the same command again to resume")
            raise typer.Exit(130) from None
        if reports:
            m.cache()  # so that the first question need not build it
            summarise(m, reports, keep_views)
            if dating is not None:
                say_dates(m, reports, dating)
    show(Listing([report_row(report) for report in reports], ()))
    if not reports:
        return MediaError.exit_code
    return 3 if failed + unopened or any(report.damaged for report in reports) else 0


def _parse_fps(text: str) -> float:
    """Frames per second, 0 for all. Raises UsageError."""
    try:
        rate = 0.0 if text == "all" else float(text)
    except ValueError:
        rate = -1.0
    if text != "all" and not 0 < rate <= 1000:
        raise UsageError(f"--fps is a number above 0 and up to 1000, or all; got {text}")
    return rate


def _config(memory: Memory, rate: float | None, preset: str | None, every_frame: bool | None) -> IndexConfig | None:
    """The memory's settings with the changes that the options ask for; None without any."""
    if rate is None and preset is None and every_frame is None:
        return None

    config = memory.settings() if preset is None else load_preset(preset)
    config = config if rate is None else replace(config, fps=rate)
    return config if every_frame is None else with_still(config, not every_frame)


def _expand_stdin(paths: Sequence[str]) -> list[str]:
    """Replace - by the paths on stdin. Raises UsageError if there are none."""
    if STDIN not in paths:
        return list(paths)
    if sys.stdin.isatty():
        say("reading paths from the terminal, one per line; end with Ctrl-D")
    data = sys.stdin.buffer.read()
    lines = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    read = [os.fsdecode(line) for line in lines if line.strip()]
    if not read:
        raise UsageError("- reads paths from stdin, one per line, but stdin is empty")
    place = paths.index(STDIN)
    return [*paths[:place], *read, *(path for path in paths[place:] if path != STDIN)]


def _discover(paths: Sequence[str], film: bool, topics: Sequence[str], clock: str) -> tuple[list[Found], int]:
    """The sources at these paths, and the number of paths without any and of unreadable folders, which are reported."""
    from ..media import Photos, discover, parts  # imports PyAV
    from ..media.discover import unreadable

    found: list[Found] = []
    failed = 0
    refused: list[OSError] = []
    for path in paths:
        try:
            sources = discover([path], film, refused)
        except MediaError as error:
            warn(f"vidmem: {error}")
            failed += 1
            continue
        for source in sources:
            try:
                found += [source] if isinstance(source, Photos) else parts(source, topics, clock)
            except MediaError as error:
                warn(f"vidmem: {error}")
                failed += 1
    for folder in refused:
        warn(f"vidmem: {unreadable(folder)}")
    return found, failed + len(refused)


def _index(
    memory: Memory,
    found: Sequence[Found],
    *,
    film: bool,
    decoder: str,
    config: IndexConfig | None,
    pose: str | None,
    keep_views: bool,
    recorded: str | None,
) -> tuple[list[SourceReport], int]:
    """Index with a progress bar; the arguments are those of `Memory.index`.

    Returns:
        The reports, and the number of sources that could not be opened.
    """
    from ..indexer.amounts import PHOTO_NS  # imports PyAV
    from ..indexer.plan import Album

    amounts = _amounts(memory, found, decoder)
    labels = {str(item): item.label for item in found if isinstance(item, Address)}
    total, photos = sum(amounts.values()), sum(n for (album, _), n in amounts.items() if album)
    only_photos = photos == total and any(album for album, _ in amounts)

    def show_amount(n: int) -> str:
        return clock(n) if not only_photos else f"{n // PHOTO_NS:,}" if total else "nothing new"

    failed = finished = 0
    current = (False, "")

    with progress_bar(total, show_amount, mixed=photos > 0 and not only_photos) as advance:

        def on_source(path: str, source: Source | Album | MediaError) -> Progress | None:
            nonlocal failed, finished, current
            if isinstance(source, MediaError):
                warn(f"vidmem: {source}")
                failed += 1
                return None
            finished += amounts.get(current, 0)
            is_album, before, label = isinstance(source, Album), finished, labels.get(path) or Address(path).label
            current = is_album, path
            length = amounts.get(current, 0)
            advance(label, before)
            return lambda t_ns, n: advance(label, before + (n * PHOTO_NS if is_album else min(t_ns, length or t_ns)))

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
    """Work to do in each source, keyed by whether it is an album of photos and its path.

    Videos count their length in ns, photos PHOTO_NS for each new one. Videos that cannot be opened are left out here
    and reported when their turn comes.
    """
    from ..indexer.amounts import PHOTO_NS  # imports PyAV
    from ..indexer.pictures import to_index
    from ..indexer.plan import Album, planned
    from ..media import open_source

    out: dict[tuple[bool, str], int] = {}
    for item in planned(found, memory.store):
        if isinstance(item, Album):
            new = to_index(item, memory.store)
            out[True, item.folder] = len(new) * PHOTO_NS
            if folder := item.film_like(new):
                say(f"these photos look like the frames of a film; --film indexes them as one: {folder}")
        elif shows_progress():
            try:
                with open_source(item, decoder) as source:
                    out[False, str(item)] = source.info.duration_ns
            except MediaError:
                continue
    return out
