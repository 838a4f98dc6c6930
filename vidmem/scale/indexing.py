"""Index many sources with many workers into the shards of a fleet: `index_fleet`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from .. import __version__
from ..config import IndexConfig, preset
from ..encoders import DEFAULT, check_masks, check_stranger, find, load_text
from ..errors import StoreError, UsageError, WorkerError
from ..fleet.catalogue import Catalogue
from ..fleet.storage import place
from ..indexer.dating import parse_choice
from ..media import DECODERS
from ..store import ModelRecord
from ..timecode import NS
from . import cluster, inputs, manifest
from .cluster import Share
from .driver import MOST_STILLBORN, Driver, Limits, Watchers
from .held import Held
from .inputs import Input, Listed
from .leases import SECONDS, Leases
from .plan import ShardTask, default_group_s, grouped
from .pool import Finished, Job, Lost, Pool, Raised, RayPool, Refused
from .reports import FleetProgress, FleetReport, FleetSourceReport
from .settings import Settings

SPAN_S = 600.0
"""Seconds of a stretch of a long source, by default."""
_CHUNK = 8
"""Sources that a worker opens at a time."""
_MOST_ALONE_S = 3600.0
"""A source of more seconds than this is always encoded in stretches, so that a lost machine costs no more."""
_PLAN_TRIES = 5


def index_fleet(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    catalogue: str | os.PathLike[str],
    to: str | os.PathLike[str],
    *,
    workers: str = "local",
    encoder: str | None = None,
    config: IndexConfig | None = None,
    device: str | None = None,
    weights: str | None = None,
    masks: str | None = None,
    film: bool = False,
    decoder: str = "pyav",
    keep_views: bool = False,
    recorded: str | None = None,
    pose: str | None = None,
    group_s: float | None = None,
    span_s: float = SPAN_S,
    tries: int = 4,
    most_workers: int | None = None,
    cpus_per_worker: int = 1,
    workers_per_gpu: int = 2,
    work: str | os.PathLike[str] | None = None,
    lease_s: float = SECONDS,
    progress: Callable[[FleetProgress], None] | None = None,
    on_source: Callable[[FleetSourceReport], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> FleetReport:
    """Index videos, logs and photos with many workers into the shards of a fleet.

        report = index_fleet("walks.txt", "house.catalogue", "shards/", workers="local:4")
        Memory.open("fleet:house.catalogue", read_only=True).where("umbrella")

    What the catalogue has is skipped, and what was interrupted is continued: run the same again. Several runs may
    share the work on one catalogue. Each shard is what `Memory.index` makes of its sources on one machine.

    Args:
        sources: Lists of sources (see `manifest`), files, folders or patterns.
        catalogue: The catalogue, made if there is none; see `Catalogue.open`.
        to: Folder or object store for the shards, which all workers can write to.
        workers: `local` (one worker per core), `local:N`, or the address of a cluster of Ray: `ray://HOST:PORT`,
            `HOST:PORT` or `auto`. Its machines need the same version of vidmem, and the sources under the same paths.
        encoder: By default the fleet's, or `tiny` for a new one.
        config: Settings; by default the fleet's, or the encoder's preset.
        device: Device of the encoder; by default the best of each worker.
        weights: Folder of the encoder's weights on the workers.
        masks: Where regions come from, for encoders that pool under masks; see `encoders.load`.
        film: Treat folders of pictures as films.
        decoder: `pyav` or `decord`.
        keep_views: Store the pictures of the views.
        recorded: What gives times of recording, for sources whose line in a list does not say.
        pose: Topic of poses for logs, or "tf".
        group_s: Up to how many seconds of media share a shard; by default a 64th of all, a minute to an hour.
        span_s: Seconds of the stretches in which long sources are encoded.
        tries: How often a task is tried that raises an error. Workers that die do not count, as long as the next one
            gets further.
        most_workers: Maximum number of workers in a cluster; by default all that fit.
        cpus_per_worker: CPUs of a worker in a cluster without GPUs.
        workers_per_gpu: Workers that share a GPU.
        work: Folder for unfinished memories on the workers' machines; by default VIDMEM_WORK, or one in the folder for
            caches.
        lease_s: After how many seconds others take over the tasks of a run that was killed.
        progress: Called about once a second.
        on_source: Called with the report of each source.
        note: Called with remarks for people, such as that a worker died.

    Returns:
        What became of each source. Failures of single sources are told there and raise nothing.

    Raises:
        UsageError: An argument or a line of a list is wrong.
        ModelMismatchError: Another encoder or other settings made the fleet.
        WorkerError: The cluster cannot be reached, or no worker can take part.
        ModelError: The encoder is unknown, or Ray is not installed.
        StoreError: The catalogue cannot be used, or the folder for shards cannot be made.
    """
    began = time.monotonic()
    given = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    where = cluster.parse_workers(workers)
    _check(decoder, recorded, group_s, span_s, tries, most_workers, cpus_per_worker, workers_per_gpu, lease_s)
    target = str(place(to))
    entries = manifest.entries(given)
    if place(target).is_local:
        try:
            Path(target).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            cause = error.strerror or type(error).__name__
            raise StoreError(f"the folder for shards cannot be made ({cause}); choose another one: {target}") from None
    watchers = Watchers(progress, on_source, note)
    with Catalogue.open(catalogue, create=True) as opened:
        settings = replace(
            _settings(opened, encoder, config, weights, masks),
            decoder=decoder,
            film=film,
            keep_views=keep_views,
            pose=pose,
            recorded=recorded,
            device=device,
        )
        opened.claim(_record(settings))
        with cluster.connected(where) as ray:

            def shares() -> tuple[int, Share]:
                return cluster.shares(ray, where, cpus_per_worker, workers_per_gpu)

            work_folder = None if work is None else os.path.abspath(work)
            with RayPool(ray, lambda share: (settings, work_folder, target, share.cores), shares, most_workers) as pool:
                listed = _listed(pool, entries)
                held = Held(opened)
                tasks, reports = _planned(listed, settings, held, group_s)
                for report in reports:
                    if on_source is not None:
                        on_source(report)
                if not tasks:
                    return FleetReport(tuple(reports), (), time.monotonic() - began)
                count = max(1, min(shares()[0], most_workers or shares()[0]))
                total_s = sum(task.cost_ns for task in tasks) / NS
                split_s = max(2 * span_s, min(total_s / count, _MOST_ALONE_S))
                with Leases(opened, lease_s) as leases:
                    limits = Limits(tries, span_s, split_s)
                    made = Driver(opened, leases, pool, settings, target, tasks, held, limits, watchers).run()
    return replace(made, sources=(*reports, *made.sources), seconds=time.monotonic() - began)


def _check(
    decoder: str,
    recorded: str | None,
    group_s: float | None,
    span_s: float,
    tries: int,
    most_workers: int | None,
    cpus_per_worker: int,
    workers_per_gpu: int,
    lease_s: float,
) -> None:
    """Raise UsageError for an argument that is wrong."""
    if decoder not in DECODERS:
        raise UsageError(f"no decoder {decoder!r}; there are: {', '.join(DECODERS)}")
    if recorded is not None:
        parse_choice(recorded)
    lengths = (("group_s", group_s), ("span_s", span_s), ("lease_s", lease_s))
    for name, value in lengths:
        if value is not None and not 0 < value < 1e7:
            raise UsageError(f"`{name}` is a number of seconds above 0; got {value}")
    counts = (("tries", tries), ("most_workers", most_workers), ("cpus_per_worker", cpus_per_worker))
    for name, number in (*counts, ("workers_per_gpu", workers_per_gpu)):
        if number is not None and number < 1:
            raise UsageError(f"`{name}` is a number, 1 or more; got {number}")


def _settings(
    catalogue: Catalogue, encoder: str | None, config: IndexConfig | None, weights: str | None, masks: str | None
) -> Settings:
    """The settings of the fleet, or of a new one. The encoder is loaded only if the catalogue does not know it."""
    made = catalogue.fleet().model
    spelling = encoder or (made.encoder if made is not None else DEFAULT)
    if encoder is None and made is not None:
        check_stranger(spelling)
    if masks is not None:
        check_masks(spelling)
    if made is not None and encoder is None:
        facts = (made.encoder, made.weights, made.regions, made.visual_dim, made.text_dim)
    else:
        info = load_text(spelling, weights).info
        facts = (info.name, info.weights, info.regions, info.visual_dim, info.text_dim)
    if config is None:
        config = IndexConfig.from_dict(made.config) if made is not None else preset(find(spelling).preset)
    return Settings(spelling, *facts, config, folder=weights, masks=masks, version=__version__)


def settings_of(catalogue: str | os.PathLike[str], encoder: str | None) -> IndexConfig:
    """The settings of the fleet of a catalogue, or of a new one with this encoder."""
    with Catalogue.open(catalogue, create=True) as opened:
        return _settings(opened, encoder, None, None, None).config


def _record(settings: Settings) -> ModelRecord:
    s = settings
    return ModelRecord(s.name, s.weights, s.visual_dim, s.text_dim, s.config.as_dict(), s.regions)


def _listed(pool: Pool, entries: Sequence[manifest.Entry]) -> Listed:
    """Find and open all sources, by workers."""
    (found,) = _answers(pool, [Job("find", (list(entries),), 0)], _no_finding)
    jobs = [Job("measure", (found.inputs[at : at + _CHUNK],), at) for at in range(0, len(found.inputs), _CHUNK)]
    out = Listed([], list(found.refused))
    for measured in _answers(pool, jobs, _no_opening):
        out.inputs += measured.inputs
        out.refused += measured.refused
    return out


def _no_finding(job: Job) -> list[Job] | Listed:
    raise WorkerError(f"workers died {_PLAN_TRIES} times at listing sources; check their memory")


def _no_opening(job: Job) -> list[Job] | Listed:
    """What is done with sources at which workers die: each is opened alone, and one that is alone is given up."""
    (chunk,) = job.arguments
    if len(chunk) > 1:
        return [Job(job.method, ([given],), job.tag + place) for place, given in enumerate(chunk)]
    (given,) = chunk
    cause = f"{given.entry.where}workers died {_PLAN_TRIES} times at opening it; check the file: {given.name}"
    return Listed([], [inputs.Refused(given.name, cause, given.entry.line)])


def _answers(pool: Pool, jobs: Sequence[Job], hopeless: Callable[[Job], list[Job] | Listed]) -> list[Listed]:
    """The results of jobs, in the order of their tags. A job whose worker dies is done again.

    hopeless: what to do instead of a job at which workers died again and again, or its result.

    Raises:
        WorkerError: No worker can take part.
    """
    left, results, tries = list(jobs), dict[int, Listed](), dict[int, int]()
    refusal, stillborn, running = "", 0, 0
    while left or running:
        while left and pool.idle():
            pool.start(left.pop(0))
            running += 1
        for event in pool.wait(0.5):
            if isinstance(event, Refused):
                refusal = event.cause
                continue
            if isinstance(event, Lost) and event.job is None:
                stillborn += 1
                continue
            assert event.job is not None
            job, stillborn = event.job, 0
            running -= 1
            if isinstance(event, Finished):
                results[job.tag] = event.result
            elif isinstance(event, Raised):
                if not isinstance(event.error, WorkerError):
                    raise event.error
                refusal = str(event.error)
                left.append(job)
            else:
                tries[job.tag] = tries.get(job.tag, 0) + 1
                if tries[job.tag] < _PLAN_TRIES:
                    left.append(job)
                    continue
                instead = hopeless(job)
                if isinstance(instead, Listed):
                    results[job.tag] = instead
                else:
                    tries.pop(job.tag)
                    left += instead
        if not pool.alive() and not pool.starting() and refusal:
            raise WorkerError(refusal)
        if stillborn >= MOST_STILLBORN:
            raise WorkerError(f"{stillborn} workers in a row died before they were ready; check their memory")
    return [results[tag] for tag in sorted(results)]


def _planned(
    listed: Listed, settings: Settings, held: Held, group_s: float | None
) -> tuple[list[ShardTask], list[FleetSourceReport]]:
    """The tasks, and what is known of sources that have none."""
    reports = [FleetSourceReport(r.name, "failed", r.line, error=r.cause) for r in listed.refused]
    first: dict[str, Input] = {}
    for given in listed.inputs:
        if given.fingerprint in first:
            reports.append(FleetSourceReport(given.name, "copy", given.entry.line))
        else:
            first[given.fingerprint] = given
    different = list(first.values())
    tasks = []
    for task in grouped(different, settings, group_s or default_group_s(different), held.fingerprints.keys()):
        if (number := held.ready(task.key)) is None:
            tasks.append(task)
        else:
            reports += [FleetSourceReport(g.name, "known", g.entry.line, number) for g in task.inputs]
    for given in different:
        if (shard := held.fingerprints.get(given.fingerprint)) is not None:
            reports.append(FleetSourceReport(given.name, "known", given.entry.line, shard))
    return tasks, reports


__all__ = ["FleetProgress", "FleetReport", "FleetSourceReport", "index_fleet"]
