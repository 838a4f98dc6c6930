"""`vidmem index --images`: folders of single pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from ..errors import MediaError
from ..output import say, size, warn
from .progress import progress_bar

if TYPE_CHECKING:
    from ..config import IndexConfig
    from ..indexer.pictures import PicturesReport
    from ..memory import Memory

NAMED = 20
"""Damaged pictures that are named, per folder; the others are counted."""


def index_images(
    memory: Memory, folders: Sequence[str], config: IndexConfig | None, recorded: str | None = None
) -> int:
    """Index the folders one by one; the exit code."""
    from ..indexer.pictures import to_look_at

    todo: dict[str, int] = {}
    failed = 0
    for folder in folders:
        try:
            todo[os.path.abspath(folder)] = len(to_look_at(os.path.abspath(folder), memory.store)[1])
        except MediaError as error:
            warn(f"vidmem: {error}")
            failed += 1
    reports: list[PicturesReport] = []
    done = 0
    with progress_bar(sum(todo.values()), lambda n: f"{n:,}") as advance:

        def looked(path: str, files: int) -> None:
            advance(path, done + files)

        try:
            for folder, files in todo.items():
                try:
                    reports.append(memory.index_pictures(folder, config=config, looked=looked, recorded=recorded))
                except MediaError as error:
                    warn(f"vidmem: {error}")
                    failed += 1
                done += files
        except KeyboardInterrupt:
            warn("interrupted; what was checkpointed is kept, run the same command again to go on")
            raise typer.Exit(130) from None
    if not reports:
        return MediaError.exit_code
    memory.cache()  # so that the first question finds it ready
    for report in reports:
        _summarise(report)
    stats = memory.stats()
    say(f"memory: {stats.tracks:,} tracks, {size(stats.database_bytes + stats.cache_bytes)}")
    return 3 if failed or any(report.damaged for report in reports) else 0


def _summarise(report: PicturesReport) -> None:
    rate = f" ({report.new / report.seconds:.1f} a second)" if report.new else ""
    same = report.files - len(report.damaged) - report.pictures
    copies = f", {same:,} file{' is a copy' if same == 1 else 's are copies'}" if same else ""
    say(
        f"{report.uri}: {report.files:,} files, {report.files - report.looked:,} known before; {report.new:,} pictures "
        f"indexed in {report.seconds:.1f} s{rate}, {report.tokens:,} regions; {report.pictures:,} different pictures"
        + copies
        + (f"; {report.gone:,} gone and forgotten" if report.gone else "")
    )
    for path, cause in report.damaged[:NAMED]:
        warn(f"damaged: {os.path.join(report.uri, path)}: {cause}")
    if len(report.damaged) > NAMED:
        warn(f"damaged: {len(report.damaged):,} in all, the first {NAMED} are named")
