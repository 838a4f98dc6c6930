"""`vidmem index`: watch videos once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ..address import split
from ..errors import MediaError, UsageError
from ..output import Listing, Row, Show, listing, say, size, warn
from ..when import dated
from . import completing, progress
from .images import index_images
from .options import (
    DeviceOption,
    EncoderOption,
    EveryFrameOption,
    KeepViewsOption,
    MasksOption,
    MemoryOption,
    WeightsOption,
    with_still,
)  # fmt: skip
from .where import NEXT_STEP

if TYPE_CHECKING:
    from ..config import IndexConfig
    from ..dating import Choice
    from ..indexer.pipeline import Progress, SourceReport
    from ..media import Source
    from ..memory import Memory

NOTES = 3
"""Causes of damage that are told per source."""
NAMED = 10
"""Sources whose dates are told."""


@listing
def index(
    paths: Annotated[list[str], typer.Argument(metavar="PATHS...", show_default=False,
                                               help="Videos, logs, folders or patterns such as '*.mp4'.")],
    fps: Annotated[str | None, typer.Option(
        "--fps", metavar="N|all", help="Frames looked at per second. By default the memory's; 5 if new.")] = None,
    preset: Annotated[str | None, typer.Option(
        "--preset", metavar="NAME", help="Thresholds: default, boxes, paper for T-REN as published, or "
        "patches for its baseline. By default the memory's; the encoder's if new.",
        autocompletion=completing.preset)] = None,
    topic: Annotated[list[str] | None, typer.Option(
        "--topic", metavar="TOPIC", help="Topic of a log or camera of a dataset, or a pattern such as '/cam/*'; may be "
        "given again. May be left out when only one has pictures.")] = None,
    clock: Annotated[str, typer.Option(
        "--clock", metavar="NAME", help="Whose times count in a log: log, when it was recorded, or header, the "
        "sender's stamp.")] = "log",
    images: Annotated[bool, typer.Option(
        "--images", help="PATHS are folders of single pictures, with those below, for `vidmem haystack`.")] = False,
    pose: Annotated[str | None, typer.Option(
        "--pose", metavar="TOPIC", help="Topic of a log to take the robot's pose from, or tf. By default the best of "
        "all. Of a log done before the poses are read anew.")] = None,
    recorded: Annotated[str | None, typer.Option(
        "--recorded", metavar="WHEN", help="When it was recorded: 2026-01-31T08:30, or what tells it: container, name, "
        "mtime (the time of the file), none. Also of what is done. By default the first of them that does.")] = None,
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
) -> int:  # fmt: skip
    """Watch videos once and remember what is in them.

    What is done is skipped, what was interrupted goes on where it stopped: run the same command again.

    A summary goes to stderr; --json, --csv and --nl print what each source came to.
    """
    from ..dating import choice
    from ..memory import Memory

    rate = None if fps is None else _rate(fps)
    chosen = None if recorded is None else choice(recorded)
    if images:
        if topic or fps is not None or pose is not None or every_frame is not None or keep_views:
            raise UsageError("single pictures have no topics, no poses, no rate and one view; leave --topic, --pose, "
                             "--fps, --every-frame, --skip-still and --keep-views out with --images")  # fmt: skip
        with Memory.open(memory, encoder=encoder, device=device, weights=weights, masks=masks) as m:
            code = index_images(m, paths, _config(m, None, preset, None), recorded)
        raise typer.Exit(code)
    found, failed = _discover(paths, topic or (), clock)
    if not found:
        raise typer.Exit(MediaError.exit_code)
    with Memory.open(memory, encoder=encoder, device=device, weights=weights, masks=masks) as m:
        try:
            reports, more = _index(m, found, decoder, _config(m, rate, preset, every_frame), pose, keep_views, recorded)
        except KeyboardInterrupt:
            warn("interrupted; what was checkpointed is kept, run the same command again to go on")
            raise typer.Exit(130) from None
        if reports:
            m.cache()  # so that the first question finds it ready
            _summarise(m, reports, keep_views)
            if chosen is not None:
                _say_dates(m, reports, chosen)
    show(Listing([_row(report) for report in reports], ()))
    if not reports:
        return MediaError.exit_code
    return 3 if failed + more or any(report.damaged for report in reports) else 0


def _row(report: SourceReport) -> Row:
    """Counts are of this run, but for `frames` and `damaged`."""
    return {
        "source": report.info.uri, "skipped": report.skipped, "frames": report.frames, "new_frames": report.new_frames,
        "encoded": report.encoded, "still": report.still, "encoder_calls": report.calls, "tracks": report.tracks,
        "media_s": report.media_s, "seconds": report.seconds, "damaged": report.damaged, "notes": list(report.notes),
    }  # fmt: skip


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


def _discover(paths: Sequence[str], topics: Sequence[str], clock: str) -> tuple[list[str], int]:
    """The sources, and how many paths lead nowhere; those are reported."""
    from ..media import discover, parts

    found: list[str] = []
    failed = 0
    for path in paths:
        try:
            whole = discover([path])
        except MediaError as error:
            warn(f"vidmem: {error}")
            failed += 1
            continue
        for one in whole:
            try:
                found += parts(one, topics, clock)
            except MediaError as error:
                warn(f"vidmem: {error}")
                failed += 1
    return found, failed


def _index(
    memory: Memory, found: Sequence[str], decoder: str, config: IndexConfig | None, pose: str | None,
    keep_views: bool, recorded: str | None,
) -> tuple[list[SourceReport], int]:  # fmt: skip
    durations = _durations(found, decoder) if progress.wanted() else {}
    failed = finished_ns = 0
    running = ""

    with progress.progress_bar(sum(durations.values())) as advance:

        def on_source(path: str, source: Source | MediaError) -> Progress | None:
            nonlocal failed, finished_ns, running
            if isinstance(source, MediaError):
                warn(f"vidmem: {source}")
                failed += 1
                return None
            finished_ns += durations.get(running, 0)
            running, before, label = path, finished_ns, split(path).label
            advance(label, before)
            return lambda t_ns, frames: advance(label, before + min(t_ns, durations.get(path, t_ns)))

        reports = memory.index(*found, config=config, decoder=decoder, on_source=on_source, pose=pose,
                               keep_views=keep_views, recorded=recorded)  # fmt: skip
        advance("done", sum(durations.values()))
    return reports, failed


def _durations(found: Sequence[str], decoder: str) -> dict[str, int]:
    """Nanoseconds of every source that opens; the others are reported when their turn comes."""
    from ..media import open_source

    out = {}
    for path in found:
        try:
            with open_source(path, decoder) as source:
                out[path] = source.info.duration_ns
        except MediaError:
            continue
    return out


def _summarise(memory: Memory, reports: Sequence[SourceReport], keep_views: bool) -> None:
    new = [report for report in reports if not report.skipped]
    if skipped := len(reports) - len(new):
        say(f"{_count(skipped, 'source')} done before, skipped")
        if keep_views:
            warn("no views were kept of these; `vidmem rm` them first, then they are indexed anew")
    if stale := len(memory.store.stale_sources()):
        warn(f"{_count(stale, 'source')} of the memory cannot be found yet; run `vidmem reembed` with them in place")
    if new:
        frames = sum(report.new_frames for report in new)
        seconds = sum(report.seconds for report in new)
        # Of a resumed source only the part that was watched now counts.
        media = sum(report.media_s * report.new_frames / max(report.frames, 1) for report in new)
        say(
            f"indexed {_count(len(new), 'source')}: {_count(frames, 'frame')} in {seconds:.1f} s "
            f"({frames / max(seconds, 1e-9):.1f} fps, {media / max(seconds, 1e-9):.1f}x real time), "
            f"{_count(sum(report.tracks for report in new), 'track')}"
        )
        if still := sum(report.still for report in new):
            say(
                f"encoded {_count(frames - still, 'frame')} in {_count(sum(report.calls for report in new), 'call')}; "
                f"{still} stood still and cost none"
            )
    for report in reports:
        if report.damaged:
            causes = f": {'; '.join(report.notes[:NOTES])}" if report.notes else ""
            warn(f"damaged: {report.damaged} packets or frames left out of {split(report.info.uri).label}{causes}")
    stats = memory.stats()
    total = size(stats.database_bytes + stats.cache_bytes)
    hourly = "" if stats.bytes_per_hour is None else f", {size(stats.bytes_per_hour)} per hour of video"
    say(f"memory: {_count(stats.sources, 'source')}, {_count(stats.tracks, 'track')}, {total}{hourly}")
    say(_knowledge(memory))


def _say_dates(memory: Memory, reports: Sequence[SourceReport], chosen: Choice) -> None:
    """When the sources were recorded, now that this was told."""
    rows = {row.fingerprint: row for row in memory.sources()}
    known = [rows[report.info.fingerprint] for report in reports if report.info.fingerprint in rows]
    for row in known[:NAMED]:
        silent = "" if chosen.tells(row.recorded_by) else f" ({chosen.way} tells no date)"
        told = "without a date" if row.start_ns is None else f"recorded {dated(row.start_ns, row.recorded_by)}"
        say(f"{told}: {split(row.uri).label}{silent}")
    if len(known) > NAMED:
        say(f"and {len(known) - NAMED} more; `vidmem ls` tells them")


def _knowledge(memory: Memory) -> str:
    info = memory.text_encoder.info
    line = f"`{info.name}` knows {info.knows}"
    if info.open_vocabulary:
        return line
    return f"{line}; {NEXT_STEP}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
