"""The CLIP encoders compared with their plain backbone: `python -m benchmarks.clip --out FILE.json`.

ViT-B/16 of random weights. GEM and the plain forward of the same tower run in one process, in turns, at 224 and 448
pixels, in the same number format; TextRegion's filter and pooling on 1,764 patches and 60 regions. `--sam2` adds SAM2
(tiny, random weights): a frame asked at its grid of points, and a span of frames carried from a key frame.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from .common import parser_for, say, table, timed, timing_options, write_json
from .region_encoder import alternate

SIDES = (224, 448)
PATCHES, REGIONS = 1764, 60
POOLS = (1, 2, 3)
"""Values of GEM's option `pool`; 1 is exact."""
TARGETS = {"gem_over_plain": 1.25, "textregion_ms": 25.0}
AUTHORS = {"gem_over_plain_224": 1.28, "source": "the authors' code on 2 CPU threads, another machine"}
CARRIED = (4, 16)
"""Things that SAM2 carries from a key frame."""
SPAN = 3
"""Frames of a span that is measured, the key frame included."""


def main() -> int:
    parser = parser_for(__doc__)
    timing_options(parser)
    parser.add_argument("--sam2", action="store_true", help="also SAM2, some minutes")
    args = parser.parse_args()
    started = time.perf_counter()
    clock, result = timed(args, authors=AUTHORS, targets=TARGETS)
    result |= {
        "gem": {str(side): gem(side, args.rounds, clock) for side in SIDES},
        "textregion": pooling(max(args.rounds, 3), clock),
    }
    if args.sam2:
        result["sam2"] = sam2(clock)
    result["seconds"] = round(time.perf_counter() - started, 1)
    write_json(args.out, result)
    report(result)
    say(f"load {result['machine']['load_before'][0]:.1f} before; {result['seconds']} s; {args.out}")
    return 0


def tower(name: str = "ViT-B-16") -> Any:
    """The image tower of an open_clip model with random weights of seed 0, float32.

    Projections are larger than at the start of a training, so that attention has peaks.
    """
    import torch

    from vidmem.encoders.clip.files import _open_clip

    oc = _open_clip()
    torch.manual_seed(0)
    config = oc.get_model_config(name)
    made = oc.model._build_vision_tower(config["embed_dim"], oc.model.CLIPVisionCfg(**config["vision_cfg"]))
    for block in made.transformer.resblocks:
        block.attn.in_proj_weight.data.mul_(2)
    return made.eval().requires_grad_(False)


