"""All encoders by name: those of vidmem, those of installed packages, and those registered in this process.

A package offers an encoder by an entry point of the group `vidmem.encoders`, whose name is the encoder's and whose
value is an EncoderSpec. Entry points are read only when all encoders are listed or when a name is not one of vidmem's
own, which win over a package's. A package that fails to load breaks no other encoder; see `problems`.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from ..address import printable
from ..errors import ModelError, UsageError
from ..offline import offline
from .base import Encoder, MaskSource, TextEncoder
from .clip.spec import CLIP, DENSEVLM, GEM, TEXTREGION
from .extras import needing, require
from .spec import EncoderSpec, LoadOptions
from .tiny.spec import TINY
from .tren.spec import PATCHES, TREN

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "vidmem.encoders"
"""The group of entry points by which packages offer encoders."""
BUILT_IN = {spec.name: spec for spec in (TINY, CLIP, TREN, PATCHES, TEXTREGION, GEM, DENSEVLM)}
DEFAULT = TINY.name

_MAX_NAME = 200
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_BACKBONE = re.compile(r"([A-Za-z0-9_+-][A-Za-z0-9_.+-]*(/[A-Za-z0-9_.+-]+)?)?(,[a-z_]+=[A-Za-z0-9_.-]+)*")
"""NAME/TAG of open_clip, or the name of a size, with options. A colon would begin a place: `local-dir:`, `hf-hub:`."""

_registered: dict[str, EncoderSpec] = {}
_log = logging.getLogger(__name__)


def register(spec: EncoderSpec) -> None:
    """Make an encoder known in this process.

    Raises:
        UsageError: The name belongs to vidmem.
    """
    if spec.name in BUILT_IN:
        raise UsageError(f"vidmem has an encoder {spec.name!r} of its own; choose another name")
    _registered[spec.name] = spec


@contextmanager
def registered(spec: EncoderSpec) -> Iterator[None]:
    """Make an encoder known within a `with` block. Raises UsageError as `register`."""
    before = _registered.copy()
    register(spec)
    try:
        yield
    finally:
        _registered.clear()
        _registered.update(before)


def names() -> list[str]:
    """The names of all encoders, vidmem's own first. Those of packages are not loaded and may be broken."""
    return list(dict.fromkeys([*BUILT_IN, *_registered, *(entry.name for entry in _entry_points())]))


def is_known(spelling: str) -> bool:
    """Return True if there is an encoder of this name; the backbone is not checked."""
    name = spelling.partition(":")[0]
    return name in BUILT_IN or name in _registered or any(entry.name == name for entry in _entry_points())


def check_stranger(spelling: str) -> None:
    """Check the name of an encoder that a memory has, and that its user did not say.

    A memory may come from a stranger. It may name an encoder of the registry, with weights in the user's own folder,
    but no place where a model lies.

    Raises:
        ModelError: The name leads to a folder or to a hub.
    """
    name, _, backbone = spelling.partition(":")
    if len(spelling) > _MAX_NAME or not _NAME.fullmatch(name) or not _BACKBONE.fullmatch(backbone) or ".." in backbone:
        shown = printable(spelling[:_MAX_NAME])
        raise ModelError(
            "the memory names a model by its place, and a memory may come from a stranger; if you trust that model, "
            f"name it yourself as `encoder`: {shown}"
        )


def find(spelling: str) -> EncoderSpec:
    """The spec of an encoder spelled `name` or `name:backbone`.

    Raises:
        ModelError: There is no such encoder, or its package cannot be loaded.
    """
    name = spelling.partition(":")[0]
    own = BUILT_IN.get(name) or _registered.get(name)
    if own is not None:
        return own
    for entry in _entry_points():
        if entry.name == name:
            return _loaded(entry)
    known = names()
    near = difflib.get_close_matches(name, known, 1, 0.4)
    hint = f"did you mean {near[0]!r}? There are" if near else "there are"
    raise ModelError(f"no encoder {name[:60]!r}; {hint}: {', '.join(known)} (see `vidmem models`)")


def problems() -> list[str]:
    """A line for each entry point that cannot be used, with its cause and remedy."""
    found: list[str] = []
    seen: set[str] = set()
    for entry in _entry_points():
        if entry.name in BUILT_IN or entry.name in seen:
            owner = "vidmem" if entry.name in BUILT_IN else "another package"
            found.append(_unusable(entry, f"{owner} has an encoder of that name"))
            continue
        seen.add(entry.name)
        try:
            _loaded(entry)
        except ModelError as error:
            found.append(str(error))
    return found


