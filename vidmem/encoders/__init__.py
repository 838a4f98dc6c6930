"""Encoders: a picture in, region tokens out; a phrase in, a vector out.

`tiny` and `clip` work in two steps: the detector in the package finds regions in frames, and a second network encodes
the best views of each track, which gives the track's tokens. The others pool dense features; the tokens of a track are
the means of its region tokens.

base.py has the contracts of a loaded encoder, spec.py what is known before it is loaded, and registry.py finds an
encoder by its name. docs/guides/your-own-encoder.md shows how a package adds one.
"""

from __future__ import annotations

from .base import (
    Calibration,
    Encoder,
    EncoderInfo,
    MaskSource,
    Reading,
    TextEncoder,
    ViewEncoder,
    ViewTokens,
)
from .registry import DEFAULT, check, check_masks, check_stranger, find, knows, load, load_text
from .spec import EncoderSpec, LoadOptions, SlowText, lazy

__all__ = [
    "DEFAULT",
    "Calibration",
    "Encoder",
    "EncoderInfo",
    "EncoderSpec",
    "LoadOptions",
    "MaskSource",
    "Reading",
    "SlowText",
    "TextEncoder",
    "ViewEncoder",
    "ViewTokens",
    "check",
    "check_masks",
    "check_stranger",
    "find",
    "knows",
    "lazy",
    "load",
    "load_text",
]
