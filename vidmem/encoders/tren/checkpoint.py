"""Read and write region encoders: the T-REN authors' checkpoint, and vidmem's format in safetensors.

The authors' file (`tren_region_encoder.pth`, 1.2 GB) has 73 tensors under `ren_region_encoder_state`. Two of them are
position embeddings that can be computed from seed 42. They are compared with computed ones and dropped, which leaves
126 MB. No code in a file is run: pickles are read with `weights_only`. A wrong file is rejected before a module is
filled.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import NoReturn

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...errors import ModelError
from ..partial import new_part
from ..tensor_file import fail, fill, first_bytes, is_pickle, read_pickle, table
from .positions import FourierPositions, Kind
from .region_encoder import RegionEncoder

WHAT = "the region encoder"
"""Their name in messages."""
KEY = "ren_region_encoder_state"
"""The table of tensors in the authors' file."""
FORMAT = "vidmem-region-encoder-1"
"""The format that vidmem writes, in the metadata of a file."""
LOCATIONS, GRID = "location_embeddings", "feature_embeddings"
"""The authors' position embeddings of every pixel, `(D, H, W)`, and of the patches, `(side * side, D)`, rows first."""
TOLERANCE = 1e-4
"""Maximum difference of embeddings from the same seed. A high frequency's angle is exact to about 1e-5 in float32."""
MAX_WIDTH = 16384
"""Maximum width of an encoder. A file with a larger one is damaged."""
SAMPLE = 12
"""Number of rows or channels of `location_embeddings` (1 GB) that are compared; which of the two depends on the memory
layout. In the authors' file, the channels of a pixel are contiguous (strides 1, D W, D), so rows are compared: a single
channel would read every page. The embeddings of the patches are compared as a whole."""


def our_name(authors_name: str) -> str:
    """The name in `RegionEncoder` of a tensor in the authors' file."""
    name = re.sub(r"^prompt_attention_layers\.(\d+)\.", r"layers.\1.prompt_attn.", authors_name)
    name = re.sub(r"^prompt_attention_norms\.(\d+)\.", r"layers.\1.prompt_norm.", name)
    name = re.sub(r"^region_attention_norms\.(\d+)\.", r"layers.\1.region_norm.", name)
    name = re.sub(r"^region_attention_layers\.(\d+)\.", r"layers.\1.", name).replace(".mlp.", ".")
    return name.removeprefix("token_prediction_head.").replace("text_alignment_block.linear", "text")


def load_region_encoder(path: Path, *, positions: Kind | None = None) -> RegionEncoder:
    """Load a region encoder from the authors' file or from vidmem's.

    Args:
        path: The file. The first bytes tell the two formats apart.
        positions: How positions are computed for pictures of another size than in training; see `FourierPositions`.
            None for what the file says; "exact" for the authors' file, which does not say it.

    Returns:
        The module, float32, on the CPU, in eval mode, with weights without gradients.

    Raises:
        ModelError: The file is missing, truncated, not a region encoder, or wants to run code; a tensor is missing,
            unknown or of a wrong shape; a value is not finite; or the position embeddings have another seed.
    """
    state, options = _read_authors(path) if is_pickle(first_bytes(path, WHAT)) else _read_ours(path)
    if positions is not None:
        options = {**options, "positions": positions}
    return _build(state, options, path)


def save_region_encoder(model: RegionEncoder, path: Path) -> None:
    """Write the weights as safetensors, with the options of the module as metadata.

    The file gets its name once it is complete. Raises ModelError if it cannot be written.
    """
    metadata = {"format": FORMAT, **{name: str(value) for name, value in model.options().items()}}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    part = None
    try:
        part = new_part(path)
        save_file(tensors, part, metadata=metadata)
        os.chmod(part, 0o644)
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        if part is not None:
            Path(part).unlink(missing_ok=True)
        raise ModelError(f"the region encoder cannot be written ({error}); choose another folder: {path}") from None


def _fail(cause: str, path: Path) -> NoReturn:
    fail(WHAT, cause, path)