def check(spelling: str, weights: str | os.PathLike[str] | None = None, *, complete: bool = False) -> None:
    """Check that an encoder can be used, without loading it.

    Args:
        spelling: `name` or `name:backbone`.
        weights: Folder of its weights; None for the default.
        complete: Also check that PyTorch and all files of weights are there, if it needs them. What is in the files is
            only seen when they are loaded.

    Raises:
        ModelError: There is no such encoder or backbone, or something is missing.
    """
    spec = find(spelling)
    if complete and spec.extra is not None:
        require(spec.extra, f"`{spec.name}`")
    if spec.wanted is None:
        return
    with _needing(spec):
        files = spec.wanted(_backbone(spelling))
    if complete:
        from .hub import locate, weights_folder

        for wanted in files:
            locate(wanted, weights_folder(weights))


def check_masks(spelling: str) -> None:
    """Raise UsageError if the encoder finds its regions itself, ModelError if there is no such encoder."""
    if not find(spelling).takes_masks:
        takers = " and ".join(spec.name for spec in BUILT_IN.values() if spec.takes_masks)
        raise UsageError(f"`{spelling}` finds its regions itself; `masks` is for {takers}")


def load(
    spelling: str = DEFAULT,
    device: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    *,
    masks: str | os.PathLike[str] | MaskSource | None = None,
) -> Encoder:
    """Load both sides of an encoder.

    Args:
        spelling: `name` or `name:backbone`.
        device: cuda, mps or cpu; None for the best that works.
        weights: Folder of its weights; None for VIDMEM_WEIGHTS or the platform's folder.
        masks: Where its regions come from: `sam2[:SIZE][,grid=N]`, a folder of masks, or a MaskSource.

    Raises:
        ModelError: There is no such encoder, or its weights or libraries are missing or damaged.
        UsageError: The device does not work, or the encoder has no folder of weights or takes no masks.
    """
    spec = find(spelling)
    _check_weights(spec, spelling, weights)
    if masks is not None:
        check_masks(spelling)
        if isinstance(masks, str | os.PathLike):
            from .masks.loading import mask_source

            masks = mask_source(masks, device, weights)
    with _needing(spec), offline(), _timed(f"encoder `{spelling}`"):
        loaded = spec.load(LoadOptions(_backbone(spelling), device, weights, masks))
    if not isinstance(loaded, Encoder):
        raise ModelError(f"the encoder `{spec.name}` is a {type(loaded).__name__}, not a vidmem.encoders.Encoder")
    return loaded


def load_text(spelling: str = DEFAULT, weights: str | os.PathLike[str] | None = None) -> TextEncoder:
    """Load the text side of an encoder alone, which is quick. Arguments and errors as in `load`."""
    spec = find(spelling)
    _check_weights(spec, spelling, weights)
    with _needing(spec), offline(), _timed(f"text side of `{spelling}`"):
        loaded = spec.load_text(LoadOptions(_backbone(spelling), None, weights))
    if not isinstance(loaded, TextEncoder):
        kind = type(loaded).__name__
        raise ModelError(f"the text side of `{spec.name}` is a {kind}, not a vidmem.encoders.TextEncoder")
    return loaded


def knows(spelling: str) -> tuple[str, bool]:
    """What an encoder can name, in words, and whether that is any phrase. Raises ModelError.

    Its weights may be missing if its spec says what it knows.
    """
    spec = find(spelling)
    if spec.knows:
        return spec.knows, spec.open_vocabulary
    info = load_text(spelling).info
    return info.knows, info.open_vocabulary


def _backbone(spelling: str) -> str:
    return spelling.partition(":")[2]


def _check_weights(spec: EncoderSpec, spelling: str, weights: str | os.PathLike[str] | None) -> None:
    if weights is not None and spec.wanted is None:
        raise UsageError(f"`{spelling}` has no folder of weights; leave `weights` out")


def _needing(spec: EncoderSpec) -> AbstractContextManager[None]:
    return nullcontext() if spec.extra is None else needing(spec.extra, f"`{spec.name}`")


@contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    _log.info("%s loaded in %.2f s", what, time.perf_counter() - began)


def _entry_points() -> list[EntryPoint]:
    from importlib.metadata import entry_points  # some 20 ms that most commands do not need

    return list(entry_points(group=GROUP))


def _package(entry: EntryPoint) -> str:
    return f"the package {entry.dist.name!r}" if entry.dist is not None else "a package"


def _loaded(entry: EntryPoint) -> EncoderSpec:
    """The spec behind an entry point. Raises ModelError whatever goes wrong: the code is not vidmem's."""
    try:
        spec = entry.load()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:150]
        raise ModelError(_unusable(entry, f"it fails to import ({reason})")) from error
    if not isinstance(spec, EncoderSpec):
        raise ModelError(_unusable(entry, f"{entry.value} is a {type(spec).__name__}, not an EncoderSpec"))
    if spec.name != entry.name:
        raise ModelError(_unusable(entry, f"its EncoderSpec is called {spec.name!r}"))
    return spec


def _unusable(entry: EntryPoint, cause: str) -> str:
    return f"the encoder {entry.name!r} of {_package(entry)} cannot be used: {cause}; update or uninstall the package"
