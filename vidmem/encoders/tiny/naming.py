"""The text token of a view: a direction in the space of names, and a length that is its confidence.

Two sources are combined. The detector gives probabilities of COCO's 80 classes, the view's hint; a picture in a
question has none. The features and class probabilities of the ImageNet network are mapped linearly into the space of
names, with one map for photographs and one for drawings, because what separates drawn cups from drawn pots says little
about real ones. Logistic regressions give the probability that the best class of the detector is right, and that the
best name of the map is, from how distinct each is and from the size and sharpness of the view. The token is the
expected name vector: the sum of the vectors, each weighted with the probability that it is right.

All functions take any number of views at once. lab/tiny/fit_views.py fits the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...geometry import unit
from ...records import Float32

FEATURES, CLASSES, HINTS, FACTS = 1280, 1000, 80, 3
"""Features and classes of the ImageNet network, classes of the detector, and numbers that `views.facts_of` gives."""
CLASS_WEIGHT = 6.0
"""Weight of the roots of class probabilities against those of features; they are few and small."""
MIN_SHARE = 0.003
"""Added to shares before their logarithm."""
SHARPNESS = 12.0
"""Inverse temperature of the softmax over names whose entropy is an input of the regression."""
HINT_INPUTS, MAP_INPUTS = 5, 8
"""Numbers of inputs of the logistic regressions; see `Naming.hint_inputs` and `Naming.map_inputs`."""


class Naming:
    """The maps and regressions of tiny-names.safetensors, in any float type; D is the dimension of texts.

    Attributes:
        mean: `(1280,)`, subtracted from the roots of features.
        photo: `(1280 + 1000 + 1, D)`, the map for photographs; its input is `photo_input`.
        drawn: `(1280 + 1, D)`, the map for drawings.
        gate: `(1280 + 1,)`, a logistic regression: is the view a drawing?
        hints: `(80, D)` unit vectors of COCO's names.
        names: `(K, D)` unit vectors of all names that the maps were fitted on.
        hint_right: `(5,)`, a logistic regression: is the best class of the detector right?
        map_near: `(8,)`, one: is the name of the map the best of a few dozen?
        map_right: `(8,)`, one: is it the best of all?

    Raises:
        ModelError: A tensor is missing, has another shape, or is not finite.
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
                "hint_right": (HINT_INPUTS,),
                "map_near": (MAP_INPUTS,),
                "map_right": (MAP_INPUTS,),
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
        """Text tokens `(..., D)` float32 no longer than 1.

        Args:
            features: `(..., 1280)` of the ImageNet network.
            logits: `(..., 1000)` of its classes.
            hints: `(..., 80)` class probabilities of the detector; zeros for no hint.
            facts: `(..., 3)`, as from `views.facts_of`.
        """
        classes = softmax(logits)
        mapped, drawn = self.project(roots(features) - self.mean, classes)
        shares = hints / np.maximum(hints.sum(-1, keepdims=True), MIN_SHARE)
        hint_right = sigmoid(self.hint_inputs(hints, facts) @ self.hint_right) * (1 - drawn)
        hint_right = np.where(hints.max(-1) > 0, hint_right, 0)
        inputs = self.map_inputs(mapped, classes, drawn, facts)
        near, right = sigmoid(inputs @ self.map_near), sigmoid(inputs @ self.map_right)
        expected = hint_right[..., None] * (shares @ self.hints) + ((1 - hint_right) * near)[..., None] * mapped
        confidence = hint_right + (1 - hint_right) * right
        out: Float32 = unit(expected) * confidence[..., None]
        return out

    def project(self, centred: Float32, classes: Float32) -> tuple[Float32, Float32]:
        """Unit vectors `(..., D)` in the space of names, and the probability `(...,)` that each view is a drawing.

        centred: `(..., 1280)` roots of features without their mean. classes: `(..., 1000)` probabilities.
        """
        drawn = sigmoid(centred @ self.gate[:-1] + self.gate[-1])
        photo = unit(photo_input(centred, classes) @ self.photo)
        drawing = unit(centred @ self.drawn[:-1] + self.drawn[-1])
        return unit(drawn[..., None] * drawing + (1 - drawn[..., None]) * photo), drawn

    def hint_inputs(self, hints: Float32, facts: Float32) -> Float32:
        """Inputs `(..., HINT_INPUTS)` of `hint_right`.

        1; the logarithm of the best class's share of all classes; the size, shape and sharpness of the view. The map is
        not an input: it is right on photographs of single things, from which the fit would learn that it always is.
        """
        share = hints.max(-1) / (hints.sum(-1) + 1)
        return _columns(np.ones_like(share), np.log(share + np.float32(MIN_SHARE)), *np.moveaxis(facts, -1, 0))

    def map_inputs(self, mapped: Float32, classes: Float32, drawn: Float32, facts: Float32) -> Float32:
        """Inputs `(..., MAP_INPUTS)` of `map_near` and `map_right`.

        1; the cosine of the best name, and its lead over the second; the entropy over names; the highest class
        probability; the probability of a drawing; the size and sharpness of the view.

        Args:
            mapped: `(..., D)`, as from `project`.
            classes: `(..., 1000)` probabilities.
            drawn: `(...,)`, as from `project`.
            facts: `(..., 3)`, as from `views.facts_of`.
        """
        scores = mapped @ self.names.T
        best_two = np.sort(scores, -1)[..., -2:]
        share = softmax(np.float32(SHARPNESS) * scores)
        entropy = -(share * np.log(share + 1e-9)).sum(-1)
        return _columns(
            np.ones_like(entropy),
            best_two[..., 1],
            best_two[..., 1] - best_two[..., 0],
            entropy,
            classes.max(-1),
            drawn,
            facts[..., 0],
            facts[..., 2],
        )


def roots(features: Float32) -> Float32:
    """Square roots, so that a few large features do not dominate the rest."""
    return np.asarray(np.sqrt(np.maximum(features, 0)), np.float32)


def photo_input(centred: Float32, classes: Float32) -> Float32:
    """Input `(..., 2281)` of the map for photographs: centred roots of features, roots of probabilities, and 1."""
    one = np.ones((*centred.shape[:-1], 1), np.float32)
    return np.concatenate([centred, np.float32(CLASS_WEIGHT) * np.sqrt(classes), one], -1, dtype=np.float32)


def softmax(logits: Float32) -> Float32:
    """Softmax over the last axis."""
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True), np.float32)


def sigmoid(x: Float32) -> Float32:
    """The logistic function."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -60, 60))), np.float32)


def _columns(*columns: Float32) -> Float32:
    return np.stack(columns, -1).astype(np.float32)
