"""`vidmem fleet index`: index many sources with many workers into shards."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from ...address import Address, shown
from ...config import preset as load_preset
from ...errors import MediaError, UsageError
from ...timecode import NS, clock
from .. import completion
from ..index_report import MAX_CAUSES
from ..messages import is_quiet, say, shows_progress, warn
from ..options import (
    DeviceOption,
    EveryFrameOption,
    KeepViewsOption,
    MasksOption,
    WeightsOption,
    with_still,
)
from ..output import Listing, Row, Show, count, listing

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...config import IndexConfig
    from ...scale import FleetProgress, FleetReport, FleetSourceReport

SOME = 3
_LINE_S = 10.0
"""Seconds between two lines of progress where stderr is not a terminal."""
_SPANS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@listing
def index(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="MANIFEST",
            show_default=False,
            help="List of sources: a path per line, CSV with the columns path, recorded, topics, or JSON lines. Or "
            "videos, logs, folders and patterns themselves.",
        ),
    ],
    catalogue: Annotated[
        str,
        typer.Option(
            "--catalogue",
            metavar="CATALOGUE",
            show_default=False,
            help="Catalogue of the fleet, made if there is none: a file such as house.catalogue, or postgresql://HOST/NAME.",
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URI",
            show_default=False,
            help="Where shards go: a folder, or s3://BUCKET/KEY. All workers write there.",
        ),
    ],
    workers: Annotated[
        str,
        typer.Option(
            "--workers",
            metavar="WHERE",
            help="local (a worker per core), local:N, or a Ray cluster: ray://HOST:10001, HOST:6379 or auto.",
        ),
    ] = "local",
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            metavar="NAME",
            help="Encoder, one that `vidmem models` lists. Default: the fleet's; a new one has tiny.",
            autocompletion=completion.encoders,
        ),
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(
            "--fps", metavar="N|all", help="Frames per second to look at. Default: the fleet's; a new one has 5."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="Thresholds, as in `vidmem index`. Default: the fleet's; a new one has its encoder's.",
            autocompletion=completion.presets,
        ),
    ] = None,
    every_frame: EveryFrameOption = None,
    film: Annotated[
        bool,
        typer.Option("--film", help="Treat folders of numbered pictures as films, one frame a second, not as photos."),
    ] = False,
    pose: Annotated[
        str | None,
        typer.Option("--pose", metavar="TOPIC", help="Topic of logs to read poses from, or tf. Default: the best one."),
    ] = None,
    recorded: Annotated[
        str | None,
        typer.Option(
            "--recorded",
            metavar="WHEN",
            help="When sources were recorded whose line does not say: as in `vidmem index`.",
        ),
    ] = None,
    keep_views: KeepViewsOption = False,
    decoder: Annotated[str, typer.Option("--decoder", metavar="NAME", help="pyav or decord.")] = "pyav",
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="TIME",
            help="Up to how much media shares a shard, such as 30m. Default: a 64th of all, from 1m to 1h.",
        ),
    ] = None,
    span: Annotated[
        str,
        typer.Option(
            "--span",
            metavar="TIME",
            help="Length of the stretches in which several workers encode one long video.",
        ),
    ] = "10m",
    tries: Annotated[
        int, typer.Option("--tries", metavar="N", min=1, help="How often a task is tried that raises an error.")
    ] = 4,
    most_workers: Annotated[
        int | None,
        typer.Option("--most-workers", metavar="N", min=1, help="Maximum number of workers. Default: all that fit."),
    ] = None,
    cpus_per_worker: Annotated[
        int, typer.Option("--cpus-per-worker", metavar="N", min=1, help="CPUs of a worker in a cluster without GPUs.")
    ] = 1,
    workers_per_gpu: Annotated[
        int, typer.Option("--workers-per-gpu", metavar="N", min=1, help="Workers that share a GPU.")
    ] = 2,
    work: Annotated[
        str | None,
        typer.Option(
            "--work",
            metavar="FOLDER",
            help="Folder on the workers' machines for unfinished memories. Default: VIDMEM_WORK, or one in the folder "
            "for caches.",
        ),
    ] = None,
    lease: Annotated[
        str,
        typer.Option(
            "--lease", metavar="TIME", help="After which time other runs take over the tasks of one that was killed."
        ),
    ] = "1m",
    device: DeviceOption = None,
    weights: WeightsOption = None,
    masks: MasksOption = None,
    *,
    show: Show,
) -> int:
    """Index many sources with many workers into the shards of a fleet.

    What the catalogue has is skipped, and an interrupted run is continued: run the same command again. Several runs on
    one catalogue share the work. A worker that dies costs its task only. Each shard is what `vidmem index` makes of its
    sources. Progress goes to stderr, as JSON lines where that is not a terminal; --json, --csv and --nl print one
    record per source.

    \b
    Examples:
      vidmem fleet index walks.txt --catalogue house.catalogue --to shards
      vidmem fleet index ~/Videos --catalogue c --to shards --workers local:4
      vidmem fleet index a.csv --catalogue c --to s3://b/s --workers ray://h:10001
    """
    from ...fleet.catalogue import Catalogue
    from ...scale import index_fleet

    config = _config(catalogue, encoder, fps, preset, every_frame)
    with _told() as (progress, on_source):
        try:
            report = index_fleet(
                sources,
                catalogue,
                to,
                workers=workers,
                encoder=encoder,
                config=config,
                device=device,
                weights=weights,
                masks=masks,
                film=film,
                decoder=decoder,
                keep_views=keep_views,
                recorded=recorded,
                pose=pose,
                group_s=None if group is None else _seconds("--group", group),
                span_s=_seconds("--span", span),
                tries=tries,
                most_workers=most_workers,
                cpus_per_worker=cpus_per_worker,
                workers_per_gpu=workers_per_gpu,
                work=work,
                lease_s=_seconds("--lease", lease),
                progress=progress,
                on_source=on_source,
                note=warn,
            )
        except KeyboardInterrupt:
            warn("interrupted; finished shards are kept, run the same command again to continue")
            raise typer.Exit(130) from None
    with Catalogue.open(catalogue) as opened:
        _summarise(report, len(opened.shards()))
    show(Listing([_row(source) for source in report.sources], ()))
    if report.sources and len(report.failed) == len(report.sources):
        return MediaError.exit_code
    return SOME if report.failed or report.damaged else 0


def _config(
    catalogue: str, encoder: str | None, fps: str | None, preset: str | None, every_frame: bool | None
) -> IndexConfig | None:
    """The settings that options ask for; None without any. Those of a fleet that is there are the base."""
    if fps is None and preset is None and every_frame is None:
        return None
    from ...scale.indexing import settings_of
    from ..index import _parse_fps

    config = settings_of(catalogue, encoder) if preset is None else load_preset(preset)
    if fps is not None:
        config = replace(config, fps=_parse_fps(fps))
    return config if every_frame is None else with_still(config, not every_frame)


def _seconds(option: str, text: str) -> float:
    """Read 90, 90s, 10m or 1.5h. Raises UsageError."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _SPANS else (text, "s")
    try:
        found = float(number) * _SPANS[unit]
    except ValueError:
        found = 0.0
    if not 0 < found < 1e7:
        raise UsageError(f"{option} is a time above 0, such as 90s, 10m or 1.5h; got {text}")
    return found


