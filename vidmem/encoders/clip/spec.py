"""Specs of `clip`, `gem`, `densevlm` and `textregion`."""

from __future__ import annotations

from ..spec import EncoderSpec, SlowText, lazy
from ..templates import IMAGENET, PLAIN

_ENCODER, _GEM, _DENSEVLM, _TEXTREGION = (
    f"vidmem.encoders.clip.{name}" for name in ("encoder", "gem", "densevlm", "textregion")
)
_ANY_PHRASE = "any phrase that its CLIP model understands"

CLIP = EncoderSpec(
    name="clip",
    load=lazy(f"{_ENCODER}:load"),
    load_text=lazy(f"{_ENCODER}:load_text"),
    knows=f"{_ANY_PHRASE}; finds what `tiny` finds; thresholds are not calibrated",
    open_vocabulary=True,
    licence="MIT for ViT-B-32/openai; Apple's for research for MobileCLIP2-S0/dfndr2b",
    preset="boxes",
    extra="clip",
    wanted=lazy(f"{_ENCODER}:wanted"),
    slow_text=SlowText(files=lazy(f"{_ENCODER}:text_files"), describe=lazy(f"{_ENCODER}:described"), prompts=PLAIN),
)

GEM = EncoderSpec(
    name="gem",
    load=lazy(f"{_GEM}:load"),
    load_text=lazy(f"{_GEM}:load_text"),
    knows=f"{_ANY_PHRASE}; regions are clusters of patches; thresholds are not calibrated",
    open_vocabulary=True,
    licence="the backbone's (MIT for openai)",
    takes_masks=True,
    extra="gem",
    wanted=lazy(f"{_GEM}:wanted"),
    slow_text=SlowText(files=lazy(f"{_GEM}:text_files"), describe=lazy(f"{_GEM}:described"), prompts=PLAIN),
)

DENSEVLM = EncoderSpec(
    name="densevlm",
    load=lazy(f"{_DENSEVLM}:load"),
    load_text=lazy(f"{_DENSEVLM}:load_text"),
    knows=f"{_ANY_PHRASE}; regions are clusters of patches; thresholds are not calibrated",
    open_vocabulary=True,
    licence="CC BY-NC 4.0 (not for commercial use) for the published weights; other backbones have their own",
    takes_masks=True,
    extra="clip",
    wanted=lazy(f"{_DENSEVLM}:wanted"),
    slow_text=SlowText(files=lazy(f"{_DENSEVLM}:text_files"), describe=lazy(f"{_DENSEVLM}:described"), prompts=PLAIN),
)

TEXTREGION = EncoderSpec(
    name="textregion",
    load=lazy(f"{_TEXTREGION}:load"),
    load_text=lazy(f"{_TEXTREGION}:load_text"),
    knows=f"{_ANY_PHRASE}; regions are clusters of patches; thresholds are not calibrated",
    open_vocabulary=True,
    licence="the backbone's (MIT for openai)",
    takes_masks=True,
    extra="clip",
    wanted=lazy(f"{_TEXTREGION}:wanted"),
    slow_text=SlowText(
        files=lazy(f"{_TEXTREGION}:text_files"), describe=lazy(f"{_TEXTREGION}:described"), prompts=IMAGENET
    ),
)
