"""Small random models of open_clip, since published ones cannot be downloaded in tests, and the golden weights."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from needs import needs
from vidmem.encoders.clip.files import CONFIG, WEIGHTS, _open_clip
from vidmem.encoders.torchvision_compat import ready

GOLDEN = Path(__file__).parents[1] / "golden"
CONFIGURATION: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
"""4 x 4 patches of 8 pixels, two heads."""


def required() -> None:
    """Skip the test if the extra `clip` is not installed."""
    ready()
    needs("open_clip")


def write(folder: Path, **changes: Any) -> Path:
    """A folder for `local-dir:` with random weights of seed 0."""
    oc = _open_clip()
    folder.mkdir(parents=True, exist_ok=True)
    told = {"model_cfg": CONFIGURATION | changes, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (folder / CONFIG).write_text(json.dumps(told))
    name = f"test-{folder.parent.name}-{folder.name}"
    (folder / f"{name}.json").write_text(json.dumps(told["model_cfg"]))
    oc.add_model_config(folder / f"{name}.json")
    torch.manual_seed(0)
    model = oc.create_model(name).eval()
    (folder / f"{name}.json").unlink()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.05)  # changes the ones of layer norms and the zeros of biases
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / WEIGHTS)
    return folder


def model(**changes: Any) -> Any:
    """The same model in memory."""
    oc = _open_clip()
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test-small.json"
        path.write_text(json.dumps(CONFIGURATION | changes))
        oc.add_model_config(path)
        torch.manual_seed(0)
        made = oc.create_model("test-small").eval().requires_grad_(False)
    for tensor in made.parameters():
        tensor.add_(torch.randn_like(tensor) * 0.05)
    return made


def sequence_first(visual: nn.Module) -> nn.Module:
    """The same tower with blocks that take `(L, B, D)`, as in open_clip before 2.26."""
    from copy import deepcopy

    changed: Any = deepcopy(visual)
    for block in changed.transformer.resblocks:
        block.attn.batch_first = False
    if hasattr(changed.transformer, "batch_first"):
        del changed.transformer.batch_first
    return changed


def seed_weights(module: nn.Module, prefix: str = "") -> None:
    """Fill each tensor from the checksum of its name; see tests/golden/README.md."""
    state = module.state_dict()
    for short in sorted(state):
        tensor, name = state[short], prefix + short
        if not tensor.is_floating_point() or name.endswith("attn_mask"):
            continue
        if name.endswith("logit_scale"):
            tensor.fill_(float(np.log(100.0)))
            continue
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        drawn = torch.randn(tensor.numel(), generator=generator).view(tensor.shape)
        last = name.rsplit(".", 1)[-1]
        if tensor.dim() == 1:
            drawn = 1 + 0.1 * drawn if last == "weight" else (0.02 if last.endswith("bias") else 0.5) * drawn
        elif "positional_embedding" in name:
            drawn = 0.1 * drawn
        elif "token_embedding" in name:
            drawn = 0.02 * drawn
        elif last in ("proj", "text_projection"):
            drawn = drawn / tensor.shape[0] ** 0.5
        else:
            drawn = drawn / int(np.prod(tensor.shape[1:])) ** 0.5
        tensor.copy_(drawn)


def golden_tower(name: str) -> Any:
    """The image tower of a model of open_clip with the golden weights."""
    oc = _open_clip()
    made = oc.model._build_vision_tower(
        **{k: v for k, v in oc.get_model_config(name).items() if k in ("embed_dim", "vision_cfg", "quick_gelu")}
    )
    made.eval().requires_grad_(False)
    seed_weights(made, "visual.")
    return made
