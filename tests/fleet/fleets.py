"""Memories of random things, and the same sources split over the shards of a fleet."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from store.making import DT, DV, MODEL, add

from vidmem.fleet.catalogue import Catalogue
from vidmem.fleet.sealing import seal
from vidmem.fleet.shards import Shards
from vidmem.fleet.store import FleetStore
from vidmem.records import Float32, FrameRegions, SourceInfo, SourceKind, Track
from vidmem.store import PICTURE_NS, Picture, PictureFile, SourceRow, Store
from vidmem.store.files import SEAL_NAME
from vidmem.timecode import NS

NOON = 1_800_000_000 * NS
THINGS = 6


@dataclass(frozen=True)
class Made:
    """A source with what is seen in it."""

    info: SourceInfo
    tracks: list[Track]
    frames: list[FrameRegions]
    cuts: list[int]
    more: dict[str, Any]


def directions(seed: int, dim: int) -> Float32:
    """Unit vectors of THINGS things."""
    made = np.random.default_rng([seed, dim]).standard_normal((THINGS, dim))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def like(rng: np.random.Generator, vector: Float32, spread: float) -> Float32:
    made = vector + spread * rng.standard_normal(len(vector)) / len(vector) ** 0.5
    return np.asarray(made / np.linalg.norm(made), np.float32)


def film(seed: int, number: int, things: Sequence[int], *, dated: bool = True) -> Made:
    """A film of a minute with some of the things, each in view now and then."""
    rng = np.random.default_rng([seed, number])
    looks, names = directions(seed, DV), directions(seed, DT)
    tracks, seen = [], []
    for ordinal, thing in enumerate(rng.choice(things, int(rng.integers(1, 9)))):
        start = int(rng.integers(0, 50))
        end = start + int(rng.integers(1, 9))
        x, y = (float(v) for v in rng.integers(0, 400, 2))
        box = (x, y, x + float(rng.integers(20, 200)), y + float(rng.integers(20, 200)))
        blank = rng.random() < 0.05
        tracks.append(
            Track(
                ordinal=ordinal,
                start_ns=start * NS,
                end_ns=end * NS,
                frames=end - start + 1,
                visual=np.zeros(DV, np.float32) if blank else like(rng, looks[thing], 0.4),
                text=np.zeros(DT, np.float32) if blank else like(rng, names[thing], 0.5),
                best_ns=(start + 1) * NS,
                best_box=box,
                confidence=0.5,
                text_confidence=float(rng.choice([1.0, 1.0, 0.8])),
            )
        )
        seen.append((start, end, box))
    frames = []
    for t in range(60):
        here = [i for i, (start, end, _) in enumerate(seen) if start <= t <= end]
        if here:
            boxes = np.array([seen[i][2] for i in here], np.float32)
            frames.append(FrameRegions(t * NS, np.array(here, np.int64), boxes, np.ones((len(here), 3, 4), bool)))
    start_ns = NOON + int(rng.integers(0, 600)) * NS if dated else None
    info = SourceInfo(f"/films/{number}.mp4", SourceKind.VIDEO, 640, 480, 60 * NS, f"film {number}", start_ns=start_ns)
    return Made(info, tracks, frames, sorted({int(t) * NS for t in rng.integers(1, 59, 2)}), {})


def album(seed: int, number: int) -> Made:
    """A folder of photos."""
    rng = np.random.default_rng([seed, number])
    looks, names = directions(seed, DV), directions(seed, DT)
    tracks, pictures, files = [], [], []
    for i in range(5):
        t_ns = i * PICTURE_NS
        taken = NOON + int(rng.integers(0, 600)) * NS
        pictures.append(Picture(t_ns, bytes([number, i]) * 16, 64, 48, taken, "exif"))
        files.append(PictureFile(f"{i}.jpg", 1, 1, t_ns))
        for thing in rng.choice(THINGS, 2, replace=False):
            box = (4.0, 5.0, 40.0, 41.0)
            look, name = like(rng, looks[thing], 0.3), like(rng, names[thing], 0.3)
            tracks.append(Track(len(tracks), t_ns, t_ns, 1, look, name, t_ns, box, confidence=0.5))
    info = SourceInfo(f"/photos/{number}", SourceKind.PICTURES, 0, 0, 0, f"album {number}")
    return Made(info, tracks, [], [], {"files": files, "pictures": pictures})


def write(folder: Path, sources: Sequence[Made]) -> None:
    with Store.open(folder, create=True) as store:
        store.set_model(MODEL)
        for made in sources:
            row = store.begin_source(made.info)
            add(store, row.id, made.tracks, made.frames, state="done", cuts=made.cuts, **made.more)


def fleet(folder: Path, parts: Sequence[Sequence[Made]]) -> Path:
    """A catalogue of a sealed memory for each of the parts."""
    path = folder / "house.catalogue"
    with Catalogue.open(str(path), create=True) as catalogue:
        for number, sources in enumerate(parts):
            at = folder / f"{number}.memory"
            write(at, sources)
            catalogue.add(seal(at), str(at))
    return path


def opened(path: Path) -> FleetStore:
    catalogue = Catalogue.open(str(path))
    return FleetStore(catalogue, Shards(catalogue, path.parent / "copies"))


def same_ids(one: Store, fleet: FleetStore) -> tuple[dict[int, int], dict[int, int]]:
    """The ids of tracks and of sources in a fleet, by those in one memory of the same sources."""
    tracks, sources = {}, {}
    rows: dict[str, SourceRow] = {row.uri: row for row in fleet.sources()}
    for row in one.sources():
        sources[row.id] = rows[row.uri].id
        theirs = {track.ordinal: track.id for track in fleet.source_tracks(rows[row.uri].id)}
        tracks |= {track.id: theirs[track.ordinal] for track in one.source_tracks(row.id)}
    return tracks, sources


def renamed(info: SourceInfo, uri: str) -> SourceInfo:
    return replace(info, uri=uri)


def linked_fleet(folder: Path, count: int) -> Path:
    """A catalogue of many shards of one film each: hard links to one, with manifests of their own."""
    made = folder / "made.memory"
    write(made, [film(30, 0, [0])])
    sealed = seal(made)
    path = folder / "house.catalogue"
    with Catalogue.open(str(path), create=True) as catalogue:
        for number in range(count):
            at = folder / f"{number}.memory"
            ignored = shutil.ignore_patterns(SEAL_NAME, "*.lock", "lock")
            shutil.copytree(made, at, copy_function=os.link, ignore=ignored)
            own = tuple(replace(one, row=replace(one.row, uri=f"/films/{number}.mp4")) for one in sealed.sources)
            manifest = replace(sealed, sources=own).named()
            (at / SEAL_NAME).write_bytes(manifest.text())
            catalogue.add(manifest, str(at))
    return path
