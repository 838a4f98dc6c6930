"""DINOv3 vision transformers (arXiv 2508.10104) of `transformers`, from Meta's files or folders of Hugging Face.

The tensors of Meta's `.pth` files are renamed and the fused query-key-value projection is split. The bias of the keys,
which the file's `bias_mask` sets to zero, is dropped. The size is read from the tensors. Meta's code is not needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ModelError
from ...text_files import parse_json
from ..integrity import odd_size
from ..tensor_file import fail, fill, read_tensors
from ..transformers_compat import quiet

WHAT = "the DINOv3 backbone"
"""Its name in messages."""
PATCH = 16
"""Pixels per patch of every published DINOv3 vision transformer."""
WIDTHS = {
    "vits16": 384,
    "vits16plus": 384,
    "vitb16": 768,
    "vitl16": 1024,
    "vith16plus": 1280,
    "vit7b16": 4096,
}
"""Published sizes and their widths."""
_TOP = {
    "cls_token": "embeddings.cls_token",
    "storage_tokens": "embeddings.register_tokens",
    "mask_token": "embeddings.mask_token",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.bias",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
}
_IN_BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attn.proj": "attention.o_proj",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
    "mlp.fc1": "mlp.up_proj",
    "mlp.fc2": "mlp.down_proj",
    "mlp.w1": "mlp.gate_proj",
    "mlp.w2": "mlp.up_proj",
    "mlp.w3": "mlp.down_proj",
}
"""Meta's names of modules and those of `transformers`; `.weight` and `.bias` follow."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Output of the last layer after the final norm.

    Attributes:
        patches: `(B, D, h, w)`.
        cls: Class token `(B, D)`.
        registers: Register tokens `(B, R, D)`.
    """

    patches: Tensor
    cls: Tensor
    registers: Tensor


def load_backbone(path: Path) -> nn.Module:
    """Load a backbone on the CPU, float32, in eval mode, with weights without gradients.

    path: Meta's `.pth`, which may be the whole dino.txt state dict with the prefix `visual_model.backbone.`, or a
    folder with config.json and model.safetensors as on Hugging Face.

    Raises:
        ModelError: `transformers` is missing; the file is missing, damaged, of another model, or a pickle that wants
            to run code; or a tensor is missing or unknown.
    """
    _transformers()
    return _from_folder(path) if path.is_dir() else _from_meta(path)


def to_device(model: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Move a backbone to `device` in `dtype`. The frequencies of its positions stay float32: rounding moves patches."""
    rope: Any = model.rope_embeddings
    frequencies = rope.inv_freq
    model = model.to(device, dtype)
    rope.inv_freq = frequencies.to(device, torch.float32)
    return model


def width(model: nn.Module) -> int:
    """D, the width of the features of a backbone."""
    config: Any = model.config
    return int(config.hidden_size)


def heads(model: nn.Module) -> int:
    """Number of attention heads of a backbone."""
    config: Any = model.config
    return int(config.num_attention_heads)


def features(model: nn.Module, pixels: Tensor) -> Features:
    """Run a backbone. The features have the model's dtype, with h = H / 16 and w = W / 16.

    pixels: `(B, 3, H, W)`, normalised; H and W are multiples of 16.
    """
    out = model(pixels).last_hidden_state
    h, w = pixels.shape[-2] // PATCH, pixels.shape[-1] // PATCH
    first = out.shape[1] - h * w  # class and register tokens come before the patches
    return Features(out[:, first:].transpose(1, 2).unflatten(2, (h, w)), out[:, 0], out[:, 1:first])


def _transformers() -> Any:
    from ..torchvision_compat import ready

    ready()  # transformers imports torchvision where it is installed
    try:
        import transformers

        return transformers.DINOv3ViTConfig, transformers.DINOv3ViTModel
    except (ImportError, AttributeError):
        raise ModelError(f"{WHAT} needs transformers 4.56 or later; pip install 'vidmem[tren]'") from None


def _from_meta(path: Path) -> nn.Module:
    config_class, model_class = _transformers()
    state = read_tensors(path, WHAT)
    if any(name.startswith("visual_model.backbone.") for name in state):
        prefix = "visual_model.backbone."
        state = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
    periods = state.pop("rope_embed.periods", None)
    try:
        arguments = _size(state, periods)
    except (KeyError, ValueError, IndexError, ZeroDivisionError):
        fail(WHAT, "it holds no DINOv3 vision transformer; fetch the published dinov3_vit*.pth", path)
    tensors = _renamed(state, path)
    # Meta multiplies the bias by a mask that is 0 for the keys. A file without the mask has a key bias.
    arguments["key_bias"] = any(bool(t.any()) for name, t in tensors.items() if name.endswith("k_proj.bias"))
    if not arguments["key_bias"]:
        tensors = {name: t for name, t in tensors.items() if not name.endswith("k_proj.bias")}
    with torch.device("meta"):  # saves memory and random numbers for weights that are replaced
        model: nn.Module = model_class(config_class(**arguments))
    if any(name.startswith("model.layer.") for name in model.state_dict()):  # since transformers 5
        tensors = {re.sub(r"^layer\.", "model.layer.", name): t for name, t in tensors.items()}
    fill(model, tensors, WHAT, path)
    head_dim = arguments["hidden_size"] // arguments["num_attention_heads"]
    if periods is None:
        periods = arguments["rope_theta"] ** torch.arange(0, 1, 4 / head_dim, dtype=torch.float32)
    if not bool((periods.float() > 0).all() and periods.isfinite().all()):
        fail(WHAT, "rope_embed.periods holds a value that is not a period; fetch it again", path)
    rope: Any = model.rope_embeddings
    rope.inv_freq = 1 / periods.float()  # from the file, rounded as there
    return model


