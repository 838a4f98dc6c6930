"""The part `warm` of speed.py: `where` over many synthetic tracks in a real memory, checked against brute force."""

from __future__ import annotations

import shutil
import sqlite3
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._child import peak_rss
from benchmarks.common import blank_memory, quantile
from vidmem import Memory
from vidmem.geometry import unit
from vidmem.query.instances import GAP_NS
from vidmem.records import Float32, SourceInfo, SourceKind
from vidmem.store import Checkpoint, Store, VectorCache
from vidmem.timecode import NS


def synthetic(folder: Path, tracks: int, sources: int = 25, seed: int = 0) -> None:
    """A memory of `tracks` synthetic tracks, made by the Store.

    Some are things with names (text tokens near the name's vector), the rest anything; visual tokens are clustered;
    spans of seconds lie in recordings of hours. The rows of tracks are written with the Store's own SQL in one
    transaction.
    """
    blank = blank_memory(folder)
    if blank is None:
        return
    memory, record = blank
    rng = np.random.default_rng(seed)
    with memory:
        names = memory.text_encoder.contrast_vectors  # type: ignore[attr-defined]
        ids = []
        hours = 4 * 3600 * NS
        for number in range(sources):
            info = SourceInfo(f"/synthetic/{number:03d}.mp4", SourceKind.VIDEO, 1280, 720, hours, f"synthetic-{number}")
            row = memory.store.begin_source(info)
            memory.store.checkpoint(row.id, Checkpoint(next_t_ns=hours, frames_done=4 * 3600 * 5, state="done"))
            ids.append(row.id)
    conn = sqlite3.connect(folder / "memory.sqlite", isolation_level=None)
    conn.execute("PRAGMA synchronous = OFF")
    conn.execute("BEGIN")
    dv, dt = record.visual_dim, record.text_dim
    clumps = unit(rng.standard_normal((2000, dv), dtype=np.float32))
    per_source = -(-tracks // sources)
    done = 0
    for source in ids:
        n = min(per_source, tracks - done)
        start = np.sort(rng.integers(0, hours - 120 * NS, n))
        end = start + (np.clip(rng.lognormal(1.0, 1.0, n), 0, 100) * NS).astype(np.int64)
        which = rng.integers(0, len(names), n)
        # A tenth are things with a name, more or less clear; about 150 of each name at a million, 15 at 100,000.
        strength = np.where(rng.random(n) < 0.1, rng.uniform(0.5, 0.95, n), rng.uniform(0, 0.35, n))[:, None]
        noise = unit(rng.standard_normal((n, dt), dtype=np.float32))
        text = unit((strength * names[which] + (1 - strength**2) ** 0.5 * noise).astype(np.float32)).astype("<f2")
        visual = unit(clumps[rng.integers(0, len(clumps), n)] + 0.09 * rng.standard_normal((n, dv), dtype=np.float32))
        half = visual.astype("<f2")
        rows = (
            (
                int(start[i]),
                int(end[i]),
                5,
                int(start[i]),
                10.0,
                10.0,
                90.0,
                90.0,
                1,
                half[i].tobytes(),
                text[i].tobytes(),
                source,
                i,
            )
            for i in range(n)
        )
        conn.executemany(
            "INSERT INTO tracks (start_ns, end_ns, frames, best_ns, x0, y0, x1, y1, generation, visual, text,"
            " source_id, ordinal) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        done += n
    conn.execute("UPDATE meta SET value = '1' WHERE key = 'generation'")
    conn.execute("COMMIT")
    conn.close()
    (folder / "complete").touch()


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


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    value = call()
    return (time.perf_counter() - began) * 1e3, value


def bench_warm(folder: Path, tracks: int, queries: int, checks: int) -> dict[str, Any]:
    """Latencies in one process, and the cost to get there."""
    from lab.synthetic.drawings import things
    from vidmem.query.question import Question
    from vidmem.query.where import where

    began = time.perf_counter()
    synthetic(folder, tracks)
    made = time.perf_counter() - began
    rng = np.random.default_rng(1)
    words = [thing.name for thing in things()]
    asked = ["umbrella", *(words[i] for i in rng.permutation(len(words)))]
    shutil.rmtree(folder / "cache", ignore_errors=True)
    with Store.open(folder) as store:
        rebuild_ms, cache = timed(lambda: VectorCache(store))  # from SQLite, and written back
        probe = np.ones(cache.dim("text"), np.float32)
        index_ms, _ = timed(lambda: cache.range_search("text", probe, 0.9))
        del cache
        load_ms, cache = timed(lambda: VectorCache(store))
        del cache
    threshold = 0.6
    result: dict[str, Any] = {
        "tracks": tracks,
        "threshold": threshold,
        "made_s": round(made, 1),
        "rebuild_s": rebuild_ms / 1e3,
        "first_index_s": index_ms / 1e3,
        "load_from_file_s": load_ms / 1e3,
        "cache_bytes": sum(p.stat().st_size for p in (folder / "cache").rglob("*") if p.is_file()),
    }
    with Memory.open(folder, read_only=True) as memory:
        cache = memory.cache()
        calibration = memory.text_encoder.info.calibration
        for word in asked[:5]:
            memory.where(word)
            memory.where(word, threshold=threshold)
        plain: list[float] = []
        fixed: list[float] = []
        both: list[float] = []
        picture: list[float] = []
        for i in range(queries):
            word = asked[i % len(asked)]
            plain.append(timed(partial(memory.where, word))[0])
            fixed.append(timed(partial(memory.where, word, threshold=threshold))[0])
            text = memory.text_encoder.encode_text([word])[0]
            token = cache.reconstruct("visual", rng.integers(0, tracks, 1))[0]
            ask = partial(where, memory.store, cache, calibration)
            by_picture = Question(visual=token, threshold=0.6)
            by_both = Question(text=text, visual=token, threshold=0.1)
            picture.append(timed(partial(ask, by_picture))[0])
            both.append(timed(partial(ask, by_both))[0])
        for name, times in (("text_calibrated", plain), ("text", fixed), ("picture", picture), ("text_picture", both)):
            result[name] = {"p50_ms": quantile(times, 0.5), "p95_ms": quantile(times, 0.95), "queries": len(times)}
        result["p50_ms"] = max(result["text"]["p50_ms"], result["text_calibrated"]["p50_ms"])
        result["peak_rss"] = peak_rss()
        truth = brute(folder)
        matched: dict[str, list[int]] = {"text": [], "picture": [], "text_picture": []}
        for word in asked[:checks]:
            text = memory.text_encoder.encode_text([word])[0]
            token = cache.reconstruct("visual", rng.integers(0, tracks, 1))[0]
            read, seen = cosines(truth["text"], text), cosines(truth["visual"], token)
            matched["text"].append(check(memory.where(word, threshold=threshold, top=None), truth, read, threshold))
            answer = where(memory.store, cache, calibration, Question(visual=token, threshold=0.6), top=None)
            matched["picture"].append(check(answer, truth, seen, 0.6))
            question = Question(text=text, visual=token, threshold=0.1)
            answer = where(memory.store, cache, calibration, question, top=None)
            product = np.where((read > 0) & (seen > 0), read * seen, -1.0)
            matched["text_picture"].append(check(answer, truth, product, 0.1))
        result["checked"] = {
            kind: {"queries": len(n), "tracks_matched_median": statistics.median(n), "least": min(n), "most": max(n)}
            for kind, n in matched.items()
        }
        result["equal_to_brute_force"] = True
    return result
