"""Encoders: a picture in, region tokens out; a phrase in, a vector out.

`tiny` and `clip` work in two steps: *regions* of a frame, from the detector that ships (detector.py, detected.py), and
a look at the best *views* of each track, which gives the track's tokens (tiny_views.py, clip.py). The others have dense
features: means of a track's region tokens are its tokens. See base.py for both contracts.

A new encoder is one module with `load(backbone, device)`, `load_text(backbone)` and a line in ENCODERS. One that needs
libraries the core does not have names the EXTRA that brings them, and imports them inside its functions. One whose
weights come with the package also has `shipped_bytes()`. One whose weights lie in a folder of their own takes
`weights` as a last argument of both and has `wanted(backbone)` (see hub.py), KNOWS and LICENCE. One that pools under
masks takes `masks` and has MASKS; one whose text side is slow has what remembered.py asks for. PRESET is the preset of
a new memory, if it is not `default`.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType
from typing import TYPE_CHECKING, cast

from ..errors import ModelError, UsageError
from .base import Calibration, Encoder, EncoderInfo, Reading, TextEncoder
from .extras import needing, require

if TYPE_CHECKING:
    from .masks.source import MaskSource

ENCODERS = {
    "tiny": "vidmem.encoders.tiny",
    "clip": "vidmem.encoders.clip.encoder",
    "tren": "vidmem.encoders.tren.encoder",
    "patches": "vidmem.encoders.tren.patches",
    "textregion": "vidmem.encoders.clip.textregion",
    "gem": "vidmem.encoders.clip.gem",
}
"""Name on the command line -> module. Spelled `name` or `name:backbone`."""

DEFAULT = "tiny"

_log = logging.getLogger(__name__)

__all__ = [
    "DEFAULT",
    "ENCODERS",
    "Calibration",
    "Encoder",
    "EncoderInfo",
    "Reading",
    "TextEncoder",
    "any_phrase",
    "check",
    "check_masks",
    "default_preset",
    "knows",
    "load",
    "load_text",
    "remembering",
    "ships",
]


def _module(spec: str) -> tuple[ModuleType, str]:
    name, _, backbone = spec.partition(":")
    if name not in ENCODERS:
        near = difflib.get_close_matches(name, ENCODERS, 1, 0.4)
        hint = f"did you mean {near[0]!r}? There are" if near else "there are"
        raise ModelError(f"no encoder {name!r}; {hint}: {', '.join(ENCODERS)} (see `vidmem models`)")
    return importlib.import_module(ENCODERS[name]), backbone


def check(spec: str, weights: str | os.PathLike[str] | None = None, *, complete: bool = False) -> None:
    """Raises ModelError when there is no such encoder or backbone, and with `complete` when a file of its weights or
    PyTorch is missing and it needs them; what the files hold is seen only when they are loaded."""
    module, backbone = _module(spec)
    if complete and hasattr(module, "EXTRA"):
        require(module.EXTRA, _told(spec))
    if hasattr(module, "wanted"):
        from .hub import locate, weights_folder

        with _extra(spec, module):
            files = module.wanted(backbone)
        for wanted in files:
            if complete:
                locate(wanted, weights_folder(weights))


def default_preset(spec: str) -> str:
    """The name of the preset that a new memory of the encoder gets. Raises ModelError."""
    return str(getattr(_module(spec)[0], "PRESET", "default"))


def load(
    spec: str = DEFAULT,
    device: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    *,
    masks: str | os.PathLike[str] | MaskSource | None = None,
) -> Encoder:
    """The encoder spelled `spec`, on `device` (cuda, mps or cpu; by default the best there is).

    weights: the folder of its weights, by default that of VIDMEM_WEIGHTS or the platform. masks: where its regions come
    from, for those that pool under masks: what `--masks` takes (see masks.py), or a MaskSource. Raises ModelError, also
    for libraries of an extra that are not there, and UsageError when it has no such folder or takes no masks.
    """
    module, backbone = _module(spec)
    folder = _folder(spec, module, weights)
    given: dict[str, MaskSource] = {}
    if masks is not None:
        check_masks(spec)
        if isinstance(masks, str | os.PathLike):
            from .masks.source import mask_source

            masks = mask_source(masks, device, weights)
        given["masks"] = masks
    with _extra(spec, module), _timed(f"encoder `{spec}`"):
        return cast(Encoder, module.load(backbone, device, *folder, **given))


def check_masks(spec: str) -> None:
    """Raises UsageError when the encoder finds its regions itself."""
    if not getattr(_module(spec)[0], "MASKS", False):
        raise UsageError(f"`{spec}` finds its regions itself; `masks` is for textregion and gem")


def any_phrase(spec: str) -> bool:
    """Whether the encoder is one with a folder of weights, all of which take any phrase. Raises ModelError."""
    return hasattr(_module(spec)[0], "wanted")


def load_text(spec: str = DEFAULT, weights: str | os.PathLike[str] | None = None) -> TextEncoder:
    """Only the text side of it, quick to load. Raises as `load`."""
    module, backbone = _module(spec)
    folder = _folder(spec, module, weights)
    with _extra(spec, module), _timed(f"text side of `{spec}`"):
        return cast(TextEncoder, module.load_text(backbone, *folder))


@contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    _log.info("%s loaded in %.2f s", what, time.perf_counter() - began)


def ships(spec: str) -> bool:
    """Whether its weights need no folder of their own, so that its text side loads quickly. Raises ModelError."""
    return not hasattr(_module(spec)[0], "wanted")


def knows(spec: str) -> tuple[str, bool]:
    """What the encoder knows, in words, and whether that is any phrase; its weights may be missing. Raises
    ModelError."""
    module, _ = _module(spec)
    if hasattr(module, "wanted"):
        return str(module.KNOWS), True
    info = load_text(spec).info
    return info.knows, info.open_vocabulary


def remembering(spec: str) -> tuple[ModuleType | None, str]:
    """The module of an encoder whose text side is worth remembering (see remembered.py), or None, and its backbone.
    Raises ModelError."""
    module, backbone = _module(spec)
    return (module if hasattr(module, "text_files") else None), backbone


def _extra(spec: str, module: ModuleType) -> AbstractContextManager[None]:
    extra = getattr(module, "EXTRA", None)
    return nullcontext() if extra is None else needing(extra, _told(spec))


def _told(spec: str) -> str:
    return f"`{spec.partition(':')[0]}`"


def _folder(spec: str, module: ModuleType, weights: str | os.PathLike[str] | None) -> tuple[str, ...]:
    if weights is None:
        return ()
    if not hasattr(module, "wanted"):
        raise UsageError(f"`{spec}` has no folder of weights; leave `weights` out")
    return (os.fspath(weights),)
