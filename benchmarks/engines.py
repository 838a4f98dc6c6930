"""What approximate indexes miss: Lance's IVF_RQ and Milvus against the exact search of a memory.

`python -m benchmarks.engines --out benchmarks/out/engines.json`

Two memories: a synthetic one of 100,000 tracks, and the tokens of real clips. The questions are names and tokens of
tracks. Two recalls: of the threshold set, all tracks whose score reaches the calibrated threshold, and of the top 10.
Candidates of an index are refined by exact scores, so that only what is missed counts. Milvus is milvus-lite here,
pure Python on FAISS's indexes: its times are not those of a server.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.common import (
    CLIPS,
    OUT,
    ROOT,
    machine,
    markdown,
    mean,
    measured_on,
    memory_place,
    model,
    parser_for,
    put_into,
    quantile,
    say,
    table,
    write_json,
)
from benchmarks.query_memories import tracks_alone
from vidmem import Memory
from vidmem.engines.milvus import MilvusVectors
from vidmem.export.to_lance import to_lance
from vidmem.export.to_milvus import to_milvus
from vidmem.records import Float32
from vidmem.store.vectors import Kind, Rows, Vectors

K = 10
LANCE = {
    "20 lists": {"nprobes": 20},
    "20 lists, wider": {"nprobes": 20, "wider": 0.1},
    "64 lists, wider": {"nprobes": 64, "wider": 0.1},
    "all lists, wider": {"nprobes": 100_000, "wider": 0.1},
}
"""How the Lance table is asked. wider: what the range is widened by, since Lance compares codes with it."""
MILVUS = ("FLAT", "HNSW")
"""Indexes that milvus-lite has, of those that `vidmem export milvus` builds."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One question. kind: which vectors. vector: of unit length. threshold: calibrated."""

    kind: Kind
    vector: Float32
    threshold: float


def questions(memory: Memory, count: int, seed: int) -> list[Asked]:
    """Names that the encoder knows, and tokens of tracks, `count` of each."""
    rng = np.random.default_rng(seed)
    text, cache, calibration = memory.text_encoder, memory.cache(), memory.calibration
    known = sorted(name for name, other in (text.names() or {}).items() if not other)
    names = [known[i] for i in rng.choice(len(known), count, replace=False)]
    out = [Asked("text", vector, calibration.text_threshold) for vector in text.encode_text(names)]
    rows = rng.choice(len(cache), min(count, len(cache)), replace=False).astype(np.int64)
    tokens = cache.reconstruct("visual", rows)
    return out + [Asked("visual", v, calibration.visual_threshold) for v in tokens if v.any()]


Search = Callable[[Asked, int | None], Rows]
"""Rows that a way finds: the threshold set if the number is None, else the top of it."""


def exact(cache: Vectors) -> Search:
    """The search of the memory."""

    def search(asked: Asked, k: int | None) -> Rows:
        if k is None:
            return cache.range_search(asked.kind, asked.vector, asked.threshold)[0]
        return cache.top(asked.kind, asked.vector, k)[0]

    return search


def by_milvus(engine: MilvusVectors) -> Search:
    """As `vidmem where --engine` asks."""
    return exact(engine)


def by_lance(path: Path, cache: Vectors, nprobes: int, wider: float = 0.0) -> Search:
    """A table as LanceDB asks it; what it gives is refined by exact scores."""
    import lancedb

    opened: Any = lancedb.connect(path.parent).open_table(path.stem)

    def search(asked: Asked, k: int | None) -> Rows:
        query = opened.search(asked.vector, vector_column_name=asked.kind).distance_type("dot").nprobes(nprobes)
        if k is None:
            query = query.distance_range(None, 1 - asked.threshold + wider).limit(len(cache))
        else:
            query = query.refine_factor(10).limit(4 * k)
        found = query.select(["track", "_distance"]).to_arrow()
        rows = np.sort(cache.rows_of(found["track"].to_numpy().astype(np.int64)))
        scores = cache.scores(asked.kind, asked.vector, rows)
        if k is None:
            return rows[scores >= np.float32(asked.threshold)]
        return rows[np.lexsort((rows, -scores))[:k]]

    return search


def compared(asked: Sequence[Asked], truth: Search, search: Search) -> dict[str, Any]:
    """Recall of the threshold set and of the top K, false finds, and times in ms, of words and of pictures."""
    out: dict[str, Any] = {}
    for kind in ("text", "visual"):
        sets, tops, times, wanted_all, got_all, worst, wrong = [], [], [], 0, 0, 1.0, 0
        for one in (one for one in asked if one.kind == kind):
            wanted = truth(one, None)
            began = time.perf_counter()
            got = search(one, None)
            times.append(1000 * (time.perf_counter() - began))
            hit = len(np.intersect1d(wanted, got))
            wrong += len(got) - hit
            wanted_all, got_all = wanted_all + len(wanted), got_all + hit
            if len(wanted):
                sets.append(hit / len(wanted))
                worst = min(worst, sets[-1])
            best = truth(one, K)
            tops.append(len(np.intersect1d(best, search(one, K))) / max(1, len(best)))
        out[kind] = {
            "questions": len(times),
            "set": wanted_all,
            "set_recall": got_all / max(1, wanted_all),
            "set_recall_mean": mean(sets),
            "set_recall_worst": worst if sets else None,
            "false": wrong,
            f"recall_at_{K}": mean(tops),
            "range_p50_ms": quantile(times, 0.5) if times else None,
            "range_p95_ms": quantile(times, 0.95) if times else None,
        }
    return out


