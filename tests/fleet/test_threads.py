"""Threads that ask shards: results, errors, the end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from vidmem.fleet import bounds_table
from vidmem.fleet.threads import Threads


def test_results_come_in_order_and_errors_are_raised() -> None:
    pool = Threads(3, "test")
    assert list(pool.map(lambda n: n * n, range(50))) == [n * n for n in range(50)]
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result()
    pool.shutdown()
    pool.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(int)


def test_there_are_at_most_so_many_threads() -> None:
    pool, names = Threads(2, "few"), set()

    def work() -> None:
        names.add(threading.current_thread().name)
        time.sleep(0.01)

    for future in [pool.submit(work) for _ in range(12)]:
        future.result()
    assert names <= {"few-0", "few-1"}
    pool.shutdown()


def test_what_was_cancelled_is_not_done() -> None:
    pool, gate = Threads(1, "test"), threading.Event()
    first = pool.submit(gate.wait)
    second = pool.submit(int)
    assert second.cancel()
    gate.set()
    assert first.result(10)
    pool.shutdown()
    assert second.cancelled()


def test_what_no_thread_has_begun_is_dropped_at_the_end() -> None:
    pool, gate, done = Threads(1, "test"), threading.Event(), []
    pool.submit(gate.wait)
    dropped = pool.submit(done.append, 1)
    pool.shutdown(wait=False, cancel_futures=True)
    gate.set()
    pool.shutdown()
    assert not done
    assert dropped.cancelled()


def test_bounds_that_do_not_come_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds_table, "PATIENCE_SECONDS", 0.2)
    pool, gate = Threads(1, "test"), threading.Event()
    hung, later = pool.submit(gate.wait), pool.submit(int)
    began = time.monotonic()
    bounds_table._until_none_comes([hung, later])  # type: ignore[list-item]
    assert time.monotonic() - began < 10
    assert later.cancelled()
    gate.set()
    pool.shutdown()


def test_bounds_that_come_one_after_the_other_are_all_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds_table, "PATIENCE_SECONDS", 1.0)
    pool = Threads(1, "test")
    slow = [pool.submit(time.sleep, 0.3) for _ in range(5)]
    bounds_table._until_none_comes(slow)  # type: ignore[arg-type]
    assert all(one.done() and not one.cancelled() for one in slow)
    pool.shutdown()


def test_a_process_ends_though_a_thread_hangs() -> None:
    code = (
        "import time; from vidmem.fleet.threads import Threads\n"
        "pool = Threads(1, 'x'); pool.submit(time.sleep, 600); time.sleep(.2); pool.shutdown(wait=False); print('end')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "end"
