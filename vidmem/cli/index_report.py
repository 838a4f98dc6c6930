"""What `vidmem index` reports about its sources: rows for programs, lines for people."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..timecode import recording_date
from .messages import say, warn
from .output import Row, count, size
from .sightings import ANY_PHRASE

if TYPE_CHECKING:
    from ..indexer.dating import Choice
    from ..indexer.pictures import PicturesReport
    from ..indexer.pipeline import SourceReport
    from ..memory import Memory

MAX_CAUSES = 3
"""Causes of damage that are printed per video."""
MAX_NAMED = 20
"""Damaged photos that are named per folder, and sources whose dates are named; the rest is counted."""


def report_row(report: SourceReport) -> Row:
    """One source. `frames`, `files` and `damaged` are totals; the other counts are of this run."""
    album = _album(report)
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
        "files": album.files if album else None,
        "gone": album.gone if album else None,
        "unreadable": [os.path.join(report.info.uri, path) for path, _ in album.unreadable] if album else [],
    }


def summarise(memory: Memory, reports: Sequence[SourceReport], keep_views: bool) -> None:
    """Print a summary of the run."""
    albums = [album for report in reports if (album := _album(report))]
    videos = [report for report in reports if _album(report) is None]
    _summarise_videos(videos, keep_views)
    for album in albums:
        _summarise_album(album, keep_views)
    if stale := len(memory.store.stale_sources()):
        warn(f"{count(stale, 'source')} cannot be searched yet; put the files back and run `vidmem reembed`")
    for report in videos:
        if report.damaged:
            causes = f": {'; '.join(report.notes[:MAX_CAUSES])}" if report.notes else ""
            warn(f"damaged: {report.damaged} packets or frames left out of {report.info.address.label}{causes}")
    for album in albums:
        for path, cause in album.unreadable[:MAX_NAMED]:
            warn(f"damaged: {os.path.join(album.info.uri, path)}: {cause}")
        if album.damaged > MAX_NAMED:
            warn(f"damaged: {album.damaged:,} in all, of which {MAX_NAMED} are named")
    stats = memory.stats()
    total = size(stats.database_bytes + stats.cache_bytes)
    hourly = "" if stats.bytes_per_hour is None else f", {size(stats.bytes_per_hour)} per hour of video"
    say(f"memory: {count(stats.sources, 'source')}, {count(stats.tracks, 'track')}, {total}{hourly}")
    _introduce_encoder(memory)


def say_dates(memory: Memory, reports: Sequence[SourceReport], chosen: Choice) -> None:
    """Print when the sources were recorded, after --recorded."""
    rows = {row.fingerprint: row for row in memory.sources()}
    known = [rows[report.info.fingerprint] for report in reports if report.info.fingerprint in rows]
    for row in known[:MAX_NAMED]:
        missing = "" if chosen.matches(row.recorded_by) else f" ({chosen.method} has no date)"
        date = "without a date" if row.start_ns is None else f"recorded {recording_date(row.start_ns, row.recorded_by)}"
        say(f"{date}: {row.address.label}{missing}")
    if len(known) > MAX_NAMED:
        say(f"and {len(known) - MAX_NAMED} more; `vidmem ls` lists them")


def _album(report: SourceReport) -> PicturesReport | None:
    """The report if it is of photos, otherwise None."""
    from ..indexer.pictures import PicturesReport  # imports PyAV

    return report if isinstance(report, PicturesReport) else None


def _summarise_videos(reports: Sequence[SourceReport], keep_views: bool) -> None:
    new = [report for report in reports if not report.skipped]
    if skipped := len(reports) - len(new):
        say(f"{count(skipped, 'source')} indexed before, skipped")
        if keep_views:
            warn("no views were stored for these; `vidmem rm` them and index them again")
    if not new:
        return
    frames = sum(report.new_frames for report in new)
    seconds = sum(report.seconds for report in new)
    # Of a resumed source only the part that was indexed now counts.
    media = sum(report.media_s * report.new_frames / max(report.frames, 1) for report in new)
    say(
        f"indexed {count(len(new), 'source')}: {count(frames, 'frame')} in {seconds:.1f} s "
        f"({frames / max(seconds, 1e-9):.1f} fps, {media / max(seconds, 1e-9):.1f}x real time), "
        f"{count(sum(report.tracks for report in new), 'track')}"
    )
    if still := sum(report.still for report in new):
        calls = sum(report.calls for report in new)
        say(f"encoded {count(frames - still, 'frame')} in {count(calls, 'call')}; {still} showed nothing new")


def _summarise_album(report: PicturesReport, keep_views: bool) -> None:
    known = report.files - report.looked
    if report.new_frames:
        rate = report.new_frames / max(report.seconds, 1e-9)
        parts = [
            f"{count(report.new_frames, 'photo')} indexed in {report.seconds:.1f} s ({rate:.1f} per second), "
            f"{count(report.tracks, 'region')}"
        ]
    else:
        parts = ["nothing new"]
    parts += [f"{known:,} known before"] if known else []
    if report.copies and report.looked:
        parts.append(f"{report.copies:,} file{' is a copy' if report.copies == 1 else 's are copies'}")
    parts += [f"{report.gone:,} gone and forgotten"] if report.gone else []
    say(f"{report.info.uri}: {'; '.join(parts)}")
    if keep_views and known:
        warn("no views were stored for photos known before; `vidmem rm` them and index them again")


def _introduce_encoder(memory: Memory) -> None:
    """Say what the encoder knows, once per memory and encoder."""
    info = memory.text_encoder.info
    if memory.store.introduced() == info.name:
        return
    say(f"`{info.name}` knows {info.knows}" + ("" if info.open_vocabulary else f"; {ANY_PHRASE}"))
    memory.store.set_introduced(info.name)