@contextmanager
def _told() -> Iterator[tuple[Callable[[FleetProgress], None], Callable[[FleetSourceReport], None]]]:
    """What shows progress: a bar on a terminal, else JSON lines, unless --quiet was given."""
    if not shows_progress():
        yield _json_lines()
        return
    from rich.console import Console  # slow to import
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[position]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("opening sources", total=None, position="")

        def progress(at: FleetProgress) -> None:
            left = "" if at.eta_s is None else f", {clock(round(at.eta_s * NS))} left"
            failed = f", {at.failed:,} failed" if at.failed else ""
            bar.update(
                task,
                total=at.total_s,
                completed=at.done_s,
                description=shown(f"{count(at.workers, 'worker')}: {_label(at.current)}")[:40],
                position=f"{at.sources:,} of {count(at.total_sources, 'source')}{failed}{left}",
            )

        yield progress, _warn_of


def _json_lines() -> tuple[Callable[[FleetProgress], None], Callable[[FleetSourceReport], None]]:
    last = 0.0

    def progress(at: FleetProgress) -> None:
        nonlocal last
        if is_quiet() or time.monotonic() - last < _LINE_S:
            return
        last = time.monotonic()
        print(json.dumps({"progress": asdict(at)}), file=sys.stderr, flush=True)

    def on_source(source: FleetSourceReport) -> None:
        if is_quiet():
            _warn_of(source)
        elif source.state in ("done", "failed"):
            print(json.dumps({"source": _row(source)}), file=sys.stderr, flush=True)

    return progress, on_source


def _label(name: str) -> str:
    return Address(name).label if name else "waiting"


def _warn_of(source: FleetSourceReport) -> None:
    if source.error:
        warn(f"vidmem: {source.error}")
    if source.damaged:
        causes = f": {'; '.join(source.notes[:MAX_CAUSES])}" if source.notes else ""
        warn(f"damaged: {source.damaged} packets, frames or photos left out of {_label(source.source)}{causes}")


def _row(source: FleetSourceReport) -> Row:
    return {**asdict(source), "notes": list(source.notes)}


def _summarise(report: FleetReport, shards: int) -> None:
    done = [source for source in report.sources if source.state == "done"]
    known = sum(source.state == "known" for source in report.sources)
    copies = sum(source.state == "copy" for source in report.sources)
    if known:
        say(f"{count(known, 'source')} in the fleet before, or indexed by others")
    if copies:
        say(f"{count(copies, 'source')} with the same content as another one, skipped")
    if done:
        media, frames = sum(source.media_s for source in done), sum(source.frames for source in done)
        say(
            f"indexed {count(len(done), 'source')}: {count(frames, 'frame')} in {report.seconds:.1f} s "
            f"({frames / max(report.seconds, 1e-9):.1f} fps, {media / max(report.seconds, 1e-9):.1f}x real time), "
            f"{count(sum(source.tracks for source in done), 'track')} in {count(len(report.shards), 'shard')}"
        )
    if report.lost_workers:
        say(f"{count(report.lost_workers, 'worker')} died, {count(report.retries, 'task')} begun again")
    if report.failed:
        say(f"{count(len(report.failed), 'source')} failed; the same command tries them again")
    say(f"fleet: {count(shards, 'shard')}")
