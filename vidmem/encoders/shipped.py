"""The weights that ship with vidmem, and the card that describes them."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from importlib.resources import files
from typing import Any

from ..errors import ModelError

_log = logging.getLogger(__name__)

REGIONS = ("tiny-detector.onnx", "tiny-look.onnx")
"""Files of the region step, which `clip` uses too."""


@functools.cache
def card() -> dict[str, Any]:
    """The content of tiny.json: calibration, sha256 of the weights, names that were taught. Raises ModelError."""
    try:
        data: dict[str, Any] = json.loads((files("vidmem.encoders") / "weights" / "tiny.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"the weights of `tiny` are missing or damaged ({error}); reinstall vidmem") from None
    return data


def shipped(name: str) -> bytes:
    """Read a file of weights. Raises ModelError if it is missing or its sha256 is not the one in the card."""
    try:
        data = (files("vidmem.encoders") / "weights" / name).read_bytes()
    except OSError as error:
        raise ModelError(f"the weights of `tiny` are missing ({error}); reinstall vidmem") from None
    if hashlib.sha256(data).hexdigest() != card()["sha256"][name]:
        raise ModelError(f"the weights of `tiny` are damaged ({name} has another sha256); reinstall vidmem")
    _log.info("weights that come with vidmem: %s", name)
    return data


def regions_hash() -> str:
    """The identity of the region step, for `EncoderInfo.regions`."""
    return "-".join(card()["sha256"][name][:16] for name in REGIONS)


def shipped_bytes() -> int:
    """Size in bytes of the weights that come with the package. Raises ModelError when one is missing or damaged."""
    return sum(len(shipped(name)) for name in card()["sha256"])
