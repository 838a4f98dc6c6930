"""Brute force over the tracks of a memory in float64, to check answers against. It reads SQLite by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidmem.query.instances import GAP_NS
from vidmem.records import Float32


def newest(source: Sequence[int], start: Sequence[int], end: Sequence[int]) -> tuple[int, int, int] | None:
    """(source, start, end) of the newest sighting of these tracks, by plain loops, to check answers against.

    It is in the newest source, and has its tracks back to the last pause longer than the gap.
    """
    if not len(source):
        return None
    last = max(source)
    spans = sorted((s, e) for o, s, e in zip(source, start, end, strict=True) if o == last)
    first, furthest = spans[0]
    for s, e in spans[1:]:
        if s > furthest + GAP_NS:
            first, furthest = s, e
        else:
            furthest = max(furthest, e)
    return last, first, furthest


def brute(folder: Path) -> dict[str, NDArray[Any]]:
    """All tracks straight from SQLite, vectors in float64 with unit length."""
    conn = sqlite3.connect(f"file:{folder / 'memory.sqlite'}?mode=ro", uri=True)
    rows = conn.execute("SELECT id, source_id, start_ns, end_ns, text, visual FROM tracks ORDER BY id").fetchall()
    conn.close()
    columns = np.array([row[:4] for row in rows], np.int64).T
    out: dict[str, NDArray[Any]] = dict(zip(("id", "source", "start", "end"), columns, strict=True))
    for name, at in (("text", 4), ("visual", 5)):
        out[name] = np.frombuffer(b"".join(row[at] for row in rows), "<f2").reshape(len(rows), -1)
    return out


def cosines(half: NDArray[Any], query: Float32) -> NDArray[np.float64]:
    """Cosines in float64, block by block."""
    wanted = query.astype(np.float64) / np.linalg.norm(query.astype(np.float64))
    out = np.empty(len(half))
    for at in range(0, len(half), 65536):
        wide = half[at : at + 65536].astype(np.float64)
        out[at : at + 65536] = wide @ wanted / np.linalg.norm(wide, axis=1)
    return out


def check(answer: Any, truth: dict[str, NDArray[Any]], score: NDArray[np.float64], threshold: float) -> int:
    """Check an answer against brute force; return the number of tracks that match.

    Raises AssertionError unless it has exactly those tracks (except within float32 rounding of the threshold) and the
    same newest sighting.
    """
    ids = {i for sighting in answer for i in sighting.tracks}
    over, near = score >= threshold, np.abs(score - threshold) < 3e-6
    want = set(truth["id"][over].tolist())
    loose = set(truth["id"][near].tolist())
    if (ids ^ want) - loose:
        raise AssertionError(f"{len(ids ^ want)} tracks differ from brute force")
    kept = np.isin(truth["id"], list(ids))
    best = newest(truth["source"][kept].tolist(), truth["start"][kept].tolist(), truth["end"][kept].tolist())
    first = answer[0] if answer.found else None
    if (best is None) != (first is None):
        raise AssertionError("found and not found")
    if best is not None and first is not None and (first.start_ns, first.end_ns) != best[1:]:
        raise AssertionError("the newest sighting differs from brute force")
    return len(want)


def write_vectors(folder: Path, out: Path) -> None:
    """Write the visual tokens of a memory to a .npy file `(n, D)` fp16, in the order of ids, block by block."""
    conn = sqlite3.connect(f"file:{folder / 'memory.sqlite'}?mode=ro", uri=True)
    (n,) = conn.execute("SELECT count(*) FROM tracks").fetchone()
    (length,) = conn.execute("SELECT length(visual) FROM tracks LIMIT 1").fetchone()
    part = out.with_name(out.name + ".part")
    written = np.lib.format.open_memmap(part, "w+", np.float16, (n, length // 2))
    cursor = conn.execute("SELECT visual FROM tracks ORDER BY id")
    at = 0
    while rows := cursor.fetchmany(16384):
        written[at : at + len(rows)] = np.frombuffer(b"".join(row[0] for row in rows), "<f2").reshape(len(rows), -1)
        at += len(rows)
    written.flush()
    conn.close()
    part.replace(out)


def top_cosines(path: Path, questions: Float32, k: int, close: float) -> list[set[int]]:
    """For each question the rows whose cosine in float64 is at most `close` below that of the k-th best."""
    half = np.load(path, mmap_mode="r")
    wanted = questions.astype(np.float64)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    score = np.empty((len(half), len(wanted)), np.float32)
    for at in range(0, len(half), 65536):
        wide = half[at : at + 65536].astype(np.float64)
        score[at : at + 65536] = wide @ wanted.T / np.linalg.norm(wide, axis=1, keepdims=True)
    k = min(k, len(half))
    limits = np.partition(score, len(half) - k, axis=0)[len(half) - k] - close
    return [set(np.flatnonzero(score[:, i] >= limits[i]).tolist()) for i in range(len(wanted))]
