"""What is known about an encoder before it is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base import Encoder, EncoderInfo, MaskSource, TextEncoder

if TYPE_CHECKING:
    from pathlib import Path

    from .hub import Wanted


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load an encoder.

    Attributes:
        backbone: What follows the colon of its spelling (`clip:ViT-B-32/openai`); empty for the default.
        device: cuda, mps or cpu; None for the best that works.
        weights: Folder of weights; None for VIDMEM_WEIGHTS or the platform's folder for data.
        masks: Where regions come from; None if the encoder finds them itself.
    """

    backbone: str = ""
    device: str | None = None
    weights: str | os.PathLike[str] | None = None
    masks: MaskSource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowText:
    """How to answer a repeated question without loading a slow text side (see query/text_cache.py).

    Attributes:
        files: The files that vectors of texts depend on. Raises ModelError.
        describe: The facts of an encoder from its `name`, `weights`, `visual_dim` and `text_dim`.
        prompts: Sentences that phrases are put into.
    """

    files: Callable[[LoadOptions], Sequence[Path]]
    describe: Callable[[str, str, int, int], EncoderInfo]
    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """An encoder's name, what it needs, and how to load it.

    `load` and the other functions should import heavy libraries only when they are called; see `lazy`.

    Attributes:
        name: Its name on the command line. A spelling is `name` or `name:backbone`.
        load: Loads both sides. Raises ModelError for weights and backbones, UsageError for the device.
        load_text: Loads only the text side, which should be quick. Raises ModelError as `load`.
        knows: What it can name, in one line for people; empty to take it from the `info` of its text side.
        open_vocabulary: True if it reads any phrase.
        licence: Licence of its weights.
        preset: Settings of a new memory, a name in config.PRESETS.
        takes_masks: True if its regions can be given as masks.
        extra: The extra of vidmem that brings the libraries it needs.
        wanted: Files of weights of a backbone, if they are not shipped. Raises ModelError for an unknown backbone.
        shipped_bytes: Size of the weights that are shipped with the package.
        slow_text: How to answer a repeated question without the text side, if that is slow to load.
    """

    name: str
    load: Callable[[LoadOptions], Encoder]
    load_text: Callable[[LoadOptions], TextEncoder]
    knows: str = ""
    open_vocabulary: bool = False
    licence: str = "not given"
    preset: str = "default"
    takes_masks: bool = False
    extra: str | None = None
    wanted: Callable[[str], Sequence[Wanted]] | None = None
    shipped_bytes: Callable[[], int] | None = None
    slow_text: SlowText | None = None


def lazy(path: str) -> Callable[..., Any]:
    """A function that imports `module:function` when it is first called."""
    module, _, name = path.partition(":")

    def call(*args: Any, **options: Any) -> Any:
        return getattr(import_module(module), name)(*args, **options)

    return call
