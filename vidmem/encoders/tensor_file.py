"""Read files of weights from strangers without running code in them."""

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

MOST_TIMES = 4
"""Maximum size of all tensors of a file, in sizes of the file. Some tensors share values, as the embeddings of a text
tower do, but a file of a few bytes must not claim gigabytes."""


def read_tensors(path: Path, what: str, *, inner: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The tensors of a `.pth`, `.bin` or `.safetensors` file by name, on the CPU, mapped and not copied.

    what: The file's name in messages, such as "the dino.txt weights". inner: Keys under which a training keeps the
    table in a pickle.

    Raises:
        ModelError: The file is missing, damaged, not a table of tensors, or a pickle that wants to run code.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    head = first_bytes(path, what)
    if is_pickle(head):
        loaded = read_pickle(path, what)
        for key in inner:
            if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
                loaded = loaded[key]
        return table(loaded, what, path)
    try:
        return load_file(path)
    except (SafetensorError, RuntimeError, OSError, ValueError, EOFError, KeyError) as error:
        fail(what, f"it is damaged or cut short ({_first_line(error)}); fetch it again", path)


def first_bytes(path: Path, what: str) -> bytes:
    """What tells safetensors from a zip and a pickle: 9 bytes. safetensors begin with a length, whose bytes can be
    those of the others; the ninth is then "{". Raises ModelError when the file cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(9)
    except OSError as error:
        raise ModelError(f"{what} cannot be read ({error.strerror}); check the path: {path}") from None


def is_pickle(head: bytes) -> bool:
    """Return True if `first_bytes` belong to a pickle, in a zip or bare."""
    return head[8:] != b"{" and (head[:2] == b"PK" or head[:1] == b"\x80")


def read_pickle(path: Path, what: str) -> object:
    """What `torch.save` wrote, tensors mapped and on the CPU; nothing in the file is run.

    Raises ModelError for a file that is damaged, packed (torch packs nothing, so a few bytes could become any number),
    a TorchScript archive, a pickle without a zip around it, or one that wants to run code.
    """
    import torch

    if first_bytes(path, what)[:2] != b"PK":
        fail(what, "it is a bare pickle, which can run code; save it as safetensors or with torch 1.6 or later", path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        if any(entry.filename.endswith("/constants.pkl") for entry in entries):
            fail(what, "it is a TorchScript archive, which is code; take the weights alone, as .safetensors", path)
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            fail(what, "its parts are packed, which torch.save never does; fetch the published file", path)
        # mmap: of the large tables that are only compared, most pages are never read.
        loaded: object = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError:
        fail(what, "its pickle wants to run code, which vidmem never does; fetch the published file", path)
    except ModelError:
        raise
    except Exception as error:  # torch's reader of pickles raises anything on damaged bytes
        fail(what, f"it is damaged or cut short ({_first_line(error)}); fetch it again", path)
    return loaded


def table(loaded: object, what: str, path: Path) -> dict[str, Tensor]:
    """`loaded` as a table of tensors by name, in whatever order their values lie. Raises ModelError when it is none,
    or when a tensor has more values than the file holds for it."""
    import torch

    if not isinstance(loaded, dict) or not loaded:
        fail(what, "it is no flat table of tensors; fetch the published file", path)
    total = 0
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            found = f"{str(name)[:60]} is of the type {type(tensor).__name__}, not a tensor with a name"
            fail(what, f"{found}; fetch the published file", path)
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            fail(what, f"{name} is sparse, quantized or without values; fetch the published file", path)
        size = tensor.numel() * tensor.element_size()
        total += size
        if size > tensor.untyped_storage().nbytes() or total > MOST_TIMES * path.stat().st_size:
            fail(what, f"{name} repeats values and claims to be larger than the file; fetch the published file", path)
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
        if not bool(tensor.detach().float().sum().isfinite()):
            fail(what, f"{name} holds a value that is not finite; fetch it again", path)
    # Parameters of a training, or turned about: what comes in is plain and in order.
    plain = {name: tensor.detach().float().contiguous() for name, tensor in state.items()}
    module.load_state_dict(plain, assign=True)
    module.eval().requires_grad_(False)


def fail(what: str, cause: str, path: Path) -> NoReturn:
    """Raise ModelError: `path` cannot be used as `what`."""
    raise ModelError(f"{what} cannot be used: {cause}: {path}")


def _first_line(error: Exception) -> str:
    text = str(error).splitlines()
    return text[0][:80] if text else type(error).__name__
