"""Small sealed memories to test with."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from store.making import MODEL, add, frame, track

from vidmem.fleet.manifest import Manifest, canonical
from vidmem.fleet.sealing import seal
from vidmem.records import SourceInfo, SourceKind
from vidmem.store import ModelRecord, Store

DAY = 86_400_000_000_000
START = 1_770_000_000_000_000_000


def memory(
    folder: Path, seed: int = 0, *, model: ModelRecord = MODEL, sources: int = 1, n: int = 12, **more: Any
) -> Path:
    """Make a memory with sources of one minute a day, each with `n` tracks."""
    values: dict[str, Any] = {"state": "done", "next_t_ns": None, **more}
    with Store.open(folder, create=True) as store:
        store.set_model(model)
        for i in range(sources):
            start = START + (100 * seed + i) * DAY
            info = SourceInfo(
                f"/videos/{seed}/walk{i}.mp4",
                SourceKind.VIDEO,
                1280,
                720,
                60_000_000_000,
                f"f{seed}-{i}",
                start,
                "name",
            )
            row = store.begin_source(info)
            tracks = [track(j, seed=1000 * seed + 100 * i + j) for j in range(n)]
            add(store, row.id, tracks, [frame(j * 10, [j], seed) for j in range(n)], **values)
    return folder


def shard(folder: Path, seed: int = 0, **more: Any) -> Manifest:
    """Make a memory and seal it."""
    return seal(memory(folder, seed, **more))


def forged(folder: Path, **changes: Any) -> str:
    """Change fields of a manifest and give it the id that it then has; return that. Keys are joined by dots."""
    path = folder / "seal.json"
    document = json.loads(path.read_bytes())
    for name, value in changes.items():
        place = document
        *folders, last = name.split("__")
        for part in folders:
            place = place[int(part) if isinstance(place, list) else part]
        place[last] = value
    document.pop("id")
    document["id"] = hashlib.sha256(canonical(document)).hexdigest()
    path.write_bytes(canonical(document) + b"\n")
    return str(document["id"])


def copied(folder: Path, target: Path) -> Path:
    """A copy of a shard."""
    return Path(shutil.copytree(folder, target))


def names(folder: Path) -> list[str]:
    """All that lies in a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """All files in a folder: what they hold, and when they were changed."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