def gem(side: int, rounds: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Milliseconds per picture of the plain forward pass and of GEM on the same tower, exact and pooled."""
    import torch

    from vidmem.encoders.clip.gem_attention import gem_tokens
    from vidmem.encoders.clip.model import ClipTower

    made = ClipTower(tower())
    torch.manual_seed(1)
    pixels = torch.nn.functional.interpolate(torch.randn(1, 3, 14, 14), (side, side), mode="bicubic")

    def plain() -> object:
        for block, x in made.last_blocks(pixels, 1, "antialiased"):
            out = made.head(block(x))
        return out

    with torch.inference_mode():
        calls: dict[str, Callable[[], object]] = {"plain": plain}
        calls |= {f"pool={n}": partial(gem_tokens, made, pixels, pool=n) for n in POOLS}
        times = alternate(calls, rounds, clock)
        units = {n: torch.nn.functional.normalize(gem_tokens(made, pixels, pool=n)[0, 1:], dim=-1) for n in POOLS}
        cosines = {n: (unit * units[1]).sum(-1) for n, unit in units.items()}
    median = {name: statistics.median(values) for name, values in times.items()}
    return {
        "median_ms": median,
        "range_ms": {name: [min(v), max(v)] for name, v in times.items()},
        "ratio": {n: median[f"pool={n}"] / median["plain"] for n in POOLS},
        "ratio_of_the_least": {n: min(times[f"pool={n}"]) / min(times["plain"]) for n in POOLS},
        "cosine_to_exact": {n: {"least": float(c.min()), "mean": float(c.mean())} for n, c in cosines.items()},
        "tokens": (side // made.patch) ** 2 + 1,
    }


def pooling(rounds: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Milliseconds of the filter and of all pooling, both projections included.

    PATCHES values of width 768, REGIONS masks of some hundred patches each.
    """
    import torch

    from vidmem.encoders.clip.model import ClipTower
    from vidmem.encoders.clip.textregion_pooling import Pooling, local_similarity, pool

    made = ClipTower(tower())
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(PATCHES, 768, generator=generator) + torch.randn(1, 768, generator=generator)
    n = round(PATCHES**0.5)
    y, x = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    centres = torch.rand(REGIONS, 2, generator=generator) * n
    radius = 2 + 6 * torch.rand(REGIONS, 1, 1, generator=generator)
    distance = ((y - centres[:, :1, None]) ** 2 + (x - centres[:, 1:, None]) ** 2).sqrt()
    masks = (radius + 0.5 - distance).clamp(0, 1).flatten(1)
    block = made.blocks[-1]
    settings = Pooling()
    with torch.inference_mode():
        times = alternate(
            {
                "filter": lambda: local_similarity(values, masks),
                "filter_and_pool": lambda: pool(values, masks, lambda s: made.head(block.out(s)), settings),
            },
            rounds,
            clock,
        )
    return {
        "patches": PATCHES,
        "regions": REGIONS,
        "mean_patches_per_region": float((masks > 0).sum(1).float().mean()),
        "median_ms": {name: statistics.median(v) for name, v in times.items()},
        "range_ms": {name: [min(v), max(v)] for name, v in times.items()},
    }


def sam2(clock: Callable[[], float]) -> dict[str, Any]:
    """Seconds of SAM2 tiny: a frame by its grid, and frames by propagation.

    Random weights find nothing, so the things of the key frame are discs; the work is the same.
    """
    import numpy as np
    import torch

    from vidmem.encoders.masks.sam2 import GRID, KEY_EVERY, Sam2Masks

    torch.manual_seed(0)
    model = untrained()
    source = Sam2Masks(model, torch.device("cpu"), torch.float32)
    images = [np.random.default_rng(i).integers(0, 256, (448, 448, 3), np.uint8) for i in range(SPAN)]
    began = clock()
    source.of_picture(images[0])
    out: dict[str, Any] = {"points": GRID**2, "grid_frame_s": clock() - began, "carried": {}}
    with torch.inference_mode():
        began = clock()
        model.get_image_embeddings(source.pixels(images[0]))
        out["image_encoder_s"] = clock() - began
    for count in CARRIED:
        source.segment = partial(_discs_of, count)  # type: ignore[method-assign]  # random weights would find nothing
        spans: list[float] = []
        began = clock()
        for _ in source.propagate(images):
            spans.append(clock() - began)
            began = clock()
        per_frame = statistics.median(spans[1:])
        plan = (out["grid_frame_s"] + (KEY_EVERY - 1) * per_frame) / KEY_EVERY
        out["carried"][str(count)] = {"frame_s": per_frame, "plan_frame_s": plan, "key_every": KEY_EVERY}
    return out


def untrained() -> Any:
    """SAM2.1's tiny size with random weights."""
    from vidmem.encoders.torchvision_compat import ready

    ready()
    from transformers import Sam2VideoConfig, Sam2VideoModel

    return Sam2VideoModel(Sam2VideoConfig()).eval().requires_grad_(False)


def _discs_of(count: int, image: Any) -> Any:
    return discs(count, image.shape[0])


def discs(count: int, side: int) -> Any:
    """Soft masks `(count, side, side)`, distributed over the picture."""
    import torch

    n = int(count**0.5 + 0.999)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    step = side / n
    found = [
        3.0 * ((y - (i // n + 0.5) * step) ** 2 + (x - (i % n + 0.5) * step) ** 2 < (step / 3) ** 2)
        for i in range(count)
    ]
    return torch.stack(found).float()


def report(result: dict[str, Any]) -> None:
    rows: list[list[Any]] = [
        [
            f"GEM at {side}, pool={n}, ms",
            one["median_ms"][f"pool={n}"],
            one["median_ms"]["plain"],
            one["ratio"][n],
            TARGETS["gem_over_plain"],
        ]
        for side, one in result["gem"].items()
        for n in POOLS
    ]
    ms = result["textregion"]["median_ms"]
    rows.append(["TextRegion's filter, ms", ms["filter"], None, None, None])
    rows.append(["filter and pooling, ms", ms["filter_and_pool"], None, None, TARGETS["textregion_ms"]])
    if "sam2" in result:
        one = result["sam2"]
        rows.append(["SAM2 tiny, grid, s a frame", one["grid_frame_s"], None, None, None])
        for count, carried in one["carried"].items():
            rows.append([f"{count} things carried, s a frame", carried["frame_s"], None, None, None])
            rows.append([f"key frames and {count} carried, s", carried["plan_frame_s"], None, None, None])
    print(table(["", "vidmem", "plain", "ratio", "wanted"], rows))


if __name__ == "__main__":
    raise SystemExit(main())
