"""The second step of `tiny`: it looks at the best views of a track.

An ImageNet network (EfficientNet-Lite0) gives features and answers for each view. Likeness is in the features, reduced;
what the thing is called, naming.py tells from both and from what the detector said of it (the view's hint). Numpy
and ONNX Runtime alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import ModelError
from ...geometry import unit
from ...records import Float32, View
from ..base import ViewEncoder, ViewTokens
from ..onnx import cores, session
from ..shipped import shipped
from .naming import FEATURES, HINTS, Naming, roots

MODEL, NAMES = "tiny-views.onnx", "tiny-names.safetensors"
SIDE = 192
"""Pixels of a side of what the network sees, and of the longest side of a view."""
BATCH = 16


def square(image: NDArray[np.uint8], side: int = SIDE) -> NDArray[np.uint8]:
    """`image (h, w, 3)` in the middle of `(side, side, 3)`, its longest side scaled to `side`. What is left over has
    the picture's mean colour: measured, that costs fewer names than grey, edges drawn out, or a squeezed picture."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.fromarray(image)
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(picture)
    out = np.empty((side, side, 3), np.uint8)
    out[:] = np.asarray(picture.resize((1, 1), Image.Resampling.BOX))
    x, y = (side - size[0]) // 2, (side - size[1]) // 2
    out[y : y + size[1], x : x + size[0]] = pixels
    return out


def facts_of(image: NDArray[np.uint8]) -> Float32:
    """`(3,)` float32 of a view `(h, w, 3)`: log2 of its longest side over SIDE; how elongated it is, log2; and its
    sharpness, the share of its contrast that lies between neighbouring pixels."""
    height, width = image.shape[:2]
    grey = image.mean(2, dtype=np.float32)
    steps = [float(np.abs(np.diff(grey, axis=axis)).mean()) if grey.shape[axis] > 1 else 0.0 for axis in (0, 1)]
    size, long = np.log2(max(height, width) / SIDE), np.log2(max(height, width) / min(height, width))
    return np.array([size, long, sum(steps) / 2 / (float(grey.std()) + 4)], np.float32)


def network(data: bytes | None = None, device: str | None = None, threads: int = 1) -> Any:
    """The ImageNet network as an ONNX Runtime session. data: its file, or None for the one that ships. Raises
    ModelError and UsageError as `onnx.session`."""
    return session(
        shipped(MODEL) if data is None else data,
        "the view network of `tiny`",
        device=device,
        threads=threads,
        inputs=("pixels",),
        outputs=("features", "logits"),
    )


class TinyViews(ViewEncoder):
    """The look at views. See base.ViewEncoder.

    net: the session of `network`. tensors, from tiny-names.safetensors: those of `Naming`, and visual `(1280, Dv)`, the
    reduction of the roots of features, without their mean, to what likeness is measured in.
    """

    view_pixels, most_views = SIDE, 3
    wants_hint = True

    def __init__(self, net: Any, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.net, self.naming = net, Naming(tensors)
        self.visual = np.asarray(tensors.get("visual", ()), np.float32)
        if self.visual.ndim != 2 or len(self.visual) != FEATURES or not np.isfinite(self.visual).all():
            raise ModelError(f"the weights of `tiny` are damaged (visual is {self.visual.shape}); reinstall vidmem")

    def look(self, views: Sequence[View]) -> ViewTokens:
        """visual `(n, Dv)` unit rows; text `(n, Dt)` rows of length <= 1. Raises ValueError for a hint that is neither
        empty nor of COCO's 80 classes."""
        dims = self.visual.shape[1], self.naming.hints.shape[1]
        visual, text = (np.empty((len(views), d), np.float32) for d in dims)

        def some(start: int) -> None:
            part = views[start : start + BATCH]
            pixels = np.stack([square(view.image) for view in part])
            features, logits = self.net.run(["features", "logits"], {"pixels": pixels})
            for i, view in enumerate(part):  # one by one: products of matrices round otherwise in another company
                seen: Float32 = roots(features[i]) - self.naming.mean
                visual[start + i] = unit(np.asarray(seen @ self.visual, np.float32))
                text[start + i] = self.naming.tokens(features[i], logits[i], _hint(view.hint), facts_of(view.image))

        starts = range(0, len(views), BATCH)
        if len(starts) > 1:  # batches side by side, a thread each, as the regions of frames
            with ThreadPoolExecutor(min(len(starts), cores())) as pool:
                list(pool.map(some, starts))
        elif starts:
            some(0)
        return ViewTokens(visual, text)


def _hint(hint: Float32) -> Float32:
    if hint.shape == (0,):  # a picture that somebody asks with
        return np.zeros(HINTS, np.float32)
    if hint.shape != (HINTS,):
        raise ValueError(f"a view's hint has {HINTS} values or none, not {hint.shape}")
    return hint


def load(device: str | None = None, threads: int = 1) -> TinyViews:
    """With the weights that ship. Raises ModelError when they are missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as read

    try:
        tensors = read(shipped(NAMES))
    except SafetensorError as error:
        raise ModelError(f"the weights of `tiny` are damaged ({error}); reinstall vidmem") from None
    return TinyViews(network(device=device, threads=threads), tensors)
