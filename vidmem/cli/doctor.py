"""`vidmem doctor`: is everything here that vidmem needs, and what to do when it is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from ..errors import StoreError, VidmemError
from .options import MemoryOption
from .output import Listing, Show, listing, warn

NEEDED = {
    "numpy": "numpy",
    "PIL": "pillow",
    "onnxruntime": "onnxruntime",
    "av": "av",
    "faiss": "faiss-cpu",
    "sqlite_utils": "sqlite-utils",
    "safetensors": "safetensors",
    "typer": "typer",
    "rich": "rich",
    "platformdirs": "platformdirs",
}
OPTIONAL = {"decord": "decord"}
"""Modules and what installs them."""
SAME = {"onnxruntime": ("onnxruntime-gpu",)}
"""Other packages that a module may come from."""

CODECS = ("h264", "hevc", "vp9", "av1")


class Check(NamedTuple):
    """remedy: empty when all is well."""

    name: str
    found: str
    remedy: str = ""


@listing
def doctor(memory: MemoryOption = None, *, show: Show) -> int:
    """Check the installation and the memory.

    Exit code 4, and a remedy for each thing that is broken.
    """
    import platform
    import sqlite3

    from .. import __version__
    from ..encoders.registry import problems
    from ..memory import default_folder

    checks = [
        Check("vidmem", __version__),
        Check("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *(_module(name, package) for name, package in NEEDED.items()),
        *(_optional(name, package) for name, package in OPTIONAL.items()),
        *_torch(),
        Check("sqlite", sqlite3.sqlite_version),
        _guarded("device", _device),
        *(_guarded(f"codec {name}", partial(_codec, name)) for name in CODECS),
        _guarded("encoder", _encoder),
        *(Check("encoder of a package", "broken", problem) for problem in problems()),
        _memory(Path(memory) if memory else default_folder()),
    ]
    rows = [{"check": c.name, "ok": not c.remedy, "found": c.found, "remedy": c.remedy} for c in checks]
    table = [("", "check", "found")]
    table += [("ok" if not c.remedy else "BROKEN", c.name, c.found) for c in checks]
    show(Listing(rows, table))
    broken = [c for c in checks if c.remedy]
    for check in broken:
        warn(f"{check.name}: {check.remedy}")
    return VidmemError.exit_code if broken else 0


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except VidmemError as error:
        return Check(name, "broken", str(error))
    except Exception as error:  # whatever a broken installation does, the other checks go on
        return Check(name, "broken", f"{type(error).__name__}: {error}; reinstall vidmem")


def _module(name: str, package: str) -> Check:
    import importlib.metadata

    try:
        import_module(name)
        for same in (package, *SAME.get(name, ())):
            with suppress(importlib.metadata.PackageNotFoundError):
                return Check(same, importlib.metadata.version(same))
        return Check(package, "version unknown")  # built by other means, such as conda's faiss
    except Exception as error:  # a damaged extension module raises anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Check(package, f"cannot be imported ({reason})", f"pip install --force-reinstall {package}")


def _optional(name: str, package: str) -> Check:
    from importlib.util import find_spec

    if find_spec(name) is None:
        return Check(package, f"not installed (optional; pip install 'vidmem[{package}]')")
    return _module(name, package)


def _torch() -> list[Check]:
    """Only some encoders want it: nothing is said where it is not."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        return []
    check = _module("torch", "torch")
    return [check] if check.remedy else [check, _guarded("torch device", _torch_device)]


def _torch_device() -> Check:
    from ..encoders.device import pick_device

    device, dtype = pick_device()
    return Check("torch device", f"{device} with {str(dtype).removeprefix('torch.')}")


def _device() -> Check:
    import onnxruntime

    from ..encoders.onnx import PROVIDERS, providers

    used, *rest = providers()
    known = set(PROVIDERS.values()) - {used, *rest}
    also = [name for name in onnxruntime.get_available_providers() if name in known]
    told = f"{used}, {os.cpu_count()} cores" + (f"; also here: {', '.join(also)}" if also else "")
    return Check("device", told)


def _codec(name: str) -> Check:
    import av.codec

    try:
        av.codec.Codec(name, "r")
    except ValueError:  # av.codec.UnknownCodecError
        return Check(f"codec {name}", "missing", "this build of PyAV lacks it; pip install --force-reinstall av")
    return Check(f"codec {name}", "decodes")


def _encoder() -> Check:
    import numpy as np

    from ..encoders import DEFAULT, load
    from ..records import View

    encoder = load(DEFAULT)
    width, height = encoder.working_size(64, 64)
    picture = np.full((height, width, 3), 128, np.uint8)
    encoder.encode([picture], width, height)  # loads its networks, compares their checksums and runs them
    if (looker := encoder.views) is not None:
        box = (0.0, 0.0, float(width), float(height))
        looker.look([View(picture, box, (width, height), 0, np.empty(0, np.float32), 0.0, 1.0)])
    return Check("encoder", f"{DEFAULT}, weights {encoder.info.weights[:16]}, checksums right")


def _memory(folder: Path) -> Check:
    from ..store import Store
    from ..store.files import DATABASE_NAME

    if not (folder / DATABASE_NAME).exists():
        above = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        if above.is_dir() and os.access(above, os.W_OK):
            return Check("memory", f"none yet, `vidmem index` makes it: {folder}")
        return Check(
            "memory",
            f"none, and it cannot be made: {folder}",
            f"choose --memory or VIDMEM_MEMORY; {above} is {'read-only' if above.is_dir() else 'a file'}",
        )
    try:
        with Store.open(folder) as store:
            stats, model = store.stats(), store.model()
    except StoreError as error:
        return Check("memory", "broken", str(error))
    counts = f"{stats.sources} sources, {stats.tracks} tracks, made by {model.encoder if model else 'nothing yet'}"
    if remedy := _encoder_fits(folder):
        return Check("memory", f"{counts}: {folder}", remedy)
    writable = os.access(folder, os.W_OK) and os.access(folder / DATABASE_NAME, os.W_OK)
    return Check("memory", f"{counts}, {'writable' if writable else 'read-only: only questions work'}: {folder}")


def _encoder_fits(folder: Path) -> str:
    from ..memory import Memory

    try:
        Memory.open(folder, read_only=True).close()
    except VidmemError as error:
        return str(error)
    return ""
