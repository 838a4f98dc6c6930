"""Synthetic memories of real size for query.py, written by the Store: frames with regions, tracks, single pictures.
Text tokens lie about the vectors of names, visual tokens in clumps, masks are ellipses that drift.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import blank_memory, say
from vidmem.geometry import unit
from vidmem.records import Box, Float32, FrameRegions, SourceInfo, SourceKind, Track
from vidmem.store import PICTURE_NS, Checkpoint, Picture, PictureFile, Store
from vidmem.store.fp16 import vectors_crc
from vidmem.timecode import NS

GRID = (16, 28)
WIDTH, HEIGHT = 1280, 720
FPS = 5
CHECKPOINT = 48
NAMED = 0.1
"""Share of tracks that are clearly a thing with a name; about 150 of each name at a million."""


class Tokens:
    """Draws random visual and text tokens."""

    def __init__(self, rng: np.random.Generator, names: Float32, dim: int) -> None:
        self._rng, self._names = rng, names
        self._clumps = unit(rng.standard_normal((2000, dim), dtype=np.float32))

    def draw(self, n: int) -> tuple[Float32, Float32]:
        rng = self._rng
        strength = np.where(rng.random(n) < NAMED, rng.uniform(0.5, 0.95, n), rng.uniform(0, 0.35, n))[:, None]
        noise = unit(rng.standard_normal((n, self._names.shape[1]), dtype=np.float32))
        named = self._names[rng.integers(0, len(self._names), n)]
        text = unit((strength * named + (1 - strength**2) ** 0.5 * noise).astype(np.float32))
        dim = self._clumps.shape[1]
        visual = self._clumps[rng.integers(0, len(self._clumps), n)] + 0.09 * rng.standard_normal((n, dim))
        return unit(visual.astype(np.float32)), text


def ellipses(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The cells `(n, *GRID)` in the ellipse of each box `(n, 4)`; at least the middle one."""
    h, w = GRID
    x, y = (np.arange(w) + 0.5) * WIDTH / w, (np.arange(h) + 0.5) * HEIGHT / h
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    dx = (x[None] - centre[:, :1]) / half[:, :1]
    dy = (y[None] - centre[:, 1:]) / half[:, 1:]
    masks: NDArray[np.bool_] = dx[:, None, :] ** 2 + dy[:, :, None] ** 2 <= 1
    middle = np.clip(centre / (WIDTH, HEIGHT) * (w, h), 0, (w - 1, h - 1)).astype(int)
    masks[np.arange(len(boxes)), middle[:, 1], middle[:, 0]] = True
    return masks


