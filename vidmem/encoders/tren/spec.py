"""Specs of `tren` and `patches`."""

from __future__ import annotations

from ..spec import EncoderSpec, lazy

_ENCODER, _PATCHES = "vidmem.encoders.tren.encoder", "vidmem.encoders.tren.patches"

TREN = EncoderSpec(
    name="tren",
    load=lazy(f"{_ENCODER}:load"),
    load_text=lazy(f"{_ENCODER}:load_text"),
    knows="any phrase that dino.txt understands; thresholds are the paper's, not calibrated",
    open_vocabulary=True,
    licence="DINOv3 licence (backbone, text), MIT (region encoder)",
    extra="tren",
    wanted=lazy(f"{_ENCODER}:wanted"),
)

PATCHES = EncoderSpec(
    name="patches",
    load=lazy(f"{_PATCHES}:load"),
    load_text=lazy(f"{_PATCHES}:load_text"),
    knows="any phrase that dino.txt understands, patch by patch; a baseline for comparisons, large and slow",
    open_vocabulary=True,
    licence="DINOv3 licence",
    preset="patches",
    extra="tren",
    wanted=lazy(f"{_PATCHES}:wanted"),
)
