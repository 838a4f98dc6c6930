"""A training state of `tiny` in half precision, small enough to keep: to go on from, not to go on exactly.

    python -m vidmem.train.halves runs/b/regions.pt state.safetensors

What the text folder holds (see photo/text_space.py) and the optimizer's moments are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

PARTS = ("net", "text", "helpers")
REBUILT = ("text.used", "text.initial", "text.near")
"""Follow from the text folder."""


def save(checkpoint: Path, out: Path) -> None:
    """Write the weights of a checkpoint of vidmem.train.tiny as float16."""
    state = torch.load(checkpoint, weights_only=True)
    flat = {f"{part}.{name}": value for part in PARTS for name, value in state[part].items()}
    kept = {k: v.half() if v.is_floating_point() else v for k, v in flat.items() if k not in REBUILT}
    save_file({k: v.contiguous() for k, v in kept.items()}, out)


def load(path: Path) -> dict[str, Any]:
    """The state of each part, from a checkpoint, or from what `save` wrote: then float32, without what is REBUILT."""
    if path.suffix != ".safetensors":
        whole: dict[str, Any] = torch.load(path, weights_only=True)
        return whole
    out: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    for key, value in load_file(path).items():
        part, _, name = key.partition(".")
        out[part][name] = value.float() if value.is_floating_point() else value
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    save(args.checkpoint, args.out)


if __name__ == "__main__":
    main()
