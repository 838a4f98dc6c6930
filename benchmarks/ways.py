"""What a user would otherwise do with the same backbone: one vector a frame, or one vector a patch.

The backbone is the view network of `tiny` (EfficientNet-Lite0). It sees each sampled frame as it sees a view: scaled to
192 pixels, on a square. Its last map of features has 6 x 6 places. A patch token is made of one place, a frame's vector
of their mean, both by the linear reduction that gives `tiny` its visual tokens. So all three ways have vectors of one
length in one space, and the same picture can be asked of each.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.real import QUERIES
from benchmarks.real_sheet import frame
from vidmem import Memory
from vidmem.encoders.onnx import cores, session
from vidmem.encoders.shipped import shipped
from vidmem.encoders.tiny.naming import roots
from vidmem.encoders.tiny.views import MODEL, SIDE, load, square
from vidmem.geometry import unit
from vidmem.media import decode_ahead, open_source
from vidmem.records import Float32, Frame, View

MAP = "head.relu6"
"""The last map of features in the network's file, before the mean over places."""
BATCH = 8


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What one video costs with one of these ways.

    Attributes:
        vectors: `(n, D)` fp16 unit rows, in order of time.
        times: `(n,)` int64, the time of each vector's frame in ns.
        frames: Number of sampled frames.
        seconds: Time to decode, encode and write.
        disk_bytes: Of the vectors and times on disk.
    """

    vectors: NDArray[np.float16]
    times: NDArray[np.int64]
    frames: int
    seconds: float
    disk_bytes: int


class Backbone:
    """The view network on whole frames. workers: calls side by side, with one thread each."""

    def __init__(self, workers: int | None = None) -> None:
        import onnx

        self._views = load()
        graph = onnx.load_from_string(shipped(MODEL))
        graph.graph.output.append(onnx.helper.make_tensor_value_info(MAP, onnx.TensorProto.FLOAT, None))
        self._net = session(graph.SerializeToString(), "the view network of `tiny`", inputs=("pixels",), outputs=(MAP,))
        self.workers = min(cores(), 4) if workers is None else workers

    def tokens(self, images: Sequence[NDArray[np.uint8]], patches: bool) -> Float32:
        """Unit tokens of pictures `(h, w, 3)`: `(n, 1, D)` of whole frames, or `(n, 36, D)` of patches."""

        (found,) = self._net.run([MAP], {"pixels": np.stack([square(image) for image in images])})
        places = found.reshape(*found.shape[:2], -1).transpose(0, 2, 1)
        return self._reduced(places if patches else places.mean(1, keepdims=True))

    def _reduced(self, features: Float32) -> Float32:

        return unit(np.asarray((roots(features) - self._views.naming.mean) @ self._views.visual, np.float32))

    def index(self, video: Path, out: Path, patches: bool, fps: float = 5.0) -> Told:
        """Index a video in one of these ways, as `vidmem index` does: one thread decodes, others encode."""

        began = time.perf_counter()
        held: list[NDArray[np.float16]] = []
        times: list[int] = []
        with open_source(video) as source, ThreadPoolExecutor(self.workers) as pool:
            frames = decode_ahead(source.frames(fps, shape=_small), 2 * BATCH)
            with closing(frames):
                batches = _batches(frames)
                while some := list(islice(batches, self.workers)):
                    for found in pool.map(lambda batch: self.tokens([f.image for f in batch], patches), some):
                        held += [one.astype("<f2") for one in found]
                    times += [frame.t_ns for batch in some for frame in batch]
        vectors = np.concatenate(held)
        every = np.repeat(np.array(times, np.int64), len(vectors) // len(times))
        np.savez(out, vectors=vectors, times=every)
        seconds = time.perf_counter() - began
        return Told(vectors, every, len(times), seconds, out.stat().st_size)


def _small(width: int, height: int) -> tuple[int, int]:
    """The size at which a frame is decoded: no more than the network takes."""

    scale = min(1.0, SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _batches(frames: Iterator[Frame]) -> Iterator[list[Frame]]:
    while batch := list(islice(frames, BATCH)):
        yield batch


TELLS = {
    "vidmem": "what, when, where, for how long",
    "one vector a frame": "when something like it was in the picture",
    "one vector a patch": "when, and roughly where",
}


def compared(clips: Sequence[Path], folder: Path, rounds: int) -> dict[str, Any]:
    """What three ways keep of the real clips, and how many of 24 pictures they find again.

    The pictures were cut from the clips by hand (real_queries.json). Right is a record, the one with the highest
    cosine, in the right clip and at a time at which a person sees the thing. It is all that one vector a frame can say.

    Args:
        clips: The files.
        folder: For what is kept.
        rounds: How often the clips are indexed, the ways in turns. The median processor time
            counts, of all threads.
    """
    backbone = Backbone()
    seconds: dict[str, list[float]] = {way: [] for way in TELLS}
    bytes_of, count = dict.fromkeys(TELLS, 0), dict.fromkeys(TELLS, 0)
    told: dict[str, list[tuple[str, Told]]] = {}
    media_s = 0.0
    for number in range(rounds):
        place = folder / f"memory-{number}"
        with Memory.open(place) as memory:
            _ = memory.encoder.views
            began = time.process_time()
            reports = memory.index(clips)
            seconds["vidmem"].append(time.process_time() - began)
            memory.store.settle()
            count["vidmem"] = len(memory.cache())
            stats = memory.stats()
            bytes_of["vidmem"] = stats.database_bytes + stats.cache_bytes
            media_s = sum(report.media_s for report in reports)
        for way in list(TELLS)[1:]:
            began = time.process_time()
            told[way] = [
                (clip.name, backbone.index(clip, folder / f"{clip.stem}.npz", way.endswith("patch"))) for clip in clips
            ]
            seconds[way].append(time.process_time() - began)
            bytes_of[way] = sum(one.disk_bytes for _, one in told[way])
            count[way] = sum(len(one.vectors) for _, one in told[way])
    right, questions = _right(clips, folder / "memory-0", told)
    hours = media_s / 3600
    return {
        "media_s": media_s,
        "questions": questions,
        "ways": {
            way: {
                "index_s_a_minute": statistics.median(seconds[way]) / (media_s / 60),
                "all_s": seconds[way],
                "vectors_an_hour": count[way] / hours,
                "bytes_an_hour": bytes_of[way] / hours,
                "right": right[way],
                "tells": TELLS[way],
            }
            for way in TELLS
        },
    }


def _right(clips: Sequence[Path], folder: Path, told: dict[str, list[tuple[str, Told]]]) -> tuple[dict[str, int], int]:
    """How many questions each way answers rightly, and the number of questions."""
    files = {clip.name: clip for clip in clips}
    known = json.loads(QUERIES.read_text("utf-8"))["queries"]
    queries = [query for query in known if query["clip"] in files]
    right = dict.fromkeys(TELLS, 0)
    views = load()
    with Memory.open(folder, read_only=True) as memory:
        cache = memory.cache()
        names = {row.id: Path(row.uri).name for row in memory.sources()}
        for query in queries:
            picture = frame(files[query["clip"]], query["t_s"]).crop(query["box"])
            token = views.look([_view(np.asarray(picture))]).visual[0]
            for way, some in told.items():
                _, clip, t_ns = max(
                    (float(score.max()), name, int(one.times[score.argmax()]))
                    for name, one in some
                    for score in [one.vectors.astype(np.float32) @ token]
                )
                right[way] += clip == query["clip"] and _seen(query, t_ns)
            rows, _ = cache.top("visual", token, 1)
            (track,) = memory.store.tracks(cache.columns_of(rows).ids.tolist())
            right["vidmem"] += names[track.source_id] == query["clip"] and _seen(query, track.best_ns)
    return right, len(queries)


def _view(image: NDArray[np.uint8]) -> View:
    height, width = image.shape[:2]
    return View(image, (0, 0, width, height), (width, height), 0, np.zeros(0, np.float32), 1.0, 1.0)


def _seen(query: dict[str, Any], t_ns: int) -> bool:
    return any(first - 0.3 <= t_ns / 1e9 <= last + 0.3 for first, last in query["spans"])