def _read_authors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    loaded = read_pickle(path, WHAT)
    if not isinstance(loaded, dict) or not isinstance(loaded.get(KEY), dict):
        _fail(f"it has no table {KEY!r}; get the published tren_region_encoder.pth", path)
    inner = table(loaded[KEY], WHAT, path)
    positions = {name: inner[name] for name in (LOCATIONS, GRID) if name in inner}
    state: dict[str, Tensor] = {}
    for name, tensor in inner.items():
        if name in positions:
            continue
        ours = our_name(name)
        if ours in state:
            _fail(f"it holds {name} twice; get the published file", path)
        state[ours] = tensor
    dim = _width(state, path)
    if not all(_has_our_seed(name, tensor, dim) for name, tensor in positions.items()):
        _fail("its position embeddings are not those of seed 42; get the published file", path)
    options = {}
    if GRID in positions:
        options["side"] = str(_side(positions[GRID]))
    if LOCATIONS in positions:
        options["pixels"] = str(positions[LOCATIONS].shape[1])
    return state, options


def _width(state: dict[str, Tensor], path: Path) -> int:
    scales = state.get("scale_embeddings.weight")
    if scales is None or scales.ndim != 2 or not 0 < scales.shape[1] <= MAX_WIDTH or scales.shape[1] % 2:
        _fail("scale_embeddings.weight (k, width) is missing or of another form; get the published file", path)
    return int(scales.shape[1])


def _side(grid: Tensor) -> int:
    return math.isqrt(len(grid))


def _has_our_seed(name: str, found: Tensor, dim: int) -> bool:
    """Return True if the embeddings are those of seed 42. Of those of the pixels, only a sample is compared."""
    positions = FourierPositions(dim)
    if name == GRID:
        side = _side(found) if found.ndim == 2 else 0
        if not 0 < side <= MAX_WIDTH or found.shape != (side * side, dim):
            return False
        return _close(found, positions.grid(side, side))
    if found.ndim != 3 or found.shape[0] != dim or found.shape[1] != found.shape[2]:
        return False
    side = found.shape[1]
    centres = (torch.arange(side) + 0.5) / side
    if found.stride(0) < found.stride(2):  # the channels of a pixel are contiguous, as in the authors' file
        for row in _sampled(side):
            points = torch.stack([centres, centres[row].expand(side)], dim=1)
            if not _close(found[:, row].T, positions(points)):
                return False
        return True
    for channel in _sampled(dim):
        x, y = positions.gaussian[:, channel % (dim // 2)]
        angle = 2 * torch.pi * ((2 * centres - 1) * x + ((2 * centres - 1) * y)[:, None])
        if not _close(found[channel], angle.sin() if channel < dim // 2 else angle.cos()):
            return False
    return True


def _sampled(count: int) -> list[int]:
    return sorted({(count - 1) * i // (SAMPLE - 1) for i in range(SAMPLE)})


def _close(found: Tensor, expected: Tensor) -> bool:
    return bool((found.detach().float() - expected).abs().max() < TOLERANCE)


def _read_ours(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                _fail(f"its format is {metadata.get('format')!r}, not {FORMAT!r}; give a file that vidmem wrote", path)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        _fail(f"it is damaged or of another kind ({str(error).splitlines()[0][:80]}); fetch it again", path)
    return state, metadata


def _build(state: dict[str, Tensor], options: dict[str, str], path: Path) -> RegionEncoder:
    """Make a module and fill it with `state`. Raises ModelError if a name, shape or value is wrong."""
    try:
        k, dim = len(state["scale_embeddings.weight"]), _width(state, path)
        mlp_dim, text_dim = state["text1.weight"].shape[0], state["text2.weight"].shape[0]
        # The authors' file does not have the number of heads, but the norm of a head is as wide as the head.
        heads = dim // state["layers.0.cross_attn.q_norm.weight"].shape[0]
    except (KeyError, IndexError, ZeroDivisionError):
        _fail("the first layer or the text projector is missing; get the published file", path)
    layers = len({name.split(".")[1] for name in state if name.startswith("layers.")})
    read = {"dim": dim, "text_dim": text_dim, "k": k, "heads": heads, "layers": layers, "mlp_dim": mlp_dim}
    for name, value in read.items():
        if name in options and options[name] != str(value):
            _fail(f"{name} is {value} by its tensors and {options[name]} by its header; fetch it again", path)
    try:
        with torch.device("meta"):  # saves memory and random numbers for weights that are replaced
            model = RegionEncoder(
                dim,
                text_dim,
                heads=heads,
                layers=layers,
                k=k,
                mlp_dim=mlp_dim,
                **RegionEncoder.options_from_metadata(options),
            )
    except (ValueError, KeyError, RuntimeError) as error:
        _fail(f"the module cannot be made ({error}); get the published file", path)
    # Copy each tensor: a view of a mapped file keeps the whole file open, and changes with it.
    fill(model, {name: tensor.detach().clone() for name, tensor in state.items()}, WHAT, path)
    return model
