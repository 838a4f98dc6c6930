"""The process of one way of searching, which peers.py starts:

    python -m benchmarks._peer build|serve WAY FOLDER THREADS

`build` makes the index from FOLDER/vectors.npy `(n, D)` fp16, or for `vidmem` the vector cache from the memory in
FOLDER/memory, and writes it. `serve` loads what was written, then answers each line "OPERATION NUMBER" of stdin with
one of FOLDER/questions.npy `(q, D)` float32. Both print lines of JSON.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

K = 10
THRESHOLD = 0.6
"""Minimum cosine in `all` and `where`: of the synthetic tracks those of one clump, a few of a hundred thousand."""

Answer = Callable[[NDArray[np.float32]], Any]
"""Takes a question `(D,)`, returns the rows found."""


class Way(ABC):
    """A way of searching. folder: see the module."""

    file = ""

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder, self.threads = folder, threads
        self.path = folder / self.file

    def vectors(self) -> NDArray[np.float16]:
        """All vectors `(n, D)`, mapped."""
        return np.asarray(np.load(self.folder / "vectors.npy", mmap_mode="r"))

    def disk_bytes(self) -> int:
        """Of what `build` wrote."""
        return self.path.stat().st_size

    @abstractmethod
    def prepare(self) -> None:
        """Import what it needs."""

    @abstractmethod
    def build(self) -> None:
        """Make the index and write it."""

    @abstractmethod
    def load(self) -> dict[str, Answer]:
        """Load it; return the operations."""


class Vidmem(Way):
    """The search of vidmem: `top` and `all` score; whole answers are `where` and `likely` (to a picture), `words` (to a
    word) and `both`."""

    def prepare(self) -> None:
        import faiss  # noqa: F401

        from vidmem import Memory  # noqa: F401
        from vidmem.query.where import where  # noqa: F401

    def disk_bytes(self) -> int:
        return (self.folder / "memory" / "cache" / "vectors.bin").stat().st_size

    def build(self) -> None:
        from vidmem.store import Store, VectorCache

        shutil.rmtree(self.folder / "memory" / "cache", ignore_errors=True)
        with Store.open(self.folder / "memory") as store:
            cache = VectorCache(store)
            cache.top("visual", np.ones(cache.dim("visual"), np.float32), K)

    def load(self) -> dict[str, Answer]:
        from vidmem import Memory
        from vidmem.query.asking import phrases_of
        from vidmem.query.question import Question
        from vidmem.query.where import where

        memory = Memory.open(self.folder / "memory", read_only=True)
        cache, calibration = memory.cache(), memory.calibration
        words = list(memory.text_encoder.names())[::40]
        phrases = phrases_of(memory.text_encoder, words)

        def ask(question: Question) -> None:
            where(memory.store, cache, calibration, question)

        def ask_word(question: NDArray[np.float32]) -> None:
            memory.where(words[int(abs(float(question[0])) * 1e6) % len(words)])

        def ask_both(question: NDArray[np.float32]) -> None:
            phrase = phrases[int(abs(float(question[0])) * 1e6) % len(phrases)]
            ask(Question(text=phrase.text, visual=question, contrast=phrase.contrast))

        return {
            "top": lambda q: cache.top("visual", q, K)[0],
            "all": lambda q: cache.range_search("visual", q, THRESHOLD)[0],
            "where": lambda q: ask(Question(visual=q, threshold=THRESHOLD)),
            "likely": lambda q: ask(Question(visual=q)),
            "words": ask_word,
            "both": ask_both,
        }


class Faiss(Way):
    """A flat index. codec: of its scalar quantizer, None for float32."""

    file, codec = "flat.faiss", ""

    def prepare(self) -> None:
        import faiss

        faiss.omp_set_num_threads(self.threads)

    def build(self) -> None:
        import faiss

        half = self.vectors()
        index: Any = faiss.IndexFlatIP(half.shape[1])
        if self.codec:
            quantizer = getattr(faiss.ScalarQuantizer, self.codec)
            index = faiss.IndexScalarQuantizer(half.shape[1], quantizer, faiss.METRIC_INNER_PRODUCT)
            index.train(half[:1000].astype(np.float32))
        for start in range(0, len(half), 1 << 17):
            index.add(half[start : start + (1 << 17)].astype(np.float32))
        faiss.write_index(index, str(self.path))

    def load(self) -> dict[str, Answer]:
        import faiss

        index = faiss.read_index(str(self.path))
        return {
            "top": lambda q: index.search(q[None], K)[1][0],
            "all": lambda q: index.range_search(q[None], THRESHOLD)[2],
        }


class FaissHalf(Faiss):
    """A flat index of fp16."""

    file, codec = "half.faiss", "QT_fp16"


class UsearchExact(Way):
    """Exact search of an fp16 matrix."""

    file = "vectors.npy"

    def prepare(self) -> None:
        import usearch.index  # noqa: F401

    def build(self) -> None:
        np.asarray(self.vectors())  # the matrix is the index

    def load(self) -> dict[str, Answer]:
        from usearch.index import search

        half = np.load(self.path)
        return {
            "top": lambda q: search(half, q.astype(np.float16), K, "ip", exact=True, threads=self.threads).keys.ravel()
        }


class UsearchGraph(Way):
    """HNSW over fp16, with the library's own settings: 16 neighbours, 128 looked at to add one, 64 to search."""

    file = "graph.usearch"

    def prepare(self) -> None:
        import usearch.index  # noqa: F401

    def build(self) -> None:
        from usearch.index import Index

        half = self.vectors()
        index = Index(ndim=half.shape[1], metric="ip", dtype="f16")
        index.add(np.arange(len(half), dtype=np.uint64), np.asarray(half), threads=self.threads)
        index.save(str(self.path))

    def load(self) -> dict[str, Answer]:
        from usearch.index import Index

        index = Index.restore(str(self.path))
        assert index is not None
        return {"top": lambda q: index.search(q.astype(np.float16), K).keys.ravel()}


