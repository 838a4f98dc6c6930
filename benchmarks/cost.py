"""What a memory costs: `python -m benchmarks.cost --out FILE.json [--only encoder,memory]`.

encoder  a table like Table 9 of T-REN (arXiv 2604.18573): parameters, arithmetic and time of DINOv3 ViT-L/16 with
         dino.txt's vision head, and of T-REN with grids of 32, 24 and 16 prompts a side, for one picture of 512 x 512.
         Arithmetic is counted by torch. Times are of this CPU, with random weights, in turns:
         read the ratios.
memory   tokens per picture and per hour, bytes per hour and per track, for the real clips with `tiny`, beside what
         one vector a frame and one vector a patch would take: the same frames, the same width and 2 bytes a number.
         And milliseconds per frame of each stage of indexing one clip.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import CLIPS, machine, model, parser_for, say, table, write_json
from vidmem import Memory

PARTS = ("encoder", "memory")
SIZE = 512
GRIDS = (32, 24, 16)
PAPER = {
    "patches (DINOv3 dino.txt)": (328.5, 67.7, 787.93),
    "T-REN 32 x 32": (334.7, 84.2, 976.38),
    "T-REN 24 x 24": (334.7, 74.8, 862.54),
    "T-REN 16 x 16": (334.7, 69.4, 790.30),
}
"""Table 9: million parameters, ms on an NVIDIA A40, GFLOPs."""
HIDDEN = 2752
"""Of the feed-forward layers of dino.txt's vision head: two thirds of 4 x 1024, aligned to 64."""


def encoders(rounds: int, threads: int, clock_on: bool) -> list[dict[str, Any]]:
    """One row for the patches and one for each grid."""
    import torch

    from benchmarks.region_gpu import backbone
    from vidmem.encoders.tren.dinotxt import VisionHead
    from vidmem.encoders.tren.dinov3 import features
    from vidmem.encoders.tren.encoder import grid_points
    from vidmem.encoders.tren.region_encoder import RegionEncoder

    torch.set_num_threads(threads)
    device, dtype = torch.device("cpu"), torch.float32
    vit = backbone(device, dtype)
    torch.manual_seed(0)
    head = VisionHead(1024, 2, 16, HIDDEN).eval().requires_grad_(False)
    region = RegionEncoder(1024, 1024).eval().requires_grad_(False)
    pixels = torch.randn(1, 3, SIZE, SIZE)

    def patches() -> None:
        head(features(vit, pixels))

    def tren(side: int) -> None:
        tokens, _, _ = region(features(vit, pixels).patches, grid_points(side, side)[None])
        region.project(tokens.flatten(1, 2))

    runs = {"patches (DINOv3 dino.txt)": patches} | {
        f"T-REN {side} x {side}": (lambda side=side: tren(side)) for side in GRIDS
    }
    rows: list[dict[str, Any]] = []
    for name in runs:
        parts = (vit, head) if name.startswith("patches") else (vit, region)
        params = sum(p.numel() for part in parts for p in part.parameters())
        side = next((side for side in GRIDS if name.startswith(f"T-REN {side} ")), None)
        rows.append({"method": name, "params": params / 1e6, "gflops": flops(vit, head, region, side) / 1e9})
        say(f"{name}: {rows[-1]['params']:.1f} M parameters, {rows[-1]['gflops']:.1f} GFLOPs")
    with torch.inference_mode():
        spent: dict[str, list[float]] = {name: [] for name in runs}
        clock = time.process_time if clock_on else time.perf_counter
        for _ in range(rounds):
            for name, work in runs.items():
                began = clock()
                work()
                spent[name].append(1e3 * (clock() - began))
    first = spent["patches (DINOv3 dino.txt)"]
    for row in rows:
        mine = spent[row["method"]]
        row["ms"] = statistics.median(mine)
        row["times_patches"] = statistics.median(a / b for a, b in zip(mine, first, strict=True))
        paper = PAPER[row["method"]]
        row["paper"] = {"params": paper[0], "ms": paper[1], "gflops": paper[2]}
        row["paper"]["times_patches"] = paper[1] / PAPER["patches (DINOv3 dino.txt)"][1]
    return rows


def flops(vit: Any, head: Any, region: Any, side: int | None) -> int:
    """Floating-point operations for one picture: of the patches, or of T-REN with a grid of `side` x `side` prompts.

    torch counts products of matrices by their shapes. Copies without data stand for the backbone. The region encoder
    uses its plain layers while gradients are wanted; its fast ones cannot be counted.
    """
    import copy

    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from vidmem.encoders.tren.dinov3 import features
    from vidmem.encoders.tren.encoder import grid_points

    pixels = torch.empty(1, 3, SIZE, SIZE, device="meta")
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        with torch.no_grad():
            seen = features(copy.deepcopy(vit).to("meta"), pixels)
            if side is None:
                copy.deepcopy(head).to("meta")(seen)
        if side is not None:
            learning = copy.deepcopy(region).requires_grad_()
            patches = torch.randn(seen.patches.shape, requires_grad=True)
            tokens, _, _ = learning(patches, grid_points(side, side)[None])
            learning.project(tokens.flatten(1, 2))
    return int(counter.get_total_flops())


