"""What `tiny` calls what it sees in a view, and how sure it is.

Two witnesses. The detector says how likely each of COCO's 80 classes is; a view that nobody pointed at has no hint. The
ImageNet network's features and answers lie, by a linear map, in the space of names: one map for photographs and one
for drawings, since what tells a drawn cup from a drawn pot says little of real ones. How likely the detector's first
class is right, and how likely the map's first name is, two logistics tell from how clear each is, from whether they
agree, and from how large and sharp the view is. The token is what one then has to expect: the sum of the vectors of
names, each times the chance that it is right. So its length is the confidence.

All functions take any number of views at a time. lab/tiny/fit_views.py fits the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...geometry import unit
from ...records import Float32

FEATURES, CLASSES, HINTS, FACTS = 1280, 1000, 80, 3
LOUD = 6.0
"""How much the root of an answer counts beside the root of a feature: the answers are few and small."""
LEAST_SHARE = 0.003
"""What shares are lifted by before their logarithm is taken."""
SHARP = 12.0
"""How the cosines to names become shares, where only their spread is of interest."""
HINT_SIGNS, MAP_SIGNS = 5, 8
"""How many things the logistics look at, see `Naming.of_hint` and `Naming.of_map`."""


class Naming:
    """The numbers of tiny-names.safetensors, those that names are made of; any float, D the dimension of texts.

    mean `(1280,)`: taken off the roots of features. photo `(1280 + 1000 + 1, D)`: the map of photographs from these,
    the roots of the answers, and one. drawn `(1280 + 1, D)`: that of drawings. gate `(1280 + 1,)`: a logistic that says
    whether it is one. hints `(80, D)`: unit vectors of COCO's names. names `(K, D)`: those of all names that the maps
    were shown. hint_right, map_near, map_right: logistics, how likely the detector's first class is right,
    the map's name the best of a few dozen, and of all. Raises ModelError for tensors of other shapes, or that are not
    finite.
    """

    def __init__(self, tensors: Mapping[str, NDArray[np.floating]]) -> None:
        try:
            dim = tensors["hints"].shape[-1]
            shapes = {
                "mean": (FEATURES,),
                "photo": (FEATURES + CLASSES + 1, dim),
                "drawn": (FEATURES + 1, dim),
                "gate": (FEATURES + 1,),
                "hints": (HINTS, dim),
                "names": (len(tensors["names"]), dim),
                "hint_right": (HINT_SIGNS,),
                "map_near": (MAP_SIGNS,),
                "map_right": (MAP_SIGNS,),
            }
            t = {name: np.asarray(tensors[name], np.float32) for name in shapes}
        except KeyError as error:
            raise ModelError(f"the weights of `tiny` are of another version (no {error}); reinstall vidmem") from None
        for name, shape in shapes.items():
            if t[name].shape != shape or not np.isfinite(t[name]).all():
                raise ModelError(f"the weights of `tiny` are damaged ({name} is {t[name].shape}); reinstall vidmem")
        self.mean, self.photo, self.drawn, self.gate = t["mean"], t["photo"], t["drawn"], t["gate"]
        self.hints, self.names = t["hints"], t["names"]
        self.hint_right, self.map_near, self.map_right = t["hint_right"], t["map_near"], t["map_right"]

    def tokens(self, features: Float32, logits: Float32, hints: Float32, facts: Float32) -> Float32:
        """Text tokens `(..., D)` no longer than 1, of features `(..., 1280)`, logits `(..., 1000)`, hints `(..., 80)`,
        zeros where there is none, and facts `(..., 3)` (see views.facts_of)."""
        answers = softmax(logits)
        mapped, drawn = self.mapped(roots(features) - self.mean, answers)
        classes = hints / np.maximum(hints.sum(-1, keepdims=True), LEAST_SHARE)
        seen = sigmoid(self.of_hint(hints, facts) @ self.hint_right) * (1 - drawn)
        seen = np.where(hints.max(-1) > 0, seen, 0)
        signs = self.of_map(mapped, answers, drawn, facts)
        near, right = sigmoid(signs @ self.map_near), sigmoid(signs @ self.map_right)
        toward = seen[..., None] * (classes @ self.hints) + ((1 - seen) * near)[..., None] * mapped
        sure = seen + (1 - seen) * right
        out: Float32 = unit(toward) * sure[..., None]
        return out

    def mapped(self, centred: Float32, answers: Float32) -> tuple[Float32, Float32]:
        """The map's direction `(..., D)`, unit rows, and how likely each view shows a drawing `(...,)`."""
        drawn = sigmoid(centred @ self.gate[:-1] + self.gate[-1])
        photo = unit(photo_input(centred, answers) @ self.photo)
        other = unit(centred @ self.drawn[:-1] + self.drawn[-1])
        return unit(drawn[..., None] * other + (1 - drawn[..., None]) * photo), drawn

    def of_hint(self, hints: Float32, facts: Float32) -> Float32:
        """`(..., HINT_SIGNS)`: what tells whether the detector's first class is right. One; the logarithm of that
        class's share among all that it finds possible; the view's size, shape and sharpness. What the map says is no
        sign: it is right of photographs of one thing, and they would teach that it always is."""
        share = hints.max(-1) / (hints.sum(-1) + 1)
        return _columns(np.ones_like(share), np.log(share + np.float32(LEAST_SHARE)), *np.moveaxis(facts, -1, 0))

    def of_map(self, mapped: Float32, answers: Float32, drawn: Float32, facts: Float32) -> Float32:
        """`(..., MAP_SIGNS)`: what tells whether the map's first name is right. One; its cosine and that of the second
        beside it; how many names compete (entropy); the network's first answer; whether it is a drawing; the view's
        size and sharpness."""
        scores = mapped @ self.names.T
        two = np.sort(scores, -1)[..., -2:]
        share = softmax(np.float32(SHARP) * scores)
        compete = -(share * np.log(share + 1e-9)).sum(-1)
        return _columns(
            np.ones_like(compete),
            two[..., 1],
            two[..., 1] - two[..., 0],
            compete,
            answers.max(-1),
            drawn,
            facts[..., 0],
            facts[..., 2],
        )


def roots(features: Float32) -> Float32:
    """Square roots: a few loud features would drown the rest."""
    return np.asarray(np.sqrt(np.maximum(features, 0)), np.float32)


def photo_input(centred: Float32, answers: Float32) -> Float32:
    """What the map of photographs takes, `(..., 2281)`: roots of features without their mean, of answers, and one."""
    one = np.ones((*centred.shape[:-1], 1), np.float32)
    return np.concatenate([centred, np.float32(LOUD) * np.sqrt(answers), one], -1, dtype=np.float32)


def softmax(logits: Float32) -> Float32:
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True), np.float32)


def sigmoid(x: Float32) -> Float32:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -60, 60))), np.float32)


def _columns(*columns: Float32) -> Float32:
    return np.stack(columns, -1).astype(np.float32)
