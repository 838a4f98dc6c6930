"""`clip[:MODEL]`: the regions of `tiny`, and the image tower of any open_clip model for their views.

It reads any phrase. The default is ViT-B-32/openai: its licence (MIT) lets everybody use it, a CPU runs it in real
time, and its tokenizer comes with open_clip. `clip:MobileCLIP2-S0/dfndr2b` is faster (Apple's licence for research).
See files.py for how models are spelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
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
from .family import Family
from .spec import CLIP
from .text import ClipText, text_dim

if TYPE_CHECKING:
    from .files import Loaded

DEFAULT = "ViT-B-32/openai"
BATCH = 8
"""Views that go through the image tower at a time."""
FAMILY = Family(spec=CLIP, prompts=PLAIN, default=DEFAULT, regions=regions_hash)
load_text, described, text_files = FAMILY.load_text, FAMILY.described, FAMILY.text_files


def wanted(backbone: str = "") -> list[Wanted]:
    """All files of `clip:backbone`. Raises ModelError if there is no such model."""
    from .files import WEIGHTS

    if backbone in ("", DEFAULT):  # known without open_clip
        name = "vit_base_patch32_clip_224.openai"
        return [
            Wanted("CLIP model", (name,), "MIT", repo=f"timm/{name}", files=(WEIGHTS,), nested=True, spec=CLIP.name)
        ]
    return FAMILY.wanted(backbone)


class ClipViews(ViewEncoder):
    """The second step: the image tower looks at whole views. See `base.ViewEncoder`."""

    max_views, wants_hint = 2, False  # a view costs ten times as much as with `tiny`

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
        """As `ViewEncoder.look`. Both tokens of a view are its unit vector in the space of texts.

        The text token always has length 1, since the tower does not say how sure it is.
        """
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
    """Both sides of `clip`."""

    def __init__(self, info: EncoderInfo, loaded: Loaded, device: str | None) -> None:
        ClipText.__init__(self, info, loaded, PLAIN)
        # ONNX Runtime may not find the GPU that PyTorch uses. The detector then runs on the CPU, which is fast enough.
        DetectedRegions.__init__(self, "cpu" if device == "cpu" else None)
        self._torch_device = device

    @cached_property
    def views(self) -> ClipViews:
        """The second step."""
        return ClipViews(self._loaded, self._torch_device)


def load(options: LoadOptions) -> Clip:
    """Load both sides. Raises ModelError as `files.load_model`, UsageError for the device."""
    from ..device import pick_device

    pick_device(options.device)  # fails before the slow part
    info, loaded = FAMILY.load_model(options)
    return Clip(info, loaded, options.device)
