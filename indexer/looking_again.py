"""Has a source that the memory knows changed since it was indexed? If so, it is looked at again.

Its fingerprint tells it apart in most cases (see `media/fingerprint.py`). Where that is not enough, all of the content
is compared: if the source had damage, which may have been repaired in place, and if its files were written since.
"""

from __future__ import annotations

import os
from dataclasses import replace

from ..media import fingerprint
from ..media.photos import Listed
from ..records import SourceInfo
from ..store import PictureFile, SourceRow, Store


def begin(store: Store, info: SourceInfo) -> SourceRow:
    """Return the row to index `info` into, as `Store.begin_source`; a new one if the content has changed.

    Raises:
        StoreError: the memory cannot be written.
    """
    row = store.begin_source(info)
    if not info.files or row.uri != info.uri:  # a copy of what the memory has from another file
        return row
    try:
        stamp = fingerprint.stamp(info.files)
        if row.state == "open":
            return _noted(store, row, stamp, "")
        written = bool(row.stamp) and row.stamp != stamp
        if row.state != "partial" and not written:
            return row if row.stamp else _noted(store, row, stamp, "")
        content = fingerprint.whole(info.files)
    except OSError:
        return row  # whoever reads it next says so
    if (row.content and row.content == content) or (not row.content and row.state != "partial" and not row.stamp):
        return _noted(store, row, stamp, content)
    return _noted(store, store.begin_source(info, again=True), stamp, "")


def finish(store: Store, source_id: int, info: SourceInfo) -> None:
    """Note what a source held that was indexed to its end; nothing of its content if it was written meanwhile."""
    if not info.files:
        return
    row = store.source_by_id(source_id)
    try:
        content = fingerprint.whole(info.files)
        same = fingerprint.stamp(info.files) == row.stamp
    except OSError:
        same = False
    store.set_content(source_id, row.stamp, content if same else "")


def _noted(store: Store, row: SourceRow, stamp: str, content: str) -> SourceRow:
    if (row.stamp, row.content) == (stamp, content):
        return row
    store.set_content(row.id, stamp, content)
    return replace(row, stamp=stamp, content=content)


def same_photo(folder: str, file: Listed, known: PictureFile | None) -> bool:
    """Return True if a photo is as it was when it was read: by size, time and samples, one that is damaged by all of
    its bytes."""
    if known is None or (known.size, known.mtime_ns) != (file.size, file.mtime_ns):
        return False
    path = os.path.join(folder, file.path)
    if known.t_ns is not None:
        return known.sample is None or known.sample == fingerprint.of_picture(path)
    try:
        return known.sample is not None and known.sample == fingerprint.of_all(path)
    except OSError:
        return False
