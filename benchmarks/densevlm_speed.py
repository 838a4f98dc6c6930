"""Speed of DenseVLM's training: `python -m benchmarks.densevlm_speed --out FILE.json`.

Takes whole steps of the optimiser (student, teacher, loss, gradient, AdamW) on this machine's fastest device, and says
what six epochs of COCO (118,287 pictures) would cost. Reading pictures is measured apart, on one core, since it runs in
other processes during a training. The models have random weights and the pictures are noise, which is as fast as any.

On a GPU: --model ViT-B-16 --teacher ViT-L-14 --size 512 --batch 48. On a CPU: --model ViT-S-32-alt --teacher
ViT-S-32-alt --size 64 --batch 4.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.common import machine, parser_for, say, write_json

COCO, EPOCHS = 118_287, 6
NAMES = 273
"""Number of names, as in the paper's training on COCO-Stuff and ADE20K (Table 1)."""
THINGS = 160


def main(argv: list[str] | None = None) -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--model", default="ViT-B-16", help="the student, a name of open_clip")
    parser.add_argument("--teacher", default="ViT-L-14", help="the teacher, a name of open_clip")
    parser.add_argument("--size", type=int, default=512, help="side of the pictures in pixels")
    parser.add_argument("--batch", type=int, default=48, help="pictures per step")
    parser.add_argument("--accumulate", type=int, default=1, help="parts that a batch is processed in")
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed, after two that are not")
    parser.add_argument("--precision", default="", help="bf16 or fp32; by default bf16 on a GPU")
    parser.add_argument("--device", default=None, help="cuda, mps or cpu")
    args = parser.parse_args(argv)

    result: dict[str, Any] = {"machine": machine(), "arguments": {k: v for k, v in vars(args).items() if k != "out"}}
    result["reading"] = measure_reading(args.size)
    result["training"] = measure_steps(
        args.model, args.teacher, args.size, args.batch, args.accumulate, args.steps, args.precision, args.device
    )
    result["six_epochs_of_coco"] = estimate(
        result["training"]["pictures_per_second"], result["reading"]["pictures_per_second_and_core"]
    )
    write_json(args.out, result)
    cost = result["six_epochs_of_coco"]
    say(
        f"{args.model} with {args.teacher} at {args.size} pixels on {result['training']['device']}: "
        f"{result['training']['pictures_per_second']:.1f} pictures/s, six epochs of COCO {cost['hours']:.1f} h with "
        f"{cost['reading_processes']} reading processes"
    )
    return 0


def measure_steps(
    student: str,
    teacher: str,
    size: int,
    batch: int,
    accumulate: int,
    steps: int,
    precision: str = "",
    device: str | None = None,
) -> dict[str, Any]:
    """Time whole steps.

    Args:
        student: Name of a model of open_clip.
        teacher: The same.
        size: Side of the pictures in pixels.
        batch: Pictures per step.
        accumulate: Parts of a batch.
        steps: Steps to time.
        precision: bf16 or fp32; by default bf16 on a GPU alone.
        device: cuda, mps or cpu; by default the fastest.
    """
    import torch

    from lab.train.densevlm.config import TrainConfig
    from lab.train.densevlm.loop import Pair, make_optimizer, update
    from vidmem.encoders.device import pick_device

    where, dtype = pick_device(device)
    fast = dtype == torch.bfloat16 and where.type != "cpu"
    more: dict[str, Any] = {"precision": precision or ("bf16" if fast else "fp32")}
    config = TrainConfig(size=size, batch=batch, accumulate=accumulate, threshold=0.0, **more)
    torch.manual_seed(0)
    ours, theirs = random_model(student, size, where, True), random_model(teacher, size, where, False)
    pair = Pair(ours[0], theirs[0], ours[1], theirs[1], ("{}",))
    optimizer = make_optimizer(ours[0].model.visual, config)
    made = noise(pair.student.side, batch)
    seconds = []
    for step in range(steps + 2):
        began = time.perf_counter()
        update(pair, optimizer, made.to(where), THINGS, config, step)  # ends with numbers on the CPU
        if where.type == "cuda":
            torch.cuda.synchronize()
        if step >= 2:
            seconds.append(time.perf_counter() - began)
    each = statistics.median(seconds)
    return {
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else str(where),
        "threads": torch.get_num_threads(),
        "precision": config.precision,
        "student_pixels": pair.student.side,
        "teacher_pixels": pair.teacher.side,
        "seconds_per_step": each,
        "slowest_step": max(seconds),
        "pictures_per_second": batch / each,
        "peak_gigabytes": torch.cuda.max_memory_allocated(where) / 1e9 if where.type == "cuda" else None,
    }


def random_model(name: str, size: int, device: Any, trained: bool) -> tuple[Any, Any]:
    """A model of open_clip with random weights and random names, as `Loaded` and `Seer`."""
    import torch
    from torch.nn import functional as F

    from lab.train.densevlm.towers import Seer, side_of
    from vidmem.encoders.clip.files import MEAN, STD, Loaded, _open_clip, _quiet
    from vidmem.encoders.clip.model import ClipTower

    oc = _open_clip()
    with _quiet():
        model = oc.create_model(name, pretrained=None, precision="fp32", device="cpu").eval().requires_grad_(False)
    model.visual.to(device).requires_grad_(trained)
    tower = ClipTower(model.visual)
    texts = F.normalize(torch.randn(NAMES, tower.dim, device=device), dim=-1)
    loaded = Loaded(name, model, lambda _: torch.zeros(0), len, 77, MEAN, STD, "", {}, Path())
    return loaded, Seer(tower, texts, side_of("model", tower, size), MEAN, STD)


def noise(side: int, batch: int) -> Any:
    """A batch of full squares, with grids in turn."""
    import torch

    from lab.train.densevlm.data import Batch
    from lab.train.densevlm.grids import CHOICES, grid_boxes

    boxes = [grid_boxes(*CHOICES[n % len(CHOICES)]) for n in range(batch)]
    images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
    return Batch(images, torch.cat(boxes), tuple(map(len, boxes)))


def measure_reading(size: int, count: int = 24) -> dict[str, Any]:
    """Time reading pictures of COCO's usual size, 640 x 480 JPEG, into squares, in one process."""
    from lab.train.densevlm.data import Squares, find_pictures

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for n in range(count):
            rough = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8))
            rough.resize((640, 480), Image.Resampling.BICUBIC).save(Path(folder) / f"{n}.jpg", quality=90)
        squares = Squares(find_pictures([folder]), size, 0)
        _ = squares[(0, 0)]
        began = time.perf_counter()
        for n in range(count):
            _ = squares[(n, n)]
        seconds = time.perf_counter() - began
    return {"picture": "640 x 480 JPEG", "pictures_per_second_and_core": count / seconds}


def estimate(training: float, reading: float) -> dict[str, Any]:
    """What six epochs of COCO cost at `training` pictures a second, if enough processes read `reading` each."""
    needed = max(1, math.ceil(training / reading))
    return {
        "pictures": COCO,
        "epochs": EPOCHS,
        "hours": EPOCHS * COCO / training / 3600,
        "reading_processes": needed,
        "cores_here": os.cpu_count(),
    }


if __name__ == "__main__":
    sys.exit(main())