class Numpy(Way):
    """A product with the matrix, and a partial sort."""

    file = "float.npy"
    dtype: Any = np.float32

    def prepare(self) -> None:
        pass

    def build(self) -> None:
        np.save(self.path, self.vectors().astype(self.dtype))

    def load(self) -> dict[str, Answer]:
        matrix = np.load(self.path)

        def top(question: NDArray[np.float32]) -> Any:
            scores = matrix @ question.astype(self.dtype)
            best = np.argpartition(scores, -min(K, len(scores)))[-K:]
            return best[np.argsort(-scores[best])]

        return {"top": top, "all": lambda q: np.flatnonzero(matrix @ q.astype(self.dtype) >= THRESHOLD)}


class NumpyHalf(Numpy):
    """The same in fp16."""

    file, dtype = "half.npy", np.float16


WAYS: dict[str, type[Way]] = {
    "vidmem": Vidmem,
    "faiss flat": Faiss,
    "faiss SQfp16": FaissHalf,
    "usearch exact": UsearchExact,
    "usearch HNSW": UsearchGraph,
    "numpy fp32": Numpy,
    "numpy fp16": NumpyHalf,
}


def rss() -> int:
    """The RAM of this process now, in bytes."""
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def main() -> None:
    task, name, folder, threads = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    way = WAYS[name](folder, threads)
    way.prepare()
    questions = np.load(folder / "questions.npy")
    began = time.perf_counter()
    if task == "build":
        way.build()
        say(build_s=time.perf_counter() - began, disk_bytes=way.disk_bytes())
        return
    before = rss()
    operations = way.load()
    operations["top"](questions[0])
    ready = time.perf_counter() - began
    for answer in operations.values():
        answer(questions[0])
    say(load_s=ready, rss_bytes=rss() - before, operations=list(operations))
    for line in sys.stdin:
        operation, number = line.rsplit(" ", 1)
        question = questions[int(number)]
        began = time.perf_counter()
        found = operations[operation](question)
        took = time.perf_counter() - began
        say(ms=1e3 * took, rows=None if found is None else np.asarray(found)[:K].tolist())


if __name__ == "__main__":
    main()
