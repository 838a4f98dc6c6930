"""A process that changes a memory and kills itself at a given point: `python killed.py FOLDER WHAT`.

It reads lines "POINT COPY" from stdin. For each it forks a child, which works on a fresh copy of FOLDER and is killed
when it comes to that point: before or after a statement of SQLite, after some hundred steps within one, or before a
call that renames or deletes a file. Point 0 is never reached. It prints a line for each: "killed", or how many points
there were.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from store.making import DT, DV, MODEL, add, frame, info, track

from vidmem.indexer.pictures import forget_photo
from vidmem.records import Mark, ViewMark
from vidmem.store import NewTokens, Part, Picture, PictureFile, Store, VectorCache
from vidmem.store.phrase_cache import PhraseCache

STEPS = 400
"""Steps of SQLite between two points within a statement."""
SECRET = "secret-name"
VIDEO, THING, PHOTO = 1099, 1098, 1097
"""Seeds of the vectors of what is secret."""


def fill(folder: Path) -> None:
    """A memory with a secret video, a secret thing in another, and secret photos; all in tables and cache."""
    with Store.open(folder, create=True) as store:
        store.set_model(MODEL)
        keep = store.begin_source(info("keep.mp4", "k"))
        secret = store.begin_source(info(f"{SECRET}.mp4", "secret-print"))
        for n in range(6):
            shared = {"next_t_ns": 1000, "frames_done": (n + 1) * 5}
            seen = ViewMark(n, (0.0, 0.0, 5.0, 5.0), 0.5, b"secret-view" * 9, (0.1,), 0.9)
            last = "done" if n == 5 else "open"
            tracks = [track(i, seed=i or THING) for i in range(n * 20, n * 20 + 20)]
            frames = [frame(n * 10 + i, [0, n * 20 + 1]) for i in range(5)]
            add(store, keep.id, tracks, frames, state=last, **shared)
            hidden = [track(i, seed=VIDEO, views=(seen,)) for i in range(n * 20, n * 20 + 20)]
            marks = [(n * 10 + i, Mark(5, None, 7)) for i in range(5)]
            add(store, secret.id, hidden, frames, state=last, marks=marks, tracker_state=b"secret-state" * 99, **shared)
        album = store.begin_source(info("album", "a"))
        files = [PictureFile(f"{SECRET}-{n}.jpg", 5, 6, n * 10) for n in range(3)]
        pictures = [Picture(n * 10, bytes([65 + n]) * 32, 640, 480) for n in range(3)]
        photos = [track(n, seed=n or PHOTO, start_ns=n * 10, end_ns=n * 10) for n in range(3)]
        add(
            store,
            album.id,
            photos,
            [frame(n * 10, [n]) for n in range(3)],
            state="done",
            files=files,
            pictures=pictures,
        )
        VectorCache(store)
        PhraseCache(store).put([(b"key", np.ones((1, DT), np.float32))])


def source(store: Store, name: str) -> int:
    return store.source(name).id


def rm(store: Store) -> None:
    store.remove_source(source(store, f"{SECRET}.mp4"))


def forget_before(store: Store) -> None:
    store.remove_parts([Part(source(store, f"{SECRET}.mp4"), 1 << 40)])


def forget_thing(store: Store) -> None:
    row = source(store, "keep.mp4")
    store.remove_parts([Part(row, None, (store.source_tracks(row)[0].id,))])


def rm_photo(store: Store) -> None:
    forget_photo(store, store.source("album"), f"{SECRET}-0.jpg")


def replaced(store: Store) -> None:
    """The video has other content now, and is indexed again."""
    row = store.begin_source(info(f"{SECRET}.mp4", "other-print"))
    add(store, row.id, [track(0, seed=5)], [frame(0, [0])], state="done")
    VectorCache(store)
    store.settle()


def reembed(store: Store) -> None:
    """Every track gets another token."""
    target = type(MODEL)("other", "cd" * 32, DV, DT, MODEL.config)
    store.begin_tokens(target)
    ids = [t.id for row in store.sources() for t in store.source_tracks(row.id)]
    rng = np.random.default_rng(1)
    random = [rng.standard_normal((2, max(DV, DT)), dtype=np.float32) for _ in ids]
    store.put_tokens([NewTokens(i, v[0, :DV], v[1, :DT], 1.0) for i, v in zip(ids, random, strict=True)])
    store.adopt_tokens(target, {row.id: b"" for row in store.sources()})
    store.settle()


def compact(store: Store) -> None:
    store.compact()


WHAT: dict[str, Callable[[Store], None]] = {
    f.__name__: f for f in (rm, forget_before, forget_thing, rm_photo, replaced, reembed, compact)
}


class _Points:
    """Counts the points that this process comes to, and kills it at one of them."""

    def __init__(self, last: int) -> None:
        self.last, self.count = last, 0

    def __call__(self, *_: Any) -> int:
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def watch(self) -> None:
        def opened(conn: sqlite3.Connection) -> None:
            conn.set_progress_handler(self, STEPS)

        sqlite3.connect = unflushed(self, opened)  # type: ignore[assignment]
        events = {"os.remove", "os.rename", "os.rmdir", "shutil.rmtree", "os.truncate"}
        sys.addaudithook(lambda event, args: self() if event in events else None)


def unflushed(
    point: Callable[[], Any] = lambda: None, opened: Callable[[sqlite3.Connection], None] = lambda conn: None
) -> Callable[..., sqlite3.Connection]:
    """A `sqlite3.connect` that does not wait for the disk: a killed process loses nothing that it wrote.

    It calls `point` before and after each statement, and `opened` with each connection.
    """

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            point()
            found = super().execute(sql.replace("synchronous = FULL", "synchronous = OFF"), *args)
            point()
            return found

    connect = sqlite3.connect

    def call(*args: Any, **options: Any) -> sqlite3.Connection:
        conn = connect(*args, factory=Connection, **options)
        opened(conn)
        return conn

    return call


def _child(folder: Path, what: str, last: int) -> None:
    points = _Points(last)
    points.watch()
    with Store.open(folder, write=True) as store:
        WHAT[what](store)
    print(points.count, flush=True)


def main() -> None:
    folder, what = Path(sys.argv[1]), sys.argv[2]
    for line in sys.stdin:
        number, copy = line.split(maxsplit=1)
        target = Path(copy.strip())
        shutil.copytree(folder, target)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _child(target, what, int(number))
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            print("killed", flush=True)
        elif status:
            print("failed", flush=True)


if __name__ == "__main__":
    main()
