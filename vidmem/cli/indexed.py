"""What `vidmem index` tells of its sources: rows for programs, lines for people."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..timecode import recording_date
from .output import Row, say, size, warn
from .where import NEXT_STEP

if TYPE_CHECKING:
    from ..indexer.dating import Choice
    from ..indexer.pictures import PicturesReport
    from ..indexer.pipeline import SourceReport
    from ..memory import Memory

NOTES = 3
"""Causes of damage that are told per video."""
NAMED = 20
"""Damaged photos that are named, per folder, and sources whose dates are; the others are counted."""


def report_row(report: SourceReport) -> Row:
    """Counts are of this run, but for `frames`, `files` and `damaged`."""
    photos = _photos(report)
    return {
        "source": report.info.uri,
        "kind": report.info.kind,
        "skipped": report.skipped,
        "frames": report.frames,
        "new_frames": report.new_frames,
        "encoded": report.encoded,
        "still": report.still,
        "encoder_calls": report.calls,
        "tracks": report.tracks,
        "media_s": report.media_s,
        "seconds": report.seconds,
        "damaged": report.damaged,
        "notes": list(report.notes),
        "files": photos.files if photos else None,
        "gone": photos.gone if photos else None,
        "unreadable": [os.path.join(report.info.uri, path) for path, _ in photos.unreadable] if photos else [],
    }


def summarise(memory: Memory, reports: Sequence[SourceReport], keep_views: bool) -> None:
    """What the run came to, on stderr."""
    photos = [found for report in reports if (found := _photos(report))]
    films = [report for report in reports if _photos(report) is None]
    _summarise_films(films, keep_views)
    for album in photos:
        _summarise_photos(album, keep_views)
    if stale := len(memory.store.stale_sources()):
        warn(f"{count(stale, 'source')} of the memory cannot be found yet; run `vidmem reembed` with them in place")
    for report in films:
        if report.damaged:
            causes = f": {'; '.join(report.notes[:NOTES])}" if report.notes else ""
            warn(f"damaged: {report.damaged} packets or frames left out of {report.info.address.label}{causes}")
    for album in photos:
        for path, cause in album.unreadable[:NAMED]:
            warn(f"damaged: {os.path.join(album.info.uri, path)}: {cause}")
        if album.damaged > NAMED:
            warn(f"damaged: {album.damaged:,} in all, the first {NAMED} are named")
    stats = memory.stats()
    total = size(stats.database_bytes + stats.cache_bytes)
    hourly = "" if stats.bytes_per_hour is None else f", {size(stats.bytes_per_hour)} per hour of video"
    say(f"memory: {count(stats.sources, 'source')}, {count(stats.tracks, 'track')}, {total}{hourly}")
    _introduce(memory)


def say_dates(memory: Memory, reports: Sequence[SourceReport], chosen: Choice) -> None:
    """When the sources were recorded, now that this was told."""
    rows = {row.fingerprint: row for row in memory.sources()}
    known = [rows[report.info.fingerprint] for report in reports if report.info.fingerprint in rows]
    for row in known[:NAMED]:
        silent = "" if chosen.matches(row.recorded_by) else f" ({chosen.method} tells no date)"
        told = "without a date" if row.start_ns is None else f"recorded {recording_date(row.start_ns, row.recorded_by)}"
        say(f"{told}: {row.address.label}{silent}")
    if len(known) > NAMED:
        say(f"and {len(known) - NAMED} more; `vidmem ls` tells them")


def count(n: int, noun: str) -> str:
    """A number with its noun."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _photos(report: SourceReport) -> PicturesReport | None:
    from ..indexer.pictures import PicturesReport

    return report if isinstance(report, PicturesReport) else None


def _summarise_films(reports: Sequence[SourceReport], keep_views: bool) -> None:
    new = [report for report in reports if not report.skipped]
    if skipped := len(reports) - len(new):
        say(f"{count(skipped, 'source')} done before, skipped")
        if keep_views:
            warn("no views were kept of these; `vidmem rm` them first, then they are indexed anew")
    if not new:
        return
    frames = sum(report.new_frames for report in new)
    seconds = sum(report.seconds for report in new)
    # Of a resumed source only the part that was watched now counts.
    media = sum(report.media_s * report.new_frames / max(report.frames, 1) for report in new)
    say(
        f"indexed {count(len(new), 'source')}: {count(frames, 'frame')} in {seconds:.1f} s "
        f"({frames / max(seconds, 1e-9):.1f} fps, {media / max(seconds, 1e-9):.1f}x real time), "
        f"{count(sum(report.tracks for report in new), 'track')}"
    )
    if still := sum(report.still for report in new):
        say(
            f"encoded {count(frames - still, 'frame')} in {count(sum(report.calls for report in new), 'call')}; "
            f"{still} stood still and cost none"
        )


def _summarise_photos(report: PicturesReport, keep_views: bool) -> None:
    known = report.files - report.looked
    if report.new_frames:
        rate = report.new_frames / max(report.seconds, 1e-9)
        told = (
            f"{count(report.new_frames, 'photo')} indexed in {report.seconds:.1f} s ({rate:.1f} a second), "
            f"{count(report.tracks, 'region')}"
        )
    else:
        told = "nothing new"
    more = [f"{known:,} known before"] if known else []
    if report.copies and report.looked:
        more.append(f"{report.copies:,} file{' is a copy' if report.copies == 1 else 's are copies'}")
    more += [f"{report.gone:,} gone and forgotten"] if report.gone else []
    say(f"{report.info.uri}: {'; '.join([told, *more])}")
    if keep_views and known:
        warn("of photos known before no views are kept now; `vidmem rm` them first, then they are indexed anew")


def _introduce(memory: Memory) -> None:
    """What the encoder knows, once for a memory and whenever it has another encoder."""
    info = memory.text_encoder.info
    if memory.store.introduced() == info.name:
        return
    say(f"`{info.name}` knows {info.knows}" + ("" if info.open_vocabulary else f"; {NEXT_STEP}"))
    memory.store.set_introduced(info.name)
