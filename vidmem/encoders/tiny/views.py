"""The second step of `tiny`: tokens of the best views of a track. Needs only ONNX Runtime and NumPy.

An ImageNet network (EfficientNet-Lite0) gives features and logits for each view. The visual token is a linear reduction
of the features; naming.py makes the text token from both and from the detector's class probabilities (the view's hint).
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
"""Side in pixels of the network's input, and longest side of a view."""
BATCH = 16
"""Views of one call of the network."""


def square(image: NDArray[np.uint8], side: int = SIDE) -> NDArray[np.uint8]:
    """Scale a picture `(h, w, 3)` to a longest side of `side` and centre it in `(side, side, 3)`.

    The rest has the picture's mean colour. In measurements that gave more right names than grey, extended edges, or a
    distorted picture.
    """
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
    """Size, shape and sharpness of a view `(h, w, 3)`, `(3,)` float32.

    log2 of its longest side over SIDE, log2 of its aspect ratio, and the share of its contrast that lies between
    neighbouring pixels.
    """
    height, width = image.shape[:2]
    grey = image.mean(2, dtype=np.float32)
    steps = [float(np.abs(np.diff(grey, axis=axis)).mean()) if grey.shape[axis] > 1 else 0.0 for axis in (0, 1)]
    size, long = np.log2(max(height, width) / SIDE), np.log2(max(height, width) / min(height, width))
    return np.array([size, long, sum(steps) / 2 / (float(grey.std()) + 4)], np.float32)


def network(data: bytes | None = None, device: str | None = None, threads: int = 1) -> Any:
    """The ImageNet network as an ONNX Runtime session. data: its file; None for the one in the package.

    Raises:
        ModelError: The file is damaged or missing.
        UsageError: The device does not work.
    """
    return session(
        shipped(MODEL) if data is None else data,
        "the view network of `tiny`",
        device=device,
        threads=threads,
        inputs=("pixels",),
        outputs=("features", "logits"),
    )


class TinyViews(ViewEncoder):
    """The view encoder of `tiny`.

    net: the session from `network`. tensors: those of tiny-names.safetensors, which are those of `Naming` and `visual`
    `(1280, Dv)`, the reduction of centred roots of features to visual tokens.
    """

    view_pixels, max_views = SIDE, 3
    wants_hint = True

    def __init__(self, net: Any, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.net, self.naming = net, Naming(tensors)
        self.visual = np.asarray(tensors.get("visual", ()), np.float32)
        if self.visual.ndim != 2 or len(self.visual) != FEATURES or not np.isfinite(self.visual).all():
            raise ModelError(f"the weights of `tiny` are damaged (visual is {self.visual.shape}); reinstall vidmem")

    def look(self, views: Sequence[View]) -> ViewTokens:
        """See ViewEncoder. Raises ValueError for a hint that is neither empty nor of COCO's 80 classes."""
        dims = self.visual.shape[1], self.naming.hints.shape[1]
        visual, text = (np.empty((len(views), d), np.float32) for d in dims)

        def encode_batch(start: int) -> None:
            batch = views[start : start + BATCH]
            pixels = np.stack([square(view.image) for view in batch])
            features, logits = self.net.run(["features", "logits"], {"pixels": pixels})
            for i, view in enumerate(batch):  # one by one: a batched product rounds differently with the batch size
                centred: Float32 = roots(features[i]) - self.naming.mean
                visual[start + i] = unit(np.asarray(centred @ self.visual, np.float32))
                text[start + i] = self.naming.tokens(features[i], logits[i], _hint(view.hint), facts_of(view.image))

        starts = range(0, len(views), BATCH)
        if len(starts) > 1:  # batches in parallel, one thread each
            with ThreadPoolExecutor(min(len(starts), cores())) as pool:
                list(pool.map(encode_batch, starts))
        elif starts:
            encode_batch(0)
        return ViewTokens(visual, text)


def _hint(hint: Float32) -> Float32:
    if hint.shape == (0,):  # a picture in a question
        return np.zeros(HINTS, np.float32)
    if hint.shape != (HINTS,):
        raise ValueError(f"a view's hint has {HINTS} values or none, not {hint.shape}")
    return hint


def load(device: str | None = None, threads: int = 1) -> TinyViews:
    """Load the weights in the package. Raises ModelError if they are missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as read

    try:
        tensors = read(shipped(NAMES))
    except SafetensorError as error:
        raise ModelError(f"the weights of `tiny` are damaged ({error}); reinstall vidmem") from None
    return TinyViews(network(device=device, threads=threads), tensors)
