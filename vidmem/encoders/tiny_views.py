"""The second step of `tiny`: it looks at the best views of a track.

An ImageNet network (EfficientNet-Lite0) gives features and answers for each view. Likeness is in the features, reduced;
the name comes from the features, the answers and what the detector said of the thing (the view's hint), each of which
adds its say in the space of names. How sure the name is decides the length of the text token. Numpy and ONNX Runtime
alone; lab/tiny/fit_views.py fits the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ModelError
from ..geometry import unit
from ..records import Float32, View
from .base import ViewTokens
from .onnx import session
from .shipped import shipped

MODEL, NAMES = "tiny-views.onnx", "tiny-names.safetensors"
SIDE = 192
"""Pixels of a side of what the network sees, and of the longest side of a view."""
FEATURES, CLASSES, HINTS = 1280, 1000, 80
FACTS = 4
"""See `facts_of`."""
BATCH = 16
LEAST_HINT = 0.02
"""The detector's classes below this are noise."""


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
    out[:] = pixels.mean((0, 1)).astype(np.uint8)
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
    return session(shipped(MODEL) if data is None else data, "the view network of `tiny`", device=device,
                   threads=threads, inputs=("pixels",), outputs=("features", "logits"))  # fmt: skip


class TinyViews:
    """The look at views. See base.ViewEncoder.

    net: the session of `network`. tensors, from tiny-names.safetensors, float:
      mean `(1280,)`, visual `(1280, Dv)`: of the square roots of features, what is taken off, and their reduction;
      features `(1281, Dt)`: their say of the name, the last row for a constant one;
      answers `(1000, Dt)`, hints `(80, Dt)`: the say of an ImageNet class at probability 1 and of a COCO class at odds
      e to one in LEAST_HINT;
      gates `(3, 1 + FACTS)`: how much these three count, by the facts of a view;
      names `(K, Dt)`: unit vectors of names that the fit was shown, for `sure`;
      sure `(SURE,)`: the logistic that says how likely the first name is right.
    """

    view_pixels, most_views = SIDE, 3
    wants_hint = True

    def __init__(self, net: Any, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.net = net
        t = {name: np.asarray(value, np.float32) for name, value in tensors.items()}
        try:
            self.mean, self.visual, self.features = t["mean"], t["visual"], t["features"]
            self.answers, self.hints, self.gates, self.names = t["answers"], t["hints"], t["gates"], t["names"]
            self.sure = t["sure"]
        except KeyError as error:
            raise ModelError(f"the weights of `tiny` are of another version (no {error}); reinstall vidmem") from None
        text = self.features.shape[-1]
        wanted = {"mean": (FEATURES,), "visual": (FEATURES, self.visual.shape[-1]), "features": (FEATURES + 1, text),
                  "answers": (CLASSES, text), "hints": (HINTS, text), "gates": (3, 1 + FACTS),
                  "names": (len(self.names), text), "sure": (SURE,)}  # fmt: skip
        for name, shape in wanted.items():
            if t[name].shape != shape or not np.isfinite(t[name]).all():
                raise ModelError(f"the weights of `tiny` are damaged ({name} is {t[name].shape}); reinstall vidmem")

    def look(self, views: Sequence[View]) -> ViewTokens:
        """visual `(n, Dv)` unit rows; text `(n, Dt)` rows of length <= 1. Raises ValueError for a hint that is neither
        empty nor of COCO's 80 classes, and for a view without pixels."""
        dims = self.visual.shape[1], self.features.shape[1]
        visual, text = np.empty((len(views), dims[0]), np.float32), np.empty((len(views), dims[1]), np.float32)
        for start in range(0, len(views), BATCH):
            part = views[start : start + BATCH]
            pixels = np.stack([square(view.image) for view in part])
            features, logits = self.net.run(["features", "logits"], {"pixels": pixels})
            for i, view in enumerate(part):  # one by one: products of matrices round otherwise in another company
                root = np.sqrt(np.maximum(features[i], 0)) - self.mean
                visual[start + i] = unit(root @ self.visual)
                text[start + i] = self._named(root, logits[i], _hint(view.hint), facts_of(view.image))
        return ViewTokens(visual, text)

    def _named(self, root: Float32, logits: Float32, hint: Float32, facts: Float32) -> Float32:
        """The text token `(Dt,)` of one view."""
        probabilities = softmax(logits)
        gates = np.exp(self.gates @ known(facts, hint))
        says = np.stack([root @ self.features[:-1] + self.features[-1], probabilities @ self.answers,
                         evidence(hint) @ self.hints])  # fmt: skip
        said = gates @ says
        token = unit(said)
        return token * sigmoid(self.sure @ signs(self.names @ said, probabilities, hint, facts))


SURE = 8
"""See `signs`."""


def known(facts: Float32, hint: Float32) -> Float32:
    """`(..., 1 + FACTS)`: one, the facts, and the detector's highest probability."""
    shape = facts.shape[:-1]
    return np.concatenate([np.ones((*shape, 1)), facts, hint.max(-1, keepdims=True)], -1, dtype=np.float32)


def evidence(hint: Float32) -> Float32:
    """`(..., 80)` of probabilities: the logarithm of how far they stand above noise; 0 for none."""
    out: Float32 = np.log(np.maximum(hint, LEAST_HINT) / np.float32(LEAST_HINT))
    return out


def softmax(logits: Float32) -> Float32:
    e = np.exp(logits - logits.max(-1, keepdims=True))
    out: Float32 = e / e.sum(-1, keepdims=True)
    return out


def signs(scores: Float32, probabilities: Float32, hint: Float32, facts: Float32) -> Float32:
    """`(..., SURE)`: what tells whether the first name is right. scores `(..., K)`: logits of names; probabilities
    `(..., 1000)`: the network's answers; hint `(..., 80)`; facts `(..., FACTS - 1)`."""
    share = softmax(scores)
    two = np.sort(share, -1)[..., -2:]
    spread = -(share * np.log(share + 1e-9)).sum(-1)
    columns = [np.ones(share.shape[:-1]), np.log(two[..., 1]), two[..., 1] - two[..., 0], spread,
               probabilities.max(-1), hint.max(-1), facts[..., 0], facts[..., 2]]  # fmt: skip
    return np.stack(columns, -1).astype(np.float32)


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


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
