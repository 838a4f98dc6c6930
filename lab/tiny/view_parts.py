"""Samples of views (view_samples.py) in the form of the fit: network outputs and target names.

A target is a row of a table: the names of a NameSpace, then ImageNet's 1,000 classes. A view has up to three, with
shares of sum 1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.tiny.convert_classifier import published
from lab.tiny.name_space import NameSpace
from vidmem.encoders.tiny.naming import HINTS, softmax
from vidmem.records import Float32

CLEAR = 0.3
"""Minimum probability of the network's first answer for a clear view to become a target."""
EACH, FAR, NOISE = 6, (4.0, 7.0), 0.6
"""Synthesised views of an ImageNet class: number, range of distances from the mean, and scatter (see `imagined`)."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Views of one source. features `(n, 1280)`, logits `(n, 1000)`, hints `(n, 80)`, facts `(n, 3)`, float32; targets
    `(n, 3)` int and their shares `(n, 3)`, -1 where there is none; name, kind `(n,)` str; group `(n,)`: of which
    picture; held `(n,)` bool."""

    features: Float32
    logits: Float32
    hints: Float32
    facts: Float32
    targets: NDArray[np.int64]
    shares: Float32
    name: NDArray[Any]
    kind: NDArray[Any]
    group: NDArray[np.int64]
    held: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: NDArray[Any]) -> Part:
        return Part(*(getattr(self, name)[rows] for name in self.__slots__))


def read(path: Path, space: NameSpace) -> Part:
    """Read the views of a file, with the rows of their names as targets. Raises KeyError for a name outside the
    space."""
    with np.load(path, allow_pickle=False) as kept:
        d = {name: kept[name] for name in kept.files}
    labels = space.labels(d["name"])
    d |= {name: d[name].astype(np.float32) for name in ("features", "logits", "facts")}
    shares = np.tile(np.array([1, 0, 0], np.float32), (len(labels), 1))
    return Part(
        d["features"],
        d["logits"],
        d["hint"].astype(np.float32),
        d["facts"],
        np.stack([labels] * 3, 1),
        shares,
        d["name"],
        d["kind"],
        d["group"],
        d["held"],
    )


def names_in(path: Path) -> list[str]:
    with np.load(path, allow_pickle=False) as kept:
        return sorted({str(n) for n in kept["name"]} - {""})


def distilled(part: Part, first: int) -> Part:
    """Return the views with the network's own answer to a clear view as their target. A "poor" view gets the mean
    answer of the clear ones before it. Views with unsure answers are left out. first: the row of the first ImageNet
    class in the table of targets."""
    answers = softmax(part.logits)
    clear: list[Float32] = []
    poor_before = True
    for i, kind in enumerate(part.kind):
        if kind == "poor":
            answers[i] = np.mean(clear, 0)
        else:
            clear = [*(() if poor_before else clear), answers[i].copy()]
        poor_before = kind == "poor"
    top = np.argsort(-answers, 1)[:, :3]
    likely = np.take_along_axis(answers, top, 1)
    shares = (likely / likely.sum(1, keepdims=True)).astype(np.float32)
    return replace(part, targets=top + first, shares=shares).take(likely[:, 0] > CLEAR)


def imagined(features: Float32, first: int, each: int = EACH, seed: int = 0) -> Part:
    """Synthesise views of ImageNet's classes from the last layer alone. If features were normal about the mean of their
    class with one covariance S, its weights W would be S^-1 (means - mean), so the means lie in the direction S W
    (linear discriminant analysis). The distance is chosen so that the network is as sure of them as of real
    photographs. features: of real views."""
    state = published()
    weight, bias = state["_fc.weight"], state["_fc.bias"]
    mean, spread = features.mean(0), np.cov(features.T).astype(np.float32)
    spread = 0.9 * spread + 0.1 * np.diag(np.diag(spread))
    rng = np.random.default_rng(seed)
    n, classes = 1000 * each, np.repeat(np.arange(1000), each)
    way = np.repeat((weight - weight.mean(0)) @ spread, each, 0) * rng.uniform(*FAR, (n, 1))
    noise = NOISE * rng.standard_normal((n, len(mean)), np.float32) @ np.linalg.cholesky(spread).T
    made = np.maximum(mean + way + noise, 0).astype(np.float32)
    logits = made @ weight.T + bias
    chance = softmax(logits)[np.arange(n), classes]
    print(json.dumps({"imagined": n, "top1": float((logits.argmax(1) == classes).mean()), "p": float(chance.mean())}))
    shares = np.tile(np.array([1, 0, 0], np.float32), (n, 1))
    blank = np.full(n, "")
    return Part(
        made,
        logits,
        np.zeros((n, HINTS), np.float32),
        np.zeros((n, 3), np.float32),
        np.stack([classes + first] * 3, 1),
        shares,
        blank,
        blank,
        np.full(n, -1),
        np.zeros(n, np.bool_),
    )
