"""Reading files of weights that others wrote, without ever running what is in them."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def read_tensors(path: Path, what: str) -> dict[str, Tensor]:
    """The tensors of a flat `.pth` or `.safetensors` file by name, on the CPU, mapped and not copied.

    what: of whom, for messages ("the dino.txt weights"). Raises ModelError when the file is missing, damaged, no
    table of tensors, or a pickle that wants to run code (only `weights_only` is ever used).
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with open(path, "rb") as file:
            head = file.read(9)
    except OSError as error:
        raise ModelError(f"{what} cannot be read ({error.strerror}); check the path: {path}") from None
    table = head[8:] == b"{"  # safetensors begin with a length, whose bytes can be those of a zip or of a pickle
    if head[:1] == b"\x80" and not table:
        fail(what, "it is a bare pickle, which can run code; save it with torch 1.6 or later", path)
    try:
        if head[:2] == b"PK" and not table:
            loaded = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        else:
            loaded = load_file(path)
    except pickle.UnpicklingError:
        fail(what, "its pickle wants to run code, which vidmem never does; fetch the published file", path)
    except (SafetensorError, RuntimeError, OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        fail(what, f"it is damaged or cut short ({_first_line(error)}); fetch it again", path)
    if not isinstance(loaded, dict) or not loaded or not all(isinstance(t, torch.Tensor) for t in loaded.values()):
        fail(what, "it is no flat table of tensors; fetch the published file", path)
    return loaded


def fill(module: torch.nn.Module, state: Mapping[str, Tensor], what: str, path: Path) -> None:
    """Make `state` the weights of `module`, which may live on the meta device; float32, eval mode, no gradients.

    Everything is checked before anything is changed. Raises ModelError for a tensor that is missing, unknown, of
    another shape, no float, or not finite.
    """
    wanted = {name: tensor.shape for name, tensor in module.state_dict().items()}
    for name in sorted(wanted.keys() | state.keys()):
        if name not in state:
            fail(what, f"the tensor {name} is missing; fetch the published file", path)
        if name not in wanted:
            fail(what, f"the tensor {name} is unknown; fetch the published file", path)
        tensor = state[name]
        if tensor.shape != wanted[name] or not tensor.is_floating_point():
            found = f"{tuple(tensor.shape)} {tensor.dtype}"
            fail(what, f"{name} is {found}, want {tuple(wanted[name])}; fetch it again", path)
        # A sum is one pass without a copy, and no NaN or infinity survives it unseen.
        if not bool(tensor.float().sum().isfinite()):
            fail(what, f"{name} holds a value that is not finite; fetch it again", path)
    module.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
    module.eval().requires_grad_(False)


def fail(what: str, cause: str, path: Path) -> NoReturn:
    """Raises ModelError: `path` is not `what`."""
    raise ModelError(f"{what} cannot be used: {cause}: {path}")


def _first_line(error: Exception) -> str:
    text = str(error).splitlines()
    return text[0][:80] if text else type(error).__name__
