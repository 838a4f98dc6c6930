"""A whole 512 x 512 frame on a GPU: time of each part, and use of the GPU's peak throughput."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

BATCHES = (1, 8, 32)
SIZE, SIDE = 512, 32


def whole_frame(rounds: int, batches: tuple[int, ...] = BATCHES) -> dict[str, Any] | str:
    """Milliseconds per frame for each batch size, bfloat16, ViT-L/16 with random weights. A line if there is no GPU.

    Merging and tracking run on the CPU, on tokens like those of an encoder (with random weights none merge).
    """
    import torch

    if not torch.cuda.is_available():
        return "no GPU here: a whole frame on one was not measured"
    device = torch.device("cuda")
    return measure(device, torch.bfloat16, backbone(device, torch.bfloat16), rounds, batches, limit(device))


def backbone(device: Any, dtype: Any, **options: Any) -> Any:
    """A DINOv3 ViT-L/16 with random weights; options: those of DINOv3ViTConfig that differ."""
    import torch

    from vidmem.encoders.torchvision_compat import ready

    ready()
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    from vidmem.encoders.tren.dinov3 import to_device

    large: dict[str, Any] = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_register_tokens": 4,
        "attn_implementation": "sdpa",
    }
    torch.manual_seed(0)
    return to_device(DINOv3ViTModel(DINOv3ViTConfig(**(large | options))).eval(), device, dtype)


def measure(
    device: Any, dtype: Any, vit: Any, rounds: int, batches: tuple[int, ...], peak: float, side: int = SIDE
) -> dict[str, Any]:
    import torch

    from vidmem.encoders.tren.dinov3 import features, width
    from vidmem.encoders.tren.region_encoder import RegionEncoder

    torch.manual_seed(0)
    dim = width(vit)
    region = RegionEncoder(dim, dim).eval().requires_grad_(False).to(device, dtype)
    centres = (torch.arange(side) + 0.5) / side
    points = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1).reshape(1, -1, 2)
    work = products_of_region(dim, side * side, region.k, len(region.layers))
    merge_ms, track_ms = after(rounds)
    rows, cells = [], {}
    for batch in batches:
        pixels = torch.randn(batch, 3, side * SIZE // SIDE, side * SIZE // SIDE, device=device)
        with torch.inference_mode():
            seen = features(vit, pixels).patches
            first = timed(lambda pixels=pixels: features(vit, pixels), rounds, device) / batch  # type: ignore[misc]
            second = timed(lambda seen=seen: region(seen, points), rounds, device) / batch  # type: ignore[misc]
        share = work / (second / 1e3) / peak
        cells[str(batch)] = {
            "backbone_ms": first,
            "encoder_ms": second,
            "merge_ms": merge_ms,
            "track_ms": track_ms,
            "encoder_share_of_limit": share,
        }
        rows.append([f"batch {batch}", first, second, merge_ms, track_ms, share])
    head = ["ms per frame", "backbone", "encoder", "merge", "track", "encoder / limit"]
    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    return {"device": name, "limit_tflops": peak / 1e12, "batches": cells, "table": [head, rows]}


def products_of_region(dim: int, patches: int, k: int, layers: int) -> float:
    """Floating-point operations of the encoder's matrix products for a frame with a point on every patch, without what
    is cached between frames.
    """
    tokens = patches * k
    # A layer: question and output, MLP of twice the width, self-attention. The first question is kept; pooling has one.
    of_token = layers * (2 + 4 + 4) * dim * dim
    attention = (layers + 1) * 2 * tokens * patches * dim + layers * 2 * tokens * k * dim
    return 2.0 * (tokens * of_token + (2 * layers + 1) * patches * dim * dim + attention)


def limit(device: Any) -> float:
    """Operations per second of a large bfloat16 product on the device: the upper bound for any matrix product."""
    import torch

    n = 8192
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2.0 * n**3 / (timed(lambda: a @ b, 10, device) / 1e3)


def timed(call: Callable[[], object], rounds: int, device: Any) -> float:
    """Median milliseconds of a call until the device has finished; two calls to warm up."""
    import torch

    times = []
    for _ in range(rounds + 2):
        begin = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times[2:])


def after(rounds: int) -> tuple[float, float]:
    """Milliseconds of the merge of a frame and of the tracker's step, on the CPU."""
    import torch

    from vidmem.config import MergeConfig, TrackConfig
    from vidmem.indexer.merge import merge
    from vidmem.indexer.track import Tracker

    from .merge_track import DRAWN, TOKENS, frame_tokens

    tokens = frame_tokens(1, TOKENS, DRAWN)
    cpu = torch.device("cpu")
    merged = merge(tokens, MergeConfig(), frame_width=SIZE, frame_height=SIZE)
    tracker, frames = Tracker(TrackConfig()), iter(range(1 << 30))
    return (
        timed(lambda: merge(tokens, MergeConfig(), frame_width=SIZE, frame_height=SIZE), rounds, cpu),
        timed(lambda: tracker.update(next(frames), merged), rounds, cpu),
    )
