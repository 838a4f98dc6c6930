"""Files of region-encoder weights: the T-REN authors' checkpoint, and our own form in safetensors.

The authors' file (`tren_region_encoder.pth`, 1.2 GB) holds under `ren_region_encoder_state` 73 tensors, two of which
are position embeddings that follow from seed 42. They are checked against a regeneration and dropped: 126 MB remain.
Nothing in a file is ever run: pickles are read with `weights_only`, and a file is rejected before a module is filled.
"""

from __future__ import annotations

import math
import os
import pickle
import re
import tempfile
import zipfile
from pathlib import Path
from typing import NoReturn

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import ModelError
from .positions import FourierPositions, Kind
from .region_encoder import RegionEncoder
from .tensor_file import fail, fill

WHAT = "the region encoder"
KEY = "ren_region_encoder_state"
FORMAT = "vidmem-region-encoder-1"
LOCATIONS, GRID = "location_embeddings", "feature_embeddings"
"""The authors' buffers: positions of every pixel `(D, H, W)` and of the patches `(side * side, D)`, rows first."""
SAME = 1e-4
"""Two embeddings of one seed differ by less: the angle of a high frequency is good to some 1e-5 in float32."""
WIDEST = 16384
"""No encoder is wider; a file that claims so is damaged."""
CHANNELS = 12
"""Channels of `location_embeddings` that are compared, with all their pixels; all channels would be 1 GB to read. The
patches' embeddings, from the same matrix, are compared in all channels."""


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
    try:
        with open(path, "rb") as file:
            head = file.read(9)
    except OSError as error:
        raise ModelError(f"{WHAT} cannot be read ({error.strerror}); check the path: {path}") from None
    if head[8:] == b"{":  # safetensors begin with a length, whose bytes can be those of a zip or a pickle
        state, options = _read_ours(path)
    elif head[:2] == b"PK":
        state, options = _read_authors(path)
    elif head[:1] == b"\x80":
        _fail("it is a bare pickle, which can run code; save it as safetensors or with a torch of 1.6 or later", path)
    else:
        state, options = _read_ours(path)
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
    try:
        # mmap: the two embeddings are nine tenths of the file, and all but a few pages of them are never read.
        loaded = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError:
        _fail("its pickle wants to run code, which vidmem never does; get the published file", path)
    except (RuntimeError, OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        _fail(f"it is damaged or cut short ({str(error).splitlines()[0][:80]}); fetch it again", path)
    inner = loaded.get(KEY) if isinstance(loaded, dict) else None
    if not isinstance(inner, dict) or not all(isinstance(n, str) and _plain(t) for n, t in inner.items()):
        _fail(f"it has no table of tensors {KEY!r}; get the published tren_region_encoder.pth", path)
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


def _plain(value: object) -> bool:
    """A tensor that holds its values itself: one that repeats a few could claim to be of any size."""
    return isinstance(value, Tensor) and value.layout == torch.strided and value.is_contiguous() and value.ndim > 0


def _width(state: dict[str, Tensor], path: Path) -> int:
    scales = state.get("scale_embeddings.weight")
    if scales is None or scales.ndim != 2 or not 0 < scales.shape[1] <= WIDEST or scales.shape[1] % 2:
        _fail("scale_embeddings.weight (k, width) is missing or of another form; get the published file", path)
    return int(scales.shape[1])


def _side(grid: Tensor) -> int:
    return math.isqrt(len(grid))


def _regenerated(name: str, found: Tensor, dim: int) -> bool:
    """Whether `found` is what seed 42 gives: all of the patches; of the pixels all in some channels."""
    positions = FourierPositions(dim)
    if name == GRID:
        side = _side(found)
        if found.shape != (side * side, dim) or side > WIDEST:
            return False
        return bool((found.float() - positions.grid(side, side)).abs().max() < SAME)
    if found.ndim != 3 or found.shape[0] != dim or found.shape[1] != found.shape[2]:
        return False
    side = found.shape[1]
    centres = 2 * (torch.arange(side) + 0.5) / side - 1
    for channel in sorted({(dim - 1) * i // (CHANNELS - 1) for i in range(CHANNELS)}):
        x, y = positions.gaussian[:, channel % (dim // 2)]
        angle = 2 * torch.pi * (centres * x + (centres * y)[:, None])
        expected = angle.sin() if channel < dim // 2 else angle.cos()
        if not bool((found[channel].float() - expected).abs().max() < SAME):
            return False
    return True


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
                dim, text_dim, heads=heads, layers=layers, k=k, mlp_dim=mlp_dim,
                **RegionEncoder.more_options(options),
            )  # fmt: skip
    except (ValueError, KeyError, RuntimeError) as error:
        _fail(f"no module can be made of it ({error}); get the published file", path)
    # A copy of each: a view of a mapped file would keep all of it open, and change with it.
    fill(model, {name: tensor.clone() for name, tensor in state.items()}, WHAT, path)
    return model
