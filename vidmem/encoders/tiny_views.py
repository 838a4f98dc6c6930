"""The second step of `tiny`: it looks at the best views of a track.

An ImageNet network (EfficientNet-Lite0) gives features and answers for each view. Likeness is in the features, reduced;
the name comes from the features, the answers and what the detector said of the thing (the view's hint), each of which
adds its say in the space of names (see `Say`). How sure the name is decides the length of the text token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ModelError
from ..geometry import unit
from ..records import Float32, View
from .base import ViewTokens

SIDE = 192
"""Pixels of a side of what the network sees, and of the longest side of a view."""
CLASSES, HINTS = 1000, 80
MODEL, NAMES = "tiny-views.onnx", "tiny-names.safetensors"


def square(image: NDArray[np.uint8], side: int = SIDE) -> NDArray[np.uint8]:
    """`image (h, w, 3)` in the middle of `(side, side, 3)`, its longest side scaled to `side`. What is left over has the
    picture's mean colour: measured, that costs fewer names than grey, edges drawn out, or a squeezed picture."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.fromarray(image)
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(picture)
    out = np.empty((side, side, 3), np.uint8)
    out[:] = pixels.mean((0, 1)).astype(np.uint8)
    x, y = (side - size[0]) // 2, (side - size[1]) // 2
    out[y : y + size[1], x : x + size[0]] = pixels
    return out


def facts_of(image: NDArray[np.uint8]) -> Float32:
    """`(3,)` float32 of a view `(h, w, 3)`: log2 of its longest side over SIDE; how elongated it is, log2; and its
    sharpness, the share of its contrast that lies between neighbouring pixels."""
    height, width = image.shape[:2]
    grey = image.mean(2, dtype=np.float32)
    steps = [np.abs(np.diff(grey, axis=axis)).mean() if grey.shape[axis] > 1 else 0.0 for axis in (0, 1)]
    size, long = np.log2(max(height, width) / SIDE), np.log2(max(height, width) / min(height, width))
    return np.array([size, long, sum(steps) / 2 / (grey.std() + 4)], np.float32)


def network(data: bytes | None = None, threads: int = 0) -> Any:
    """The ImageNet network as an ONNX Runtime session; threads: 0 lets the runtime choose."""
    import onnxruntime

    from .tiny import _read

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(_read(MODEL) if data is None else data, options,
                                        providers=["CPUExecutionProvider"])  # fmt: skip
