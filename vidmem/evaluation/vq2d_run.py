"""A run of VQ2D, clip by clip: index a clip into a memory of its own, answer its queries, measure what it costs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import IndexConfig
from ..encoders import Encoder
from ..errors import UsageError
from ..export.trainset.show import cut
from ..indexer.pipeline import index_source
from ..media import Source
from ..memory import Memory
from ..query.paper import THRESHOLD
from .memories import opened
from .vq2d import Answered, answer
from .vq2d_files import Clip, Key, Response, VisualQuery
from .vq2d_media import open_clip
from .vq2d_online import answer_online, asked_in_time

LONGEST_NOTE = 300
"""Characters of a note about an answer; a title may have any number."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run answers.

    Attributes:
        config: Of the indexer.
        threshold: tau_sim, see `vq2d.answer`.
        online: Queries are answered while the clip is watched, see `vq2d_online`.
    """

    config: IndexConfig
    threshold: float = THRESHOLD
    online: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """What the clips of a run cost.

    Attributes:
        hours: Of video.
        tracks_per_hour: Tokens that the memories hold for an hour of video: one of each kind for a track.
        regions_per_hour: Tokens before those of several frames were joined into tracks.
        bytes_per_hour: Bytes of the memories' databases for an hour of video; what can be rebuilt is not counted.
        ms_per_query: Mean time of an answer, with the token of the crop.
        index_ratio: Time of indexing over that of the video; None if no clip was indexed in one go.
    """

    hours: float
    tracks_per_hour: float
    regions_per_hour: float
    bytes_per_hour: float
    ms_per_query: float
    index_ratio: float | None


def evaluate_clip(
    clip: Clip, videos: str | Path, memories: str | Path, encoder: Encoder, settings: Settings
) -> dict[str, Any]:
    """Index a clip and answer its valid queries.

    Args:
        clip: The clip.
        videos: Folder of the clips, or of the whole videos.
        memories: Folder in which each clip has a memory. Offline a memory that is there is used, and finished first if
            it is not complete; online it is made anew, since each frame is seen once.
        encoder: The encoder, which is shared by all clips.
        settings: How it answers.

    Returns:
        `answers` and `cost`, as plain data for the journal.

    Raises:
        MediaError: The clip is missing or cannot be read.
        UsageError: The memory is of another video.
        ModelMismatchError: The memory was made by another encoder or with other settings.
        StoreError: The memory cannot be written, or is damaged.
    """
    with open_clip(videos, clip) as source:
        folder = Path(memories, clip.name)
        if settings.online:
            shutil.rmtree(folder, ignore_errors=True)
        with opened(folder, encoder) as memory:
            others = [row.uri for row in memory.store.sources() if row.fingerprint != source.info.fingerprint]
            if others:
                raise UsageError(f"the memory holds another video ({others[0]}); choose another folder: {folder}")
            way = _online if settings.online else _offline
            answers, index_s = way(memory, source, clip.queries, settings)
            stats = memory.store.stats()
            cost = {
                "media_s": source.info.duration_ns / 1e9,
                "index_s": index_s,
                "frames": stats.frames,
                "tracks": stats.tracks,
                "regions": stats.regions,
                "bytes": stats.database_bytes,
            }
    return {"answers": answers, "cost": cost}


def _offline(
    memory: Memory, source: Source, queries: Sequence[VisualQuery], settings: Settings
) -> tuple[list[dict[str, Any]], float | None]:
    memory.store.set_model(memory.model_record(settings.config.as_dict()))
    report = index_source(source, memory.encoder, memory.store, settings.config)
    memory.store.settle()
    whole = report.new_frames == report.frames and report.new_frames > 0  # not gone on with after an interruption
    row = memory.store.source(source.info.uri)
    memory.query.cache()
    answers = [_timed(query, lambda q: answer(memory, row, q, threshold=settings.threshold)) for query in queries]
    return answers, report.seconds if whole else None


def _online(
    memory: Memory, source: Source, queries: Sequence[VisualQuery], settings: Settings
) -> tuple[list[dict[str, Any]], float | None]:
    began = time.perf_counter()
    answers = []
    for query in asked_in_time(memory, source, queries, settings.config):
        answers.append(_timed(query, lambda q: answer_online(memory, source, q, threshold=settings.threshold)))
    return answers, time.perf_counter() - began - sum(entry["ms"] for entry in answers) / 1000


def _timed(query: VisualQuery, ask: Any) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        found: Answered = ask(query)
    except UsageError as error:  # a title that the encoder cannot read
        found = Answered(None, note=str(error))
    ms = (time.perf_counter() - began) * 1000
    made = found.response
    return {
        "query": list(query.key),
        "first": None if made is None else made.first,
        "boxes": None if made is None else [[round(side, 2) for side in box] for box in made.boxes],
        "score": None if made is None else made.score,
        "selected": found.selected,
        "note": cut(found.note, LONGEST_NOTE),
        "ms": ms,
    }


def answered(results: Iterable[Mapping[str, Any]]) -> dict[Key, Response | None]:
    """The answers of clips, as `evaluate_clip` returned them."""
    return {(entry["query"][0], entry["query"][1]): _response(entry) for entry in _entries(results)}


def notes(results: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What was said about answers, by query; queries without a note are left out."""
    return {"/".join(entry["query"]): entry["note"] for entry in _entries(results) if entry["note"]}


def cost(results: Iterable[Mapping[str, Any]]) -> Cost:
    """What clips cost together. There must be one."""
    kept = list(results)
    costs = [result["cost"] for result in kept]
    hours = sum(each["media_s"] for each in costs) / 3600
    timed = [each for each in costs if each["index_s"] is not None]
    times = [entry["ms"] for entry in _entries(kept)]

    def per_hour(name: str) -> float:
        return float(sum(each[name] for each in costs)) / hours if hours else 0.0

    return Cost(
        hours=hours,
        tracks_per_hour=per_hour("tracks"),
        regions_per_hour=per_hour("regions"),
        bytes_per_hour=per_hour("bytes"),
        ms_per_query=sum(times) / len(times) if times else 0.0,
        index_ratio=sum(e["index_s"] for e in timed) / sum(e["media_s"] for e in timed) if timed else None,
    )


def _entries(results: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for result in results:
        yield from result["answers"]


def _response(entry: Mapping[str, Any]) -> Response | None:
    if entry["first"] is None:
        return None
    boxes = tuple((box[0], box[1], box[2], box[3]) for box in entry["boxes"])
    return Response(int(entry["first"]), boxes, float(entry["score"]))
