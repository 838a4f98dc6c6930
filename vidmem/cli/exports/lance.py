"""`vidmem export lance`: all tracks of a memory as a Lance table."""

from __future__ import annotations

from typing import Annotated

import typer

from ...errors import UsageError
from ...export.to_lance import INDEX_FROM
from ...memory import Memory
from ..messages import progress_bar, say, warn
from ..options import AskedMemoryOption, EncoderOption, WeightsOption
from ..output import Listing, Row, Show, count, listing


@listing
def lance(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="TABLE",
            help="The table: a folder or an address, such as s3://bucket/tracks.lance. Its name ends in .lance.",
            show_default=False,
        ),
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Drop everything else that is in the table, whatever encoder made it.")
    ] = False,
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails", help="Also write a small JPEG of each track. The videos must be there.")
    ] = False,
    names: Annotated[
        bool, typer.Option("--names", help="Also write what each track is called, where the encoder is sure.")
    ] = False,
    index: Annotated[
        bool | None,
        typer.Option(
            "--index/--no-index",
            show_default=False,
            help=f"Build indexes. Default: from {INDEX_FROM:,} rows on; below, a flat search is exact and fast.",
        ),
    ] = None,
    memory: AskedMemoryOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:
    """Write all tracks to a Lance table.

    One row a track: source, times, box and both vectors, for LanceDB and all that read Lance. Run it again to bring the
    table up to date: a memory that has changed is written anew, one that has not is left as it is, and several memories
    can share a table. Each is written in one step; an interrupted export leaves the table as it was. An approximate
    index misses tracks that `vidmem where` finds; the guide says how many. The exit code is 3 if thumbnails are
    missing.

    \b
    Examples:
      vidmem export lance --to tracks.lance
      vidmem export lance --to s3://bucket/tracks.lance --names
    """
    from ...export.to_lance import to_lance

    if not to:
        raise UsageError("--to is empty; give the name of a table")
    with (
        Memory.open(memory, encoder=encoder, weights=weights, read_only=True) as m,
        progress_bar(m.stats().tracks, lambda n: f"{n:,} tracks") as advance,
    ):
        report = to_lance(
            m.query, to, replace=replace, thumbnails=thumbnails, names=names, index=index, progress=advance
        )
    row: Row = {
        "table": to,
        "rows": report.rows,
        "written": report.tracks,
        "shards_written": report.shards,
        "shards_unchanged": report.unchanged,
        "indexed": report.indexed,
    }
    heads = ("table", "rows", "written", "indexed")
    cells = (to, str(report.rows), str(report.tracks), "yes" if report.indexed else "no")
    show(Listing([row], [heads, cells], row))
    if report.unchanged and not report.shards:
        say("nothing has changed since the last export")
    if report.without:
        warn(f"{count(report.without, 'track')} without a thumbnail: the video or photo is gone or can not be read")
        return 3
    return 0
