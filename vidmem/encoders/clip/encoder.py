"""`clip[:MODEL]`: the regions of `tiny`, their views through the image tower of any open_clip model, so that any phrase
can be asked for.

The default, ViT-B-32/openai, is the one that everybody may use (MIT), that a CPU runs in real time, and whose tokenizer
comes with open_clip. `clip:MobileCLIP2-S0/dfndr2b` is faster (Apple's licence for research). See files.py for how
models are spelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...records import Float32, View
from ..base import Encoder, EncoderInfo, ViewEncoder, ViewTokens
from ..hub import Wanted
from ..pixels import normalised
from ..shipped import regions_hash
from ..spec import LoadOptions
from ..templates import PLAIN
from ..tiny.regions import DetectedRegions
from .spec import CLIP
from .text import CALIBRATION, ClipText, text_dim

if TYPE_CHECKING:
    from .files import Loaded

DEFAULT = "ViT-B-32/openai"
BATCH = 8


def wanted(backbone: str = "") -> list[Wanted]:
    """All files of `clip:backbone`. Raises ModelError for one that is not there."""
    from .files import WEIGHTS
    from .files import wanted as files

    if backbone in ("", DEFAULT):  # known without open_clip
        name = "vit_base_patch32_clip_224.openai"
        return [
            Wanted("CLIP model", (name,), "MIT", repo=f"timm/{name}", files=(WEIGHTS,), nested=True, spec=CLIP.name)
        ]
    return files(CLIP.name, backbone)


class ClipViews(ViewEncoder):
    """The second step: whole views through the image tower. See base.ViewEncoder."""

    max_views, wants_hint = 2, False  # a look costs ten times what one of `tiny` does

    def __init__(self, loaded: Loaded, device: str | None) -> None:
        import torch

        from ..device import pick_device

        self._loaded = loaded
        self._device, dtype = pick_device(device)
        # On a CPU autocast turns the weights into bfloat16 at each call, which takes longer than it saves.
        self._dtype = torch.float32 if self._device.type == "cpu" else dtype
        self._visual = loaded.model.visual.to(self._device)
        size = loaded.model.visual.image_size
        self.view_pixels = int(size if isinstance(size, int) else max(size))

    def look(self, views: Sequence[View]) -> ViewTokens:
        """Both tokens of a view are its vector in the space of texts, of unit length: the tower does not say how sure
        it is."""
        import torch
        from torch.nn import functional as F

        from ..tiny.views import square

        out = [np.empty((0, text_dim(self._loaded)), np.float32)]
        for start in range(0, len(views), BATCH):
            squares = [square(view.image, self.view_pixels) for view in views[start : start + BATCH]]
            enabled = self._dtype != torch.float32
            with torch.inference_mode(), torch.autocast(self._device.type, self._dtype, enabled=enabled):
                pixels = normalised(squares, self._loaded.mean, self._loaded.std, self._device)
                out.append(F.normalize(self._visual(pixels).float(), dim=-1).cpu().numpy())
        vectors: Float32 = np.concatenate(out)
        return ViewTokens(vectors, vectors.copy())


class Clip(DetectedRegions, ClipText, Encoder):
    """Both sides."""

    def __init__(self, info: EncoderInfo, loaded: Loaded, device: str | None) -> None:
        ClipText.__init__(self, info, loaded, PLAIN)
        # PyTorch may have a GPU that ONNX Runtime has not: the detector then runs on the CPU, which is fast enough.
        DetectedRegions.__init__(self, "cpu" if device == "cpu" else None)
        self._torch_device = device

    @cached_property
    def views(self) -> ClipViews:
        """The second step."""
        return ClipViews(self._loaded, self._torch_device)


def load(options: LoadOptions) -> Clip:
    """Both sides. Raises ModelError as `files.load_model`, UsageError for the device."""
    from ..device import pick_device

    pick_device(options.device)  # before anything long is done
    info, loaded = _known(options)
    return Clip(info, loaded, options.device)


def load_text(options: LoadOptions) -> ClipText:
    """The text side alone, without the image tower. Raises ModelError as `load`."""
    info, loaded = _known(options)
    loaded.model.visual = None
    return ClipText(info, loaded, PLAIN)


def _known(options: LoadOptions) -> tuple[EncoderInfo, Loaded]:
    from .files import load_model

    loaded = load_model(CLIP.name, options.backbone or DEFAULT, options.weights)
    dim = text_dim(loaded)
    return described(loaded.name, loaded.weights, dim, dim), loaded


def described(name: str, weights: str, visual_dim: int, text_dim: int) -> EncoderInfo:
    """The facts about a model of this family."""
    return EncoderInfo(name, weights, visual_dim, text_dim, CLIP.knows, True, CALIBRATION, regions_hash())


def text_files(options: LoadOptions) -> list[Path]:
    """The files that vectors of texts depend on. Raises ModelError if there is no such model."""
    from .files import model_files

    return model_files(CLIP.name, options.backbone or DEFAULT, options.weights)
