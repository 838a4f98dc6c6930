"""What `tiny` learns from, as batches: drawn scenes, frames of worlds, photographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from ..world.drawings import Drawing, load_drawings
from .photo.names import Names
from .photo.photos import Photo
from .photo.scenes import PhotoScenes, cutouts
from .photo.teacher import load_cache
from .scenes import Scene, SceneMaker, load_photos, make_rooms
from .world_scenes import WorldScenes

Batch = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Shares:
    """How many of the scenes are of which kind; what is left is drawn. outlines_only: see PhotoScenes. near: see
    SceneMaker."""

    worlds: float = 0.25
    photos: float = 0.45
    outlines_only: bool = False
    near: float = 0.2


class Material:
    """All that scenes are made of, read once and shared by the workers.

    data: a folder with caltech101.tar, photos.tar, clips/ (or None); kept: the teacher's cache (see photo/teacher.py);
    worlds: a folder of frames of worlds (or None); rooms: how many empty rooms to make for backgrounds.
    """

    def __init__(self, names: Names, data: Path | None, kept: Path | None, worlds: Path | None, rooms: int = 0) -> None:
        self.names, self.worlds = names, worlds
        self.rooms: Sequence[Image.Image] = make_rooms(rooms)
        self.backgrounds: Sequence[Image.Image] = load_photos(data / "caltech101.tar", 600) if data else []
        self.photos: list[Photo] = []
        self.crops: dict[str, Any] = {"boxes": np.zeros((0, 4)), "owners": np.zeros(0), "answers": np.zeros((0, 1000))}
        self.cutouts: list[Drawing] = []
        if data and kept:
            self.photos, self.crops = load_cache(data, kept)
            self.cutouts = cutouts(self.photos)

    def scenes(self, seed: int, shares: Shares) -> Iterator[Scene]:
        """An endless, seeded stream."""
        maker = SceneMaker(load_drawings(), self.names.label, self.backgrounds, seed, self.rooms, self.cutouts,
                           shares.near)  # fmt: skip
        frames = WorldScenes(self.worlds, load_drawings(), self.names.label, seed) if self.worlds else None
        photos = None
        if self.photos:
            photos = PhotoScenes(self.photos, self.crops, self.names, seed, shares.outlines_only)
        while True:
            draw = maker.rng.random()
            if photos and draw < shares.photos:
                yield photos.scene()
            elif frames and 0 <= draw - shares.photos < shares.worlds:
                yield frames.scene()
            else:
                yield maker.scene()


class Scenes(IterableDataset):  # type: ignore[type-arg]
    """Scenes for a DataLoader; every worker has a seed of its own."""

    def __init__(self, material: Material, seed: int, shares: Shares) -> None:
        self.material, self.seed, self.shares = material, seed, shares

    def __iter__(self) -> Iterator[Scene]:
        info = torch.utils.data.get_worker_info()
        torch.set_num_threads(1)
        yield from self.material.scenes(self.seed * 100 + (info.id if info else 0), self.shares)


def collate(scenes: list[Scene]) -> Batch:
    return {f.name: torch.from_numpy(np.stack([getattr(s, f.name) for s in scenes])) for f in fields(Scene)}


def loader(material: Material, seed: int, shares: Shares, batch: int, workers: int) -> DataLoader:  # type: ignore[type-arg]
    more: dict[str, Any] = {"prefetch_factor": 3} if workers else {}
    return DataLoader(Scenes(material, seed, shares), batch, collate_fn=collate, num_workers=workers, **more)


def measured_on(material: Material, batch: int, count: int = 4) -> dict[str, list[Batch]]:
    """Fixed batches to measure on: drawn scenes, frames of worlds that are not learned from, photos (learned ones:
    what is held out is for benchmarks/naming.py)."""
    out = {}
    kinds = {"": Shares(0, 0), "photo_": Shares(0, 1)} if material.photos else {"": Shares(0, 0)}
    for kind, shares in kinds.items():
        supply = iter(loader(material, 9999, shares, batch, 0))
        out[kind] = [next(supply) for _ in range(count)]
    if material.worlds:
        rest = WorldScenes(material.worlds, load_drawings(), material.names.label, 0, held_out=True)
        out["world_"] = [collate([rest.scene() for _ in range(batch)]) for _ in range(count)]
    return out
