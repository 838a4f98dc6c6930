from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidmem.store import Store, VectorCache

from .making import MODEL, add, frame, info, track

WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from store.test_crash import write_on
write_on(sys.argv[1])
"""


def write_on(folder: str) -> None:
    """Resume and checkpoint for ever: number n holds frame n and tracks n and n - 1, and says "ready"."""
    with Store.open(folder, create=True) as store:
        store.set_model(MODEL)
        row = store.begin_source(info())
        n = row.next_t_ns or 0
        while True:
            tracks = [track(i, frames=n - i + 1) for i in (n - 1, n) if i >= 0]
            add(store, row.id, tracks, [frame(n, [n])], next_t_ns=n + 1, frames_done=n + 1, tracker_state=b"%d" % n)
            print("ready", flush=True)
            if n % 10 == 0:
                VectorCache(store)
            n += 1


def check(folder: Path) -> int:
    """Exactly a prefix of the checkpoints is there; how many."""
    with Store.open(folder) as store:
        row = store.source_by_id(store.source("walk.mp4").id)
        n = row.next_t_ns or 0
        assert row.frames == n
        assert row.tracker_state == (b"%d" % (n - 1) if n else b"")
        assert [f.t_ns for f in store.regions(row.id, 0, 10**9)] == list(range(n))
        tracks = store.source_tracks(row.id)
        assert [(t.id, t.ordinal, t.frames) for t in tracks] == [(i + 1, i, 1 + (i < n - 1)) for i in range(n)]
        assert store.extent()[0] == n
        cache = VectorCache(store)
        assert cache.columns.ids.tolist() == [t.id for t in tracks]
        assert cache.columns.frames.tolist() == [t.frames for t in tracks]
        assert store._conn is not None
        assert store._conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return n


def kill_repeatedly(folder: Path, times: int) -> list[int]:
    rng, seen = random.Random(0), []
    for _ in range(times):
        command = [sys.executable, "-c", WRITER, str(folder), str(Path(__file__).parents[1])]
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert child.stdout is not None
        for _ in range(rng.randrange(1, 20)):  # checkpoints, which a busy machine writes slowly
            assert child.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.02))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        seen.append(check(folder))
    return seen


def test_a_killed_writer_leaves_exactly_its_checkpoints(folder: Path) -> None:
    seen = kill_repeatedly(folder, 4)
    assert seen == sorted(seen)
    assert seen[-1] > 0


@pytest.mark.slow
def test_a_writer_killed_often_leaves_exactly_its_checkpoints(folder: Path) -> None:
    seen = kill_repeatedly(folder, 30)
    assert seen == sorted(seen)
