"""The region encoder compared with a plain implementation: `python -m benchmarks.region_encoder --out FILE.json`.

Width 1024, a point on every patch, 3 tokens a point, random weights. Both run in one process, in turns, on the same
features, and must give the same tokens and masks to 1e-4. A fresh process measures the memory. `--gpu` adds the whole
way of a 512 x 512 frame on a GPU: backbone (DINOv3 ViT-L/16, random weights), encoder, merge, tracks.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import parser_for, say, table, timed, timing_options, write_json

if TYPE_CHECKING:
    from torch import Tensor

    from vidmem.encoders.tren.region_encoder import RegionEncoder

DIM, SIDES = 1024, (32, 16)
EQUAL = 1e-4
AUTHORS = {
    "32": 1450.0,
    "16": 381.0,
    "rss_mb": 2800.0,
    "source": "facts/tren.md: the authors' code on 2 CPU threads, another machine",
}
TARGETS = {"ratio_at_32": 0.7, "rss_mb": 600.0}


def main() -> int:
    parser = parser_for(__doc__)
    timing_options(parser)
    parser.add_argument("--gpu", action="store_true", help="also a whole frame on a GPU")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:
        print(peak_memory(args.memory, args.threads))
        return 0
    started = time.perf_counter()
    clock, result = timed(args, authors=AUTHORS, targets=TARGETS)
    result |= {
        "sides": {str(side): compare(side, args.rounds, clock) for side in SIDES},
        "rss_mb": {str(side): memory_of_a_process(side, args.threads) for side in SIDES},
    }
    if args.gpu:
        from .region_gpu import whole_frame

        result["gpu"] = whole_frame(args.rounds)
    result["seconds"] = round(time.perf_counter() - started, 1)
    write_json(args.out, result)
    report(result)
    say(f"load {result['machine']['load_before'][0]:.1f} before; {result['seconds']} s; {args.out}")
    return 0


def make(side: int) -> tuple[RegionEncoder, Tensor, Tensor]:
    """An encoder with random weights, features `(1, DIM, side, side)` and a point on every patch.

    Features of a picture share a direction and vary little between patches; queries and keys are larger than at the
    start of a training, so that attention has peaks.
    """
    import torch

    from vidmem.encoders.tren.region_encoder import RegionEncoder

    torch.manual_seed(0)
    model = RegionEncoder(DIM, DIM).eval().requires_grad_(False)
    for layer in (*model.layers, model):
        for name in ("q_norm", "k_norm"):
            getattr(layer.cross_attn if layer is not model else model, name).weight.mul_(3)
    coarse = torch.nn.functional.interpolate(torch.randn(1, DIM, 4, 4), (side, side), mode="bicubic")
    features = coarse + 0.3 * torch.randn(1, DIM, side, side) + torch.randn(1, DIM, 1, 1)
    centres = (torch.arange(side) + 0.5) / side
    points = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1).reshape(1, -1, 2)
    return model, features, points


def compare(side: int, rounds: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Milliseconds per frame of the plain version and of vidmem, with their results; in bfloat16; of the texts."""
    import copy

    import torch

    from . import plain_region

    model, features, points = make(side)
    weights, half = model.state_dict(), copy.deepcopy(model).bfloat16()
    with torch.inference_mode():
        at = model.positions(points[0]), model.positions.grid(side, side)  # the plain way has them in tables
        tokens, attention, _ = model(features, points)
        plain_tokens, plain_attention = plain_region.encode(features, *at, weights)
        near = half(features.bfloat16(), points)[0].float()
        differences = {
            "tokens": float((tokens - plain_tokens).abs().max()),
            "attention": float((attention - plain_attention).abs().max()),
            "text": float((model.project(tokens) - plain_region.project(tokens, weights)).abs().max()),
        }
        if max(differences.values()) > EQUAL:
            raise AssertionError(f"at {side} x {side} the two differ: {differences}")
        merged = tokens[0, :: max(1, side * side // 40)].flatten(0, 1)  # some hundred, as many as a frame has regions
        times = alternate(
            {
                "plain": lambda: plain_region.encode(features, *at, weights),
                "vidmem": lambda: model(features, points),
                "bfloat16": lambda: half(features.bfloat16(), points),
                "plain_text": lambda: plain_region.project(tokens, weights),
                "vidmem_text_of_merged": lambda: model.project(merged),
            },
            rounds,
            clock,
        )
    median = {name: statistics.median(values) for name, values in times.items()}
    return {
        "median_ms": median,
        "range_ms": {name: [min(v), max(v)] for name, v in times.items()},
        "ratio": median["vidmem"] / median["plain"],
        "ratio_bfloat16": median["bfloat16"] / median["plain"],
        "ratio_of_the_least": min(times["vidmem"]) / min(times["plain"]),
        "differences": differences,
        "attention_peak": float(attention.amax(-1).mean()),
        "merged_tokens": len(merged),
        "bfloat16_least_cosine": float(torch.nn.functional.cosine_similarity(near, tokens, dim=-1).min()),
    }


def alternate(
    versions: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Milliseconds of each version. They are called in turns, after one call of each to warm up."""
    for call in versions.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in versions}
    for _ in range(rounds):
        for name, call in versions.items():
            begin = clock()
            call()
            times[name].append((clock() - begin) * 1e3)
    return times


def memory_of_a_process(side: int, threads: int) -> float:
    """Peak resident MB of a process that imports, builds the encoder and encodes 3 frames."""
    command = [sys.executable, "-m", "benchmarks.region_encoder", "--out", os.devnull]
    command += ["--memory", str(side), "--threads", str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak_memory(side: int, threads: int) -> float:
    import torch

    torch.set_num_threads(threads)
    model, features, points = make(side)
    with torch.inference_mode():
        for _ in range(3):
            model(features, points)
    # Not getrusage: what it says of a child begins with its parent's peak.
    kilobytes = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes[0]) / 1024


def report(result: dict[str, Any]) -> None:
    rows = []
    for side, one in result["sides"].items():
        ms = one["median_ms"]
        rows.append(
            [
                f"{side}x{side}, ms",
                ms["vidmem"],
                ms["plain"],
                AUTHORS[side],
                one["ratio"],
                ms["bfloat16"],
                one["ratio_bfloat16"],
            ]
        )
        text = ms["vidmem_text_of_merged"]
        rows.append(["  text: merged / all, ms", text, ms["plain_text"], None, text / ms["plain_text"], None, None])
        rows.append(["  peak memory, MB", result["rss_mb"][side], None, AUTHORS["rss_mb"], None, None, None])
    print(table(["", "vidmem", "plain", "authors", "ratio", "bf16", "ratio"], rows))
    print(f"wanted: at 32x32 a ratio of at most {TARGETS['ratio_at_32']}, and {TARGETS['rss_mb']:.0f} MB")
    if "gpu" in result:
        print(result["gpu"] if isinstance(result["gpu"], str) else table(*result["gpu"]["table"]))


if __name__ == "__main__":
    sys.exit(main())