def memories(clips: Path) -> dict[str, Any]:
    """Tokens and bytes of the clips, beside one vector a frame and one a patch."""
    with tempfile.TemporaryDirectory(prefix="vidmem-cost-") as folder:
        with Memory.open(folder) as memory:
            for clip in sorted(clips.glob("*.mp4")):
                memory.index(clip)
            memory.cache()  # its file belongs to what a memory costs
        with Memory.open(folder, read_only=True) as memory:
            stats = memory.stats()
            made = memory.store.model()
            assert made is not None
            patches = sum(
                each.masks.shape[1] * each.masks.shape[2]
                for source in memory.store.sources()
                for each in memory.store.regions(source.id, 0, 2**62)
            )
    hours = stats.duration_ns / 3.6e12
    width = 2 * (made.visual_dim + made.text_dim)
    rows = [
        ("one vector a frame", stats.frames, stats.frames * width),
        ("one vector a patch", patches, patches * width),
        ("regions, not linked over time", stats.regions, stats.regions * width),
        ("vidmem: tracks, vectors alone", stats.tracks, stats.tracks * width),
        ("vidmem: the whole folder", stats.tracks, stats.database_bytes + stats.cache_bytes),
    ]
    return {
        "frames": stats.frames,
        "hours": hours,
        "vector_bytes": width,
        "regions_per_frame": stats.regions / stats.frames,
        "rows": [
            {
                "kept": name,
                "tokens_per_frame": tokens / stats.frames,
                "tokens_per_hour": tokens / hours,
                "bytes_per_hour": size / hours,
                "compression": patches / tokens,
            }
            for name, tokens, size in rows
        ],
    }


def show(result: dict[str, Any]) -> str:
    """The tables for people."""
    parts = []
    if "encoder" in result:
        head = ("", "M parameters", "GFLOPs", "ms", "x patches", "paper: M", "GFLOPs", "ms on an A40", "x patches")
        rows = [
            (
                r["method"],
                *(r[name] for name in ("params", "gflops", "ms", "times_patches")),
                *(r["paper"][name] for name in ("params", "gflops", "ms", "times_patches")),
            )
            for r in result["encoder"]
        ]
        parts.append(table(head, rows))
    if "memory" in result:
        kept = ("what is kept", "tokens per frame", "tokens per hour", "MB per hour", "patches per token")
        cells = [
            (r["kept"], r["tokens_per_frame"], r["tokens_per_hour"], r["bytes_per_hour"] / 1e6, r["compression"])
            for r in result["memory"]["rows"]
        ]
        parts.append(table(kept, cells))
        if "stages" in result:
            stages = result["stages"]["split_ms_per_frame"]
            parts.append(table(("stage of indexing", "ms per frame"), list(stages.items())))
    return "\n\n".join(parts)


def plot(path: Path, result: dict[str, Any]) -> None:
    """Bytes per hour of each way, and the arithmetic of each encoder."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 3.6), layout="constrained")
    if "memory" in result:
        rows = result["memory"]["rows"][::-1]
        values = [row["bytes_per_hour"] / 1e6 for row in rows]
        left.barh([row["kept"] for row in rows], values, color="#3d6a9e")
        for i, value in enumerate(values):
            left.text(value, i, f" {value:,.1f}", va="center", fontsize=8)
        left.set_xscale("log")
        left.margins(x=0.2)
        left.set_title("MB per hour of video (real clips, tiny)", fontsize=10)
    if "encoder" in result:
        rows = result["encoder"][::-1]
        places = range(len(rows))
        right.barh([p + 0.2 for p in places], [r["gflops"] for r in rows], 0.38, color="#3d6a9e", label="counted here")
        paper = [r["paper"]["gflops"] for r in rows]
        right.barh([p - 0.2 for p in places], paper, 0.38, color="#9db4cf", label="T-REN, Table 9")
        right.set_yticks(places, [r["method"] for r in rows])
        right.set_title("GFLOPs for a picture of 512 x 512", fontsize=10)
        right.legend(fontsize=8)
    left.set_visible("memory" in result)
    right.set_visible("encoder" in result)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> int:
    parser = parser_for(__doc__, "tables (.txt) and a plot (.png) lie beside it")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas (encoder,memory)")
    parser.add_argument("--clips", type=Path, default=CLIPS, help="folder of the clips (../shared/data/clips)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each encoder; the median counts (5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch")
    parser.add_argument("--cpu-time", action="store_true", help="count CPU time, for a busy machine, with --threads 1")
    args = parser.parse_args()
    parts = args.only.split(",")
    if wrong := set(parts) - set(PARTS):
        parser.error(f"no part {', '.join(wrong)}; there are: {', '.join(PARTS)}")
    result: dict[str, Any] = {"machine": machine(), "model": model()}
    if "encoder" in parts:
        result["encoder"] = encoders(args.rounds, args.threads, args.cpu_time)
    if "memory" in parts:
        clips = sorted(args.clips.glob("*.mp4"))
        if clips:
            result["memory"] = memories(args.clips)
            from benchmarks.speed import bench_index

            with tempfile.TemporaryDirectory(prefix="vidmem-cost-") as folder:
                result["stages"] = bench_index(clips[0], Path(folder) / "m", 1)
        else:
            say(f"no clips in {args.clips}; give their folder as --clips")
    write_json(args.out, result)
    text = show(result)
    args.out.with_suffix(".txt").write_text(text + "\n", "utf-8")
    plot(args.out.with_suffix(".png"), result)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