def measured(memory: Memory, count: int, folder: Path) -> dict[str, Any]:
    """All ways on one memory."""
    cache, record = memory.cache(), memory.store.model()
    assert record is not None
    asked, truth = questions(memory, count, 0), exact(cache)
    for one in asked[:2]:
        truth(one, None)  # the pages of the vectors are in memory from here on
    ways: dict[str, Any] = {"memory": compared(asked, truth, truth)}
    lance = folder / "tracks.lance"
    say("Lance, flat")
    with clocked() as seconds:
        to_lance(memory.query, str(lance), index=False)
    built = {"lance_write_s": seconds()}
    ways["Lance, flat"] = compared(asked, truth, by_lance(lance, cache, 1))
    with clocked() as seconds:
        to_lance(memory.query, str(lance), index=True)
    built["lance_index_s"] = seconds()
    built["lance_bytes"] = sum(file.stat().st_size for file in lance.rglob("*") if file.is_file())
    for name, options in LANCE.items():
        say(f"Lance, {name}")
        ways[f"Lance IVF_RQ, {name}"] = compared(asked, truth, by_lance(lance, cache, **cast(Any, options)))
    for index in MILVUS:
        say(f"Milvus, {index}")
        uri = str(folder / "vectors.db")
        with clocked() as seconds:
            to_milvus(memory.query, uri, index=index, replace=True)
        built[f"milvus_{index.lower()}_s"] = seconds()
        engine = MilvusVectors.open(f"milvus:{uri}", cache, record)
        few = [one for one in asked if one.kind == "text"][: max(1, count // 4)]
        few += [one for one in asked if one.kind == "visual"][: max(1, count // 4)]  # each takes it seconds
        ways[f"Milvus {index}"] = compared(few, truth, by_milvus(engine))
    return {"tracks": len(cache), "dims": [record.visual_dim, record.text_dim], "built": built, "ways": ways}


@contextmanager
def clocked() -> Iterator[Callable[[], float]]:
    """Gives the seconds that the block took."""
    began = time.perf_counter()
    ended: list[float] = []
    yield lambda: round((ended or [time.perf_counter()])[0] - began, 2)
    ended.append(time.perf_counter())


def real_memory(cache: Path, clips: Path) -> Path | None:
    """The memory of the clips that benchmarks/real.py also uses, indexed if it is not there; None without clips."""
    found = sorted(clips.glob("*.mp4"))
    if not found:
        return None
    folder = memory_place(cache, "real")
    with Memory.open(folder) as memory:
        if len(memory.sources()) < len(found):
            memory.index(found)
    return folder


def page(result: dict[str, Any]) -> str:
    """The tables of the guide."""
    parts = []
    for name, what in (("synthetic", "synthetic"), ("clips", "tokens of real clips")):
        found = result[name]
        if "ways" not in found:
            continue
        head = (
            f"{found['tracks']:,} tracks, {what}",
            *("words: set", "worst", f"top {K}"),
            *("pictures: set", "worst", f"top {K}"),
        )
        rows = [
            [
                way,
                *(
                    f"{value:.3f}"
                    for kind in ("text", "visual")
                    for value in (f[kind][w] for w in ("set_recall", "set_recall_worst", f"recall_at_{K}"))
                ),
            ]
            for way, f in found["ways"].items()
            if way != "memory"
        ]
        parts.append(markdown(head, rows))
    return "\n\n".join([*parts, measured_on(result["machine"])])


def main() -> int:
    parser = parser_for(__doc__, "--write puts its tables into the guide")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/guides/other-engines.md")
    parser.add_argument("--tracks", type=float, default=1e5, help="tracks of the synthetic memory (1e5)")
    parser.add_argument("--questions", type=int, default=50, help="questions by words, and by tokens (50)")
    parser.add_argument("--clips", type=Path, default=CLIPS, help="folder of the clips (../shared/data/clips)")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for the memories (benchmarks/out)")
    args: argparse.Namespace = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "model": model(), "k": K}
    synthetic = memory_place(args.cache, f"engines-{args.tracks:.0f}")
    tracks_alone(synthetic, int(args.tracks))
    folders = {"synthetic": synthetic, "clips": real_memory(args.cache, args.clips)}
    for name, place in folders.items():
        if place is None:
            result[name] = {"skipped": f"no clips in {args.clips}"}
            continue
        folder = Path(tempfile.mkdtemp(prefix="engines-"))
        try:
            with Memory.open(place, read_only=True) as memory:
                result[name] = measured(memory, args.questions, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        write_json(args.out, result)
        head = ("way", "words: set", "worst", f"top {K}", "ms", "pictures: set", "worst", f"top {K}", "ms")
        print(f"\n{name}: {result[name]['tracks']:,} tracks; {result[name]['built']}")
        print(
            table(
                head,
                [
                    [
                        way,
                        *(
                            found[kind][what]
                            for kind in ("text", "visual")
                            for what in ("set_recall", "set_recall_worst", f"recall_at_{K}", "range_p50_ms")
                        ),
                    ]
                    for way, found in result[name]["ways"].items()
                ],
            )
        )
    if args.write:
        put_into(ROOT / "docs" / "guides" / "other-engines.md", "engines", page(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
