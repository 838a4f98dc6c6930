"""What a thing is called.

The mean of its tracks' text tokens is compared with many names in one matrix product, and the nearest few are judged as
`where` judges a track by that name. Where even the best name is not one that `where` would count as found, it is marked
as a guess.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..encoders.base import TextEncoder
from ..encoders.probability import MIN_PROBABILITY, Curve
from ..records import Float32
from .labels import load_labels

CONTRASTS = 32
"""How many names' contrast phrases are kept. Those of one name take 0.4 MB with `tiny`, and a large memory has
thousands of names."""
GUESSES = 3
"""How many names are judged for each thing, the nearest ones."""


def names_for(encoder: TextEncoder, labels: str | None) -> tuple[str, ...]:
    """What things may be called.

    The names of a file or a built-in list (see `labels.load_labels`). By default those that the encoder knows, or, for
    one that reads any phrase, the things among the classes of COCO, ADE20K and VSPW.
    """
    if labels is not None:
        return load_labels(labels).names
    if known := encoder.names():
        return tuple(name for name, synonym_of in known.items() if not synonym_of)
    lists = [load_labels(name) for name in ("coco", "ade20k", "vspw")]
    return tuple(
        dict.fromkeys(name for one in lists for name, thing in zip(one.names, one.things, strict=True) if thing)
    )


@dataclass(frozen=True, slots=True)
class Guess:
    """guesses: names with their probabilities, the best first. row: the index of the best name. named: False if it is
    only a guess."""

    guesses: tuple[tuple[str, float | None], ...]
    row: int
    named: bool

    @property
    def name(self) -> str:
        """The best name."""
        return self.guesses[0][0]

    @property
    def probability(self) -> float | None:
        """Of the best name; None if no probability is fitted."""
        return self.guesses[0][1]


class Naming:
    """Gives things their names."""

    def __init__(self, encoder: TextEncoder, names: Sequence[str], vectors: Float32, curve: Curve | None) -> None:
        """Prepare.

        Args:
            encoder: The text side that the vectors are from.
            names: What things may be called.
            vectors: Of the names, `(n, Dt)`.
            curve: From score and share to the probability of a name; None if none was fitted.
        """
        self.names, self.vectors = names, vectors
        self._encoder, self._curve, self.calibration = encoder, curve, encoder.info.calibration
        self._contrasts: OrderedDict[int, Float32] = OrderedDict()

    def of(self, token: Float32) -> Guess:
        """The names of a thing with the text token `(Dt,)`, whose length is how sure the token is."""
        scores = self.vectors @ token
        near = np.argpartition(-scores, min(GUESSES, len(scores) - 1))[:GUESSES]
        shares = np.array([self._share(int(i), float(scores[i]), token) for i in near])
        if self._curve is not None:
            # As the best answer to its own question: it is not less of a cup because another thing is more of one.
            probability = self._curve.at(scores[near], shares, None)
            order = np.lexsort((-scores[near], -probability))
            guesses = tuple((self.names[near[k]], float(probability[k])) for k in order)
            return Guess(guesses, int(near[order[0]]), bool(probability[order[0]] >= np.float32(MIN_PROBABILITY)))
        order = np.argsort(-scores[near], kind="stable")
        best = int(order[0])
        named = (
            scores[near[best]] >= self.calibration.text_threshold
            and shares[best] >= self.calibration.contrast_probability
        )
        return Guess(tuple((self.names[near[k]], None) for k in order), int(near[best]), bool(named))

    def _share(self, row: int, score: float, token: Float32) -> float:
        """As `probable.share`, of one name and one token."""
        gaps = (self._contrast(row) @ token - score) / self.calibration.temperature
        return float(1 / (1 + np.exp(np.minimum(gaps, 80)).sum()))

    def _contrast(self, row: int) -> Float32:
        found = self._contrasts.pop(row, None)  # threads may share this; at worst one is made twice
        if found is None:
            found = self._encoder.contrast(self.vectors[row])
        self._contrasts[row] = found
        while len(self._contrasts) > CONTRASTS:
            self._contrasts.popitem(last=False)
        return found
