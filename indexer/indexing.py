"""Index everything that paths lead to: videos, logs and albums of photos, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..address import Address
from ..config import IndexConfig
from ..encoders.base import Encoder
from ..errors import MediaError, VidmemError
from ..media import Found, Photos, Source, check_topics, discover, open_source, parts
from ..media.discover import unreadable
from ..picture_reading import cause_of
from ..store import Store
from . import dating
from .pictures import index_pictures, is_text
from .pipeline import SourceReport, done_before, index_source
from .plan import Album
from .progress import IndexProgress, Progress, Watcher

_log = logging.getLogger(__name__)

Opened = Callable[[str, "Source | Album | MediaError"], "Progress | None"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexOptions:
    """Options of one run; see `Memory.index`. refused: errors of folders that could not be read."""

    decoder: str = "pyav"
    pose: str | None = None
    keep_views: bool = False
    recorded: dating.Choice | None = None
    progress: Watcher | None = None
    on_source: Opened | None = None
    refused: Sequence[OSError] = ()


def find_sources(
    paths: Sequence[str | Found],
    topics: Sequence[str],
    *,
    film: bool,
    clock: str,
    pose: str | None,
    refused: list[OSError] | None = None,
) -> list[Found]:
    """Find the sources and the photos that the paths lead to.

    refused: collects the errors of folders that cannot be read.

    Raises:
        UsageError: a URL, a topic that does not exist or must be named, or a pose topic without poses.
        MediaError: a file does not exist or holds no picture.
    """
    found: list[Found] = []
    for item in discover(paths, film, refused):
        found += [item] if isinstance(item, Photos) else parts(item, topics, clock)
    check_topics(found, topics, pose)
    return found


def index_all(
    todo: Sequence[Address | Album],
    store: Store,
    encoder: Callable[[], Encoder],
    config: IndexConfig,
    options: IndexOptions,
) -> list[SourceReport]:
    """Index sources and albums in their order.

    Args:
        todo: From `plan.planned`.
        encoder: Called when there is something to encode; loading it may take seconds.

    Returns:
        A report for each source, but for those that could not be opened, which `options.on_source` was given.

    Raises:
        MediaError: a source cannot be opened, or at the end a folder cannot be read, and there is no
            `options.on_source`.
        StoreError: the memory cannot be written.
    """
    reports = []
    for item in todo:
        name = item.folder if isinstance(item, Album) else str(item)
        try:
            if not is_text(name):
                raise MediaError(f"the file name is not valid UTF-8, rename the file: {name}")
            if isinstance(item, Album):
                reports.append(_index_album(item, store, encoder, config, options))
            else:
                reports.append(_index_source(item, store, encoder, config, options))
        except MediaError as error:
            failed = error
        except VidmemError:
            raise
        except _CallerError as carried:
            raise carried.error from None
        except Exception as error:  # libraries raise anything on what they did not expect in a file
            _log.info("an error that nothing foresaw: %s", name, exc_info=True)
            failed = MediaError(f"it cannot be indexed ({type(error).__name__}: {cause_of(error)}); check it: {name}")
        else:
            continue
        if options.on_source is None:
            raise failed
        options.on_source(name, failed)
    store.settle()
    for refused in options.refused:
        if options.on_source is None:
            raise unreadable(refused)
        options.on_source(str(refused.filename), unreadable(refused))
    return reports


def _index_source(
    address: Address, store: Store, encoder: Callable[[], Encoder], config: IndexConfig, options: IndexOptions
) -> SourceReport:
    with open_source(address, options.decoder) as source:
        progress = _callback(str(address), source, source.info.duration_ns, options)
        report = done_before(source, store, options.pose)  # first: loading the encoder may take seconds
        if options.recorded is not None:
            dating.apply(store, store.begin_source(source.info), options.recorded)
        return report or index_source(
            source, encoder(), store, config, progress, options.pose, keep_views=options.keep_views
        )


def _index_album(
    album: Album, store: Store, encoder: Callable[[], Encoder], config: IndexConfig, options: IndexOptions
) -> SourceReport:
    progress = _callback(album.folder, album, 0, options)
    report = index_pictures(album, encoder, store, config, progress, keep_views=options.keep_views)
    if options.recorded is not None and report.frames:
        dating.apply(store, store.source(album.folder), options.recorded)
    return report


def _callback(name: str, opened: Source | Album, total_ns: int, options: IndexOptions) -> Progress | None:
    """One callback for the two that a caller may give, `on_source` and `progress`."""
    try:
        first = None if options.on_source is None else options.on_source(name, opened)
    except Exception as error:
        raise _CallerError(error) from error
    watch = options.progress
    if watch is None and first is None:
        return None

    def call(t_ns: int, frames: int) -> None:
        if first is not None:
            first(t_ns, frames)
        if watch is not None:
            watch(IndexProgress(name, t_ns, total_ns, frames))

    def guarded(t_ns: int, frames: int) -> None:
        try:
            call(t_ns, frames)
        except Exception as error:
            raise _CallerError(error) from error

    return guarded


class _CallerError(BaseException):
    """Carries an error of a caller's function past those who take errors for faults of a file."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error
