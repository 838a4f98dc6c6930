"""The part `clip` of speed.py: indexing with views through an image tower of ViT-B/32's size, random weights."""

from __future__ import annotations

import json
import logging
import shutil
import statistics
from pathlib import Path
from typing import Any

from benchmarks.common import say
from vidmem import Memory
from vidmem.config import preset

NAME = "ViT-B-32"


def random_model(folder: Path) -> Path:
    """A folder for `clip:local-dir:`, made if it is missing."""
    import torch
    from safetensors.torch import save_file

    from vidmem.encoders.clip.files import CONFIG, WEIGHTS, _open_clip

    if (folder / CONFIG).exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    oc = _open_clip()
    torch.manual_seed(0)
    logging.disable(logging.WARNING)  # it says that the weights are random
    model = oc.create_model(NAME)
    logging.disable(logging.NOTSET)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"model_cfg": oc.get_model_config(NAME)}), "utf-8")
    return folder


def bench_clip(video: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Index `rounds` times from scratch; the median counts."""
    model = random_model(folder.parent / f"random-{NAME}")
    speeds = []
    for number in range(rounds):
        shutil.rmtree(folder, ignore_errors=True)
        with Memory.open(folder, encoder=f"clip:local-dir:{model}") as memory:
            _ = memory.encoder.views  # loaded before the clock runs
            (report,) = memory.index(video, config=preset("boxes"))
            stats = memory.stats()
            views = sum(len(marks) for row in memory.sources() for marks in memory.store.views(row.id).values())
        speeds.append(report.media_s / report.seconds)
        say(f"clip {number + 1}/{rounds}: {speeds[-1]:.1f} x real time")
    return {
        "model": f"{NAME}, random weights",
        "times_real_time": statistics.median(speeds),
        "all_rounds": speeds,
        "tracks": stats.tracks,
        "views_kept": views,
        "bytes_per_hour": stats.bytes_per_hour,
    }
