"""`vidmem doctor`: check the installation and the memory, and name a remedy for what is broken."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from .. import __version__
from ..errors import ModelError, StoreError, VidmemError
from ..fleet.address import folder_of, is_fleet
from ..fleet.opening import open_store
from .messages import warn
from .options import AskedMemoryOption
from .output import Listing, Show, count, listing

REQUIRED = {
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
"""Packages by the modules that they install."""
OPTIONAL = {"decord": "decord"}
ALTERNATIVES = {"onnxruntime": ("onnxruntime-gpu",)}
"""Other packages that install a module."""

CODECS = ("h264", "hevc", "vp9", "av1")


class Check(NamedTuple):
    """One line of the report. remedy: empty if nothing is wrong."""

    name: str
    found: str
    remedy: str = ""


@listing
def doctor(
    verify: Annotated[
        str | None,
        typer.Option(
            "--verify",
            metavar="FOLDER",
            help="Only check the memory in this folder, all of it: files, pages, schema, every row and every checksum. "
            "Nothing is written.",
        ),
    ] = None,
    memory: AskedMemoryOption = None,
    *,
    show: Show,
) -> int:
    """Check the installation and the memory.

    Prints a remedy for everything that is broken; the exit code is then 4. Use --verify before you trust a memory from
    someone else, or one from a disk that fails.

    \b
    Examples:
      vidmem doctor
      vidmem doctor --verify theirs.memory
    """
    if verify is not None:
        return _verify(Path(verify), show)
    from ..config import default_address
    from ..encoders.registry import problems  # here and below: what is broken must not stop the doctor

    address = memory or default_address()
    checks = [
        Check("vidmem", __version__),
        Check("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *(_module(name, package) for name, package in REQUIRED.items()),
        *(_optional(name, package) for name, package in OPTIONAL.items()),
        *_torch(),
        Check("sqlite", sqlite3.sqlite_version),
        _guarded("device", _device),
        *(_guarded(f"codec {name}", partial(_codec, name)) for name in CODECS),
        _guarded("encoder", _encoder),
        *(Check("encoder of a package", "broken", problem) for problem in problems()),
        _fleet(address) if is_fleet(address) else _guarded("memory", lambda: _memory(folder_of(address))),
    ]
    rows = [{"check": c.name, "ok": not c.remedy, "found": c.found, "remedy": c.remedy} for c in checks]
    table = [("", "check", "found")]
    table += [("ok" if not c.remedy else "BROKEN", c.name, c.found) for c in checks]
    show(Listing(rows, table))
    broken = [c for c in checks if c.remedy]
    for check in broken:
        warn(f"{check.name}: {check.remedy}")
    return VidmemError.exit_code if broken else 0


def _verify(folder: Path, show: Show) -> int:
    """Print a line for each part of a memory, and for each thing that is wrong with it."""
    from ..encoders import check_stranger
    from ..store import Store
    from ..store.files import DATABASE_NAME
    from ..store.verify import Finding, verify

    if not (folder / DATABASE_NAME).is_file():
        raise StoreError(f"there is no memory here; check the path: {folder}")
    findings = list(verify(folder))
    if all(f.sound for f in findings):
        with Store.open(folder) as store:
            made = store.model()
        if made is not None:
            try:
                check_stranger(made.encoder)
                findings.append(Finding("encoder", True, made.encoder))
            except ModelError as error:
                findings.append(Finding("encoder", False, str(error)))
    table = [("", "check", "found"), *(("ok" if f.sound else "BROKEN", f.check, f.found) for f in findings)]
    show(Listing([{"check": f.check, "ok": f.sound, "found": f.found} for f in findings], table))
    if all(f.sound for f in findings):
        return 0
    warn(f"do not use this memory, or restore it from a backup: {folder}")
    return StoreError.exit_code


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except VidmemError as error:
        return Check(name, "broken", str(error))
    except Exception as error:  # a broken installation can raise anything; the other checks go on
        return Check(name, "broken", f"{type(error).__name__}: {error}; reinstall vidmem")


def _module(name: str, package: str) -> Check:
    try:
        import_module(name)
        for candidate in (package, *ALTERNATIVES.get(name, ())):
            with suppress(metadata.PackageNotFoundError):
                return Check(candidate, metadata.version(candidate))
        return Check(package, "version unknown")  # not installed by pip, such as conda's faiss
    except Exception as error:  # a damaged extension module can raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Check(package, f"cannot be imported ({reason})", f"pip install --force-reinstall {package}")


def _optional(name: str, package: str) -> Check:
    if find_spec(name) is None:
        return Check(package, f"not installed (optional; pip install 'vidmem[{package}]')")
    return _module(name, package)


def _torch() -> list[Check]:
    """Checks of torch, which only some encoders need; none if it is not installed."""
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

    used, *fallbacks = providers()
    unused = set(PROVIDERS.values()) - {used, *fallbacks}
    others = [name for name in onnxruntime.get_available_providers() if name in unused]
    also = f"; also available: {', '.join(others)}" if others else ""
    return Check("device", f"{used}, {os.cpu_count()} cores{also}")


def _codec(name: str) -> Check:
    import av.codec

    try:
        av.codec.Codec(name, "r")
    except ValueError:  # av.codec.UnknownCodecError
        return Check(f"codec {name}", "missing", "this PyAV has no such decoder; pip install --force-reinstall av")
    return Check(f"codec {name}", "decodes")


def _encoder() -> Check:
    import numpy as np

    from ..encoders import DEFAULT, load
    from ..records import View

    encoder = load(DEFAULT)
    width, height = encoder.working_size(64, 64)
    picture = np.full((height, width, 3), 128, np.uint8)
    encoder.encode([picture], width, height)  # loads the networks, checks their checksums and runs them
    if (views := encoder.views) is not None:
        box = (0.0, 0.0, float(width), float(height))
        views.look([View(picture, box, (width, height), 0, np.empty(0, np.float32), 0.0, 1.0)])
    return Check("encoder", f"{DEFAULT}, weights {encoder.info.weights[:16]}, checksums match")


def _memory(folder: Path) -> Check:
    from ..store import Store
    from ..store.files import DATABASE_NAME

    if not (folder / DATABASE_NAME).exists():
        parent = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        if parent.is_dir() and os.access(parent, os.W_OK):
            return Check("memory", f"none yet, `vidmem index` creates it: {folder}")
        return Check(
            "memory",
            f"none, and it cannot be created: {folder}",
            f"set --memory or VIDMEM_MEMORY to another folder; {parent} is "
            f"{'read-only' if parent.is_dir() else 'a file'}",
        )
    try:
        with Store.open(folder) as store:
            stats, model, due, sealed = store.stats(), store.model(), store.scrub_due(), store.sealed
    except StoreError as error:
        return Check("memory", "broken", str(error))
    maker = f"made by {model.encoder}" if model else "no encoder yet"
    counts = f"{count(stats.sources, 'source')}, {count(stats.tracks, 'track')}, {maker}"
    if remedy := _encoder_problem(folder):
        return Check("memory", f"{counts}: {folder}", remedy)
    if due:
        remedy = "something was forgotten but is not erased; `vidmem compact` erases it"
        return Check("memory", f"{counts}: {folder}", remedy)
    if sealed:
        return Check("memory", f"{counts}, sealed: questions work, nothing is written: {folder}")
    writable = os.access(folder, os.W_OK) and os.access(folder / DATABASE_NAME, os.W_OK)
    return Check(
        "memory", f"{counts}, {'writable' if writable else 'read-only: questions work, indexing does not'}: {folder}"
    )


def _fleet(address: str) -> Check:
    try:
        with open_store(address) as store:
            stats, model, name = store.stats(), store.model(), store.address
    except VidmemError as error:
        return Check("memory", "broken", str(error))
    counts = f"{count(stats.sources, 'source')}, {count(stats.tracks, 'track')}"
    if remedy := _encoder_problem(address):
        return Check("memory", f"{counts}: {name}", remedy)
    return Check("memory", f"{counts}, made by {model.encoder if model else '-'}: {name}")


def _encoder_problem(folder: str | Path) -> str:
    """Why the memory cannot be opened with its encoder; empty if it can."""
    from ..memory import Memory

    try:
        Memory.open(folder, read_only=True).close()
    except VidmemError as error:
        return str(error)
    return ""
