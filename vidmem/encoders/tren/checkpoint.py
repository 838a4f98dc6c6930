"""Files of region-encoder weights: the T-REN authors' checkpoint, and our own form in safetensors.

The authors' file (`tren_region_encoder.pth`, 1.2 GB) holds under `ren_region_encoder_state` 73 tensors, two of which
are position embeddings that follow from seed 42. They are checked against a regeneration and dropped: 126 MB remain.
Nothing in a file is ever run: pickles are read with `weights_only`, and a file is rejected before a module is filled.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from pathlib import Path
from typing import NoReturn

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...errors import ModelError
from ..tensor_file import fail, fill, first_bytes, is_pickle, read_pickle, table
from .positions import FourierPositions, Kind
from .region_encoder import RegionEncoder

WHAT = "the region encoder"
KEY = "ren_region_encoder_state"
FORMAT = "vidmem-region-encoder-1"
LOCATIONS, GRID = "location_embeddings", "feature_embeddings"
"""The authors' buffers: positions of every pixel `(D, H, W)` and of the patches `(side * side, D)`, rows first."""
SAME = 1e-4
"""Two embeddings of one seed differ by less: the angle of a high frequency is good to some 1e-5 in float32."""
WIDEST = 16384
"""No encoder is wider; a file that claims so is damaged."""
SAMPLE = 12
"""Of `location_embeddings`, 1 GB, so many rows are compared in all channels, or so many channels in all pixels, as the
values lie: the authors' file has the channels of a pixel side by side (strides 1, D W, D), where a channel alone would
read every page. The patches' embeddings, from the same matrix, are compared whole."""


def our_name(theirs: str) -> str:
    """The name in RegionEncoder of one of the authors' tensors."""
    name = re.sub(r"^prompt_attention_layers\.(\d+)\.", r"layers.\1.prompt_attn.", theirs)
    name = re.sub(r"^prompt_attention_norms\.(\d+)\.", r"layers.\1.prompt_norm.", name)
    name = re.sub(r"^region_attention_norms\.(\d+)\.", r"layers.\1.region_norm.", name)
    name = re.sub(r"^region_attention_layers\.(\d+)\.", r"layers.\1.", name).replace(".mlp.", ".")
    return name.removeprefix("token_prediction_head.").replace("text_alignment_block.linear", "text")


def load_region_encoder(path: Path, *, positions: Kind | None = None) -> RegionEncoder:
    """The region encoder in `path`, float32, on the CPU, in eval mode, its weights without gradients.

    The authors' file or ours, told apart by their first bytes. positions: how they are found for pictures of another
    size than in training (see FourierPositions); by default as the file says, and "exact" for the authors', which does
    not. Raises ModelError when the file is missing, truncated, no checkpoint of a region encoder, holds a tensor too
    few, too many or of a wrong shape, a value that is not finite, position embeddings of another seed, or wants to run
    code.
    """
    state, options = _read_authors(path) if is_pickle(first_bytes(path, WHAT)) else _read_ours(path)
    if positions is not None:
        options = {**options, "positions": positions}
    return _build(state, options, path)


def save_region_encoder(model: RegionEncoder, path: Path) -> None:
    """Write the weights as safetensors, with the options that cannot be read off the tensors as metadata.

    The file appears under its name when it is whole. Raises ModelError when it cannot be written.
    """
    metadata = {"format": FORMAT, **{name: str(value) for name, value in model.options().items()}}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    part = None
    try:
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        os.close(handle)
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
    if not all(_regenerated(name, tensor, dim) for name, tensor in positions.items()):
        _fail("its position embeddings are not those of seed 42; get the published file", path)
    options = {}
    if GRID in positions:
        options["side"] = str(_side(positions[GRID]))
    if LOCATIONS in positions:
        options["pixels"] = str(positions[LOCATIONS].shape[1])
    return state, options


def _width(state: dict[str, Tensor], path: Path) -> int:
    scales = state.get("scale_embeddings.weight")
    if scales is None or scales.ndim != 2 or not 0 < scales.shape[1] <= WIDEST or scales.shape[1] % 2:
        _fail("scale_embeddings.weight (k, width) is missing or of another form; get the published file", path)
    return int(scales.shape[1])


def _side(grid: Tensor) -> int:
    return math.isqrt(len(grid))


def _regenerated(name: str, found: Tensor, dim: int) -> bool:
    """Whether `found` is what seed 42 gives: all of the patches; of the pixels a sample (see SAMPLE)."""
    positions = FourierPositions(dim)
    if name == GRID:
        side = _side(found) if found.ndim == 2 else 0
        if not 0 < side <= WIDEST or found.shape != (side * side, dim):
            return False
        return _same(found, positions.grid(side, side))
    if found.ndim != 3 or found.shape[0] != dim or found.shape[1] != found.shape[2]:
        return False
    side = found.shape[1]
    centres = (torch.arange(side) + 0.5) / side
    if found.stride(0) < found.stride(2):  # as the authors save it: the channels of a pixel lie side by side
        for row in _spread(side):
            points = torch.stack([centres, centres[row].expand(side)], dim=1)
            if not _same(found[:, row].T, positions(points)):
                return False
        return True
    for channel in _spread(dim):
        x, y = positions.gaussian[:, channel % (dim // 2)]
        angle = 2 * torch.pi * ((2 * centres - 1) * x + ((2 * centres - 1) * y)[:, None])
        if not _same(found[channel], angle.sin() if channel < dim // 2 else angle.cos()):
            return False
    return True


def _spread(count: int) -> list[int]:
    return sorted({(count - 1) * i // (SAMPLE - 1) for i in range(SAMPLE)})


def _same(found: Tensor, expected: Tensor) -> bool:
    return bool((found.detach().float() - expected).abs().max() < SAME)


def _read_ours(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                _fail(f"its format is {metadata.get('format')!r}, not {FORMAT!r}; give a file that vidmem wrote", path)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError, ValueError) as error:
        _fail(f"it is damaged or of another kind ({str(error).splitlines()[0][:80]}); fetch it again", path)
    return state, metadata


def _build(state: dict[str, Tensor], options: dict[str, str], path: Path) -> RegionEncoder:
    """A module filled with `state`, after every name, shape and value has been found right."""
    try:
        k, dim = len(state["scale_embeddings.weight"]), _width(state, path)
        mlp_dim, text_dim = state["text1.weight"].shape[0], state["text2.weight"].shape[0]
        # The number of heads is in no file of the authors', but the norm of a head is as wide as the head.
        heads = dim // state["layers.0.cross_attn.q_norm.weight"].shape[0]
    except (KeyError, IndexError, ZeroDivisionError):
        _fail("the first layer or the text projector is missing; get the published file", path)
    layers = len({name.split(".")[1] for name in state if name.startswith("layers.")})
    read = {"dim": dim, "text_dim": text_dim, "k": k, "heads": heads, "layers": layers, "mlp_dim": mlp_dim}
    for name, value in read.items():
        if name in options and options[name] != str(value):
            _fail(f"{name} is {value} by its tensors and {options[name]} by its header; fetch it again", path)
    try:
        with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
            model = RegionEncoder(
                dim,
                text_dim,
                heads=heads,
                layers=layers,
                k=k,
                mlp_dim=mlp_dim,
                **RegionEncoder.more_options(options),
            )
    except (ValueError, KeyError, RuntimeError) as error:
        _fail(f"no module can be made of it ({error}); get the published file", path)
    # A copy of each: a view of a mapped file would keep all of it open, and change with it.
    fill(model, {name: tensor.detach().clone() for name, tensor in state.items()}, WHAT, path)
    return model