def _size(state: dict[str, Tensor], periods: Tensor | None) -> dict[str, Any]:
    """Arguments of the configuration, from the shapes of the tensors."""
    dim, channels, patch, _ = state["patch_embed.proj.weight"].shape
    layers = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    gated = "blocks.0.mlp.w1.weight" in state
    mlp = "blocks.0.mlp.w1" if gated else "blocks.0.mlp.fc1"
    # A head is four times as wide as there are periods (two axes, sine and cosine): 64 in published files, 128 in 7B.
    head_dim = 4 * len(periods) if periods is not None else 128 if dim == WIDTHS["vit7b16"] else 64
    if patch != PATCH or dim % head_dim:
        raise ValueError("patch or head")
    return {
        "hidden_size": dim,
        "num_channels": channels,
        "patch_size": patch,
        "num_hidden_layers": layers,
        "num_attention_heads": dim // head_dim,
        "num_register_tokens": state["storage_tokens"].shape[1],
        "intermediate_size": state[f"{mlp}.weight"].shape[0],
        "use_gated_mlp": gated,
        "hidden_act": "silu" if gated else "gelu",
        "rope_theta": 100.0,
        "layer_norm_eps": 1e-5,
        "query_bias": "blocks.0.attn.qkv.bias" in state,
        "value_bias": "blocks.0.attn.qkv.bias" in state,
        "proj_bias": "blocks.0.attn.proj.bias" in state,
        "mlp_bias": f"{mlp}.bias" in state,
        "attn_implementation": "sdpa",
    }


def _renamed(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Meta's tensors by their names in `transformers`, with fused projections split and biases masked."""
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name in _TOP:
            out[_TOP[name]] = tensor[None] if name == "mask_token" and tensor.ndim == 2 else tensor
            continue
        if name.startswith("local_cls_norm."):
            continue  # a second norm for local crops, used in training only
        match = re.fullmatch(r"blocks\.(\d+)\.(.+?)(\.weight|\.bias|\.bias_mask|)", name)
        if match and match[2] == "attn.qkv":
            if match[3] == ".bias_mask":
                continue
            mask = state.get(f"blocks.{match[1]}.attn.qkv.bias_mask")
            if match[3] == ".bias" and mask is not None:
                tensor = tensor * mask
            for part, piece in zip("qkv", tensor.chunk(3), strict=False):
                out[f"layer.{match[1]}.attention.{part}_proj{match[3]}"] = piece
        elif match and match[2] in _IN_BLOCK:
            out[f"layer.{match[1]}.{_IN_BLOCK[match[2]]}{match[3]}"] = tensor
        else:
            fail(WHAT, f"the tensor {name} is unknown; fetch the published dinov3_vit*.pth", path)
    return out


def _from_folder(path: Path) -> nn.Module:
    _, model_class = _transformers()
    try:
        config = parse_json((path / "config.json").read_bytes())
        kind = config["model_type"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        cause = f"config.json is missing or damaged ({type(error).__name__})"
        fail(WHAT, f"{cause}; give a folder with config.json and model.safetensors", path)
    if kind != "dinov3_vit":
        fail(WHAT, f"config.json says {str(kind)[:40]!r}, not 'dinov3_vit'; give a DINOv3 vision transformer", path)
    if odd := odd_size(config):
        fail(WHAT, f"config.json gives {odd!r} a size that no model has; fetch it again", path)
    try:
        with quiet():
            model, info = model_class.from_pretrained(
                path,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                torch_dtype=torch.float32,
            )
    except Exception as error:  # the library raises many kinds of errors for a damaged folder
        text = str(error).splitlines() or [type(error).__name__]
        fail(WHAT, f"transformers cannot load it ({text[0][:120]}); fetch it again", path)
    kinds = "missing_keys", "unexpected_keys", "mismatched_keys"
    wrong = sorted(str(key) for kind in kinds for key in info.get(kind, ()))
    if wrong:
        fail(WHAT, f"{len(wrong)} tensors are missing or do not fit, such as {wrong[0]}; fetch it again", path)
    if int(model.config.patch_size) != PATCH:
        fail(WHAT, f"its patches have {model.config.patch_size} pixels, want {PATCH}", path)
    for name, tensor in model.state_dict().items():
        if not bool(tensor.sum().isfinite()):
            fail(WHAT, f"{name} holds a value that is not finite; fetch it again", path)
    loaded: nn.Module = model.eval().requires_grad_(False)
    return loaded