def draw_boxes(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    side = np.exp(rng.uniform(np.log(40), np.log(400), n))
    size = np.stack([side, side * rng.uniform(0.6, 1.4, n)], axis=1)
    centre = rng.uniform((0, 0), (WIDTH, HEIGHT), (n, 2))
    low = np.clip(centre - size / 2, 0, (WIDTH - 40, HEIGHT - 40))
    return np.concatenate([low, np.clip(low + size, low + 24, (WIDTH, HEIGHT))], axis=1)


def film(
    store: Store, tokens: Tokens, rng: np.random.Generator, name: str, frames: int, tracks: int, in_view: float
) -> None:
    """One video: `tracks` tracks over `frames` frames, `in_view` of them in each on average."""
    length = np.maximum(1, rng.exponential(in_view * frames / tracks, tracks)).astype(int)
    start = np.sort(rng.integers(0, frames, tracks))
    end = np.minimum(start + length, frames)
    boxes, drift = draw_boxes(rng, tracks), rng.normal(0, 3, (tracks, 2))
    visual, text = tokens.draw(tracks)
    duration = frames * NS // FPS
    row = store.begin_source(SourceInfo(f"/synthetic/{name}.mp4", SourceKind.VIDEO, WIDTH, HEIGHT, duration, name))
    for first in range(0, frames, CHECKPOINT):
        last = min(first + CHECKPOINT, frames)
        born = range(*np.searchsorted(start, [first, last]).tolist())
        live = np.flatnonzero((start < last) & (end > first))
        held = list(_frames(first, last, live, start, end, boxes, drift))
        kept = [
            _track(
                i,
                int(start[i]) * NS // FPS,
                int(end[i] - 1) * NS // FPS,
                int(end[i] - start[i]),
                visual[i],
                text[i],
                boxes[i],
            )
            for i in born
        ]
        store.checkpoint(
            row.id,
            Checkpoint(
                next_t_ns=last * NS // FPS,
                frames_done=last,
                state="done" if last == frames else "open",
                tracks=kept,
                frames=held,
            ),
        )


def _frames(
    first: int,
    last: int,
    live: NDArray[np.intp],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    boxes: NDArray[np.float64],
    drift: NDArray[np.float64],
) -> Iterator[FrameRegions]:
    for number in range(first, last):
        here = live[(start[live] <= number) & (number < end[live])]
        moved = boxes[here] + np.tile(drift[here] * (number - start[here])[:, None], 2)
        moved = np.clip(moved, 0, (WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        yield FrameRegions(number * NS // FPS, here.astype(np.int64), moved.astype(np.float32), ellipses(moved))


def _track(
    ordinal: int, start_ns: int, end_ns: int, frames: int, visual: Float32, text: Float32, box: NDArray[np.float64]
) -> Track:
    x0, y0, x1, y1 = map(float, box)
    evidence: Box = (x0, y0, x1, y1)
    return Track(ordinal, start_ns, end_ns, frames, visual, text, start_ns, evidence)


def pictures(store: Store, tokens: Tokens, rng: np.random.Generator, count: int, regions: int) -> None:
    """A folder of single pictures with this many regions each."""
    row = store.begin_source(SourceInfo("/synthetic/photos", SourceKind.PICTURES, 0, 0, 0, "photos"))
    for first in range(0, count, CHECKPOINT):
        last = min(first + CHECKPOINT, count)
        files, held, tracks, frames = [], [], [], []
        for number in range(first, last):
            t_ns = number * PICTURE_NS
            boxes = draw_boxes(rng, regions)
            visual, text = tokens.draw(regions)
            ordinal = number * regions
            files.append(PictureFile(f"{number // 1000:03d}/{number:06d}.jpg", 100_000, 1, t_ns))
            held.append(Picture(t_ns, number.to_bytes(32, "big"), WIDTH, HEIGHT))
            tracks += [_track(ordinal + i, t_ns, t_ns, 1, visual[i], text[i], boxes[i]) for i in range(regions)]
            ordinals = np.arange(ordinal, ordinal + regions)
            frames.append(FrameRegions(t_ns, ordinals, boxes.astype(np.float32), ellipses(boxes)))
        store.checkpoint(
            row.id,
            Checkpoint(
                next_t_ns=last * PICTURE_NS,
                frames_done=last,
                state="done" if last == count else "open",
                tracks=tracks,
                frames=frames,
                files=files,
                pictures=held,
            ),
        )


def make(folder: Path, seed: int, films: Sequence[tuple[int, int, float]], photos: tuple[int, int] = (0, 0)) -> None:
    """A memory of the current weights in `folder`, unless it exists.

    Films are given as (frames, tracks, in view), folders as (pictures, regions each).
    """
    blank = blank_memory(folder)
    if blank is None:
        return
    memory, record = blank
    rng = np.random.default_rng(seed)
    with memory:
        encoder: Any = memory.text_encoder
        tokens = Tokens(rng, encoder.contrast_vectors, record.visual_dim)
        for number, (frames, tracks, in_view) in enumerate(films):
            film(memory.store, tokens, rng, f"{number:03d}", frames, tracks, in_view)
            say(f"made film {number + 1} of {len(films)}")
        if photos[0]:
            pictures(memory.store, tokens, rng, *photos)
        memory.cache()
    (folder / "complete").touch()


Draw = Callable[[int], tuple[Float32, Float32]]
"""Gives visual and text tokens of n tracks, `(n, Dv)` and `(n, Dt)`."""


def tracks_alone(
    folder: Path,
    tracks: int,
    sources: int = 25,
    seed: int = 0,
    films: Sequence[SourceInfo] = (),
    draw: Draw | None = None,
) -> None:
    """A memory of `tracks` tracks without regions, unless it exists: spans of seconds in recordings of four hours.

    The rows are written with the Store's own SQL in one transaction: a million take 12 seconds.

    Args:
        folder: Of the memory.
        tracks: How many.
        sources: How many recordings without a file they are from.
        seed: Of all that is drawn.
        films: Recordings that are files, of four hours each, in place of those.
        draw: Gives the tokens, source by source; by default those of `Tokens`.
    """
    blank = blank_memory(folder)
    if blank is None:
        return
    memory, record = blank
    rng = np.random.default_rng(seed)
    with memory:
        encoder: Any = memory.text_encoder
        tokens = Tokens(rng, encoder.contrast_vectors, record.visual_dim)
        ids = []
        hours = 4 * 3600 * NS
        infos = films or [
            SourceInfo(f"/synthetic/{number:03d}.mp4", SourceKind.VIDEO, 1280, 720, hours, f"synthetic-{number}")
            for number in range(sources)
        ]
        for info in infos:
            row = memory.store.begin_source(info)
            memory.store.checkpoint(row.id, Checkpoint(next_t_ns=hours, frames_done=4 * 3600 * 5, state="done"))
            ids.append(row.id)
    conn = sqlite3.connect(folder / "memory.sqlite", isolation_level=None)
    conn.execute("PRAGMA synchronous = OFF")
    conn.execute("BEGIN")
    per_source = -(-tracks // len(ids))
    done = 0
    for source in ids:
        n = min(per_source, tracks - done)
        start = np.sort(rng.integers(0, hours - 120 * NS, n))
        end = start + (np.clip(rng.lognormal(1.0, 1.0, n), 0, 100) * NS).astype(np.int64)
        visual, text = (draw or tokens.draw)(n)
        half, named = visual.astype("<f2"), text.astype("<f2")
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
                (looks := half[i].tobytes()),
                (words := named[i].tobytes()),
                vectors_crc(looks, words),
                source,
                i,
            )
            for i in range(n)
        )
        conn.executemany(
            "INSERT INTO tracks (start_ns, end_ns, frames, best_ns, x0, y0, x1, y1, generation, visual, text, crc,"
            " source_id, ordinal) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        done += n
    conn.execute("UPDATE meta SET value = '1' WHERE key = 'generation'")
    conn.execute("COMMIT")
    conn.close()
    (folder / "complete").touch()
