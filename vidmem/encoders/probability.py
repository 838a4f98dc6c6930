"""From a score to the probability that a sighting shows the thing asked for, fitted on questions with known answers.

After Platt (1999): a logistic curve over the score and, where words were asked, over the logit of the phrase's share
among the contrast phrases; two or three numbers, so that some dozen questions are enough, and never falling in either.
A probability holds for questions like those of the fit: among answers of .7, seven in ten are right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..records import Float32

Mode = Literal["text", "visual", "product"]
MODES: tuple[Mode, Mode, Mode] = ("text", "visual", "product")
"""Asked by words, by a picture, by both."""

FLOOR = 0.5
"""What is more likely meant than not counts as found."""
LOOSE = 0.6
"""Tracks with less than this share of the calibrated threshold have no part in a fit."""
CANDIDATES = 5
"""Tracks of a question that a fit looks at, the best ones; together they weigh as much as those of any question."""
EVEN = 0.25
"""The Brier score of saying .5 each time."""
LEAST_EACH = 3
"""A fit needs so many right and so many wrong candidates."""

LIFT, DOUBT = 4.7, 0.44
"""What likeness to a thing that is probably meant adds to the log odds of a track: see `lifted`. From 2,498 tracks of
twelve walks (seeds 5100 to 5111) with a probability of .1 to .5 by themselves; benchmarks/lift.py prints such a fit."""

_COUNTS = frozenset({"questions", "right", "wrong"})
_MOST = 1e9
"""Of any number of a curve: it is kept in memories, which may come from strangers."""
_CLIP = 1e-4
_RIDGE = 1e-2
_STEPS = 100


@dataclass(frozen=True, slots=True)
class Curve:
    """p = 1 / (1 + exp(-(bias + score * s + share * logit(c) + best * (s / b - 1)))) for a score s, a share c, and the
    best score b that the question has among all that may answer: beside a much better one, the same score says less.
    The score is the cosine to the words, or to the picture where there is one. score, share, best: not negative.
    questions: that it was fitted on; right, wrong: candidates."""

    bias: float
    score: float
    share: float
    questions: int
    right: int
    wrong: int
    best: float = 0.0

    def at(self, score: NDArray[Any], share: NDArray[Any] | None, best: NDArray[Any] | float | None = None) -> Float32:
        """`(n,)` probabilities of scores `(n,)` and shares `(n,)`, None for questions without words. best: the best
        score of each one's question, None where each is the best."""
        z = self.bias + self.score * np.asarray(score, np.float64)
        if share is not None:
            z = z + self.share * _logit(share)
        if best is not None:
            z = z + self.best * _behind(np.asarray(score, np.float64), best)
        return (1 / (1 + np.exp(-np.clip(z, -60, 60)))).astype(np.float32)

    def least_score(self, probability: float, best: float | None = None) -> float:
        """No score below it reaches the probability, whatever the share; -inf where even the lowest may. best: the best
        score of the question, where it is known."""
        if probability <= 0 or self.score + self.best < 1e-9:
            return -np.inf
        wanted = np.log(probability / (1 - probability)) if probability < 1 else 16.0  # float32 tells no 1 below that
        wanted -= self.bias + self.share * float(_logit(np.array(1.0)))
        if best is None or self.best <= 0:
            return -np.inf if self.score < 1e-9 else float(wanted / self.score) - 1e-5
        # From a score of 0 up to the best one the odds rise by both; below 0 the best has no more say.
        rising = float((wanted + self.best) / (self.score + self.best / max(best, 1e-6))) - 1e-5
        if rising > 0:
            return rising
        return -np.inf if self.score < 1e-9 else float((wanted + self.best) / self.score) - 1e-5

    def least_share(self, probability: float) -> float:
        """No track with a lower share reaches the probability, whatever its score; 0 where the share does not tell."""
        if probability <= 0 or self.share < 1e-9:
            return 0.0
        wanted = np.log(probability / (1 - probability)) if probability < 1 else 16.0
        logit = (wanted - self.bias - self.score) / self.share - 1e-5
        return 0.0 if logit <= _logit(np.array(0.0)) else float(1 / (1 + np.exp(-min(logit, 60.0))))


@dataclass(frozen=True, slots=True)
class Probabilities:
    """A curve for each kind of question; None where none was fitted."""

    text: Curve | None = None
    visual: Curve | None = None
    product: Curve | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, mode) is not None for mode in MODES)

    def as_dict(self) -> dict[str, Any]:
        return {mode: curve for mode, curve in asdict(self).items() if curve is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `as_dict` gave. Raises ValueError for anything else."""
        if not isinstance(data, Mapping):
            raise ValueError("no curves")
        names = {f.name for f in fields(Curve)}
        data = {mode: {"best": 0.0, **v} if isinstance(v, Mapping) else v for mode, v in data.items()}  # as of before
        curves = {}
        for mode, values in data.items():
            if mode not in MODES or not isinstance(values, Mapping) or values.keys() != names:
                raise ValueError(f"no curve: {mode!r}")
            for name, value in values.items():
                wanted = int if name in _COUNTS else (int, float)
                least = -_MOST if name == "bias" else 0
                if isinstance(value, bool) or not isinstance(value, wanted) or not least <= value <= _MOST:
                    raise ValueError(f"the curve {mode!r} has a {name} that is none")
            curves[mode] = Curve(**values)
        return cls(**curves)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Candidates, `(n,)` each: score, share (None without words), right, question, the number of each one's, and best,
    the best score of that question (None: each one's own)."""

    score: NDArray[np.float64]
    share: NDArray[np.float64] | None
    right: NDArray[np.bool_]
    question: NDArray[np.int64]
    best: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.score)

    def take(self, keep: NDArray[np.bool_]) -> Samples:
        share = None if self.share is None else self.share[keep]
        best = None if self.best is None else self.best[keep]
        return Samples(self.score[keep], share, self.right[keep], self.question[keep], best)


def fit(samples: Samples, weight: NDArray[np.float64] | None = None) -> Curve:
    """The curve with the largest likelihood, targets drawn in as Platt's. weight `(n,)`: of each candidate's question,
    1 by default; it is shared among the candidates of that question.

    Raises UsageError when there are too few right or wrong candidates to tell them apart.
    """
    right, wrong = int(samples.right.sum()), int((~samples.right).sum())
    if min(right, wrong) < LEAST_EACH:
        raise UsageError(
            f"{right} right and {wrong} wrong candidates are too few to calibrate with (at least {LEAST_EACH} each); "
            "add questions: things that are there, with all their times, and some that are absent"
        )
    _, place, count = np.unique(samples.question, return_inverse=True, return_counts=True)
    mass = (np.ones(len(samples)) if weight is None else np.asarray(weight, np.float64)) / count[place]
    mass = mass * (len(count) / mass.sum())
    columns = {"score": samples.score}
    if samples.share is not None:
        columns["share"] = _logit(samples.share)
    if samples.best is not None:
        columns["best"] = _behind(samples.score, samples.best)
    n_right, n_wrong = float(mass[samples.right].sum()), float(mass[~samples.right].sum())
    target = np.where(samples.right, (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2))
    while True:  # a slope that came out negative is noise: leave it out
        slopes, bias = _newton(list(columns.values()), target, mass)
        found = dict(zip(columns, slopes, strict=True))
        if all(slope >= 0 for slope in slopes):
            break
        columns = {name: column for name, column in columns.items() if found[name] >= 0}
    return Curve(
        bias, found.get("score", 0.0), found.get("share", 0.0), len(count), right, wrong, found.get("best", 0.0)
    )


def _newton(
    columns: list[NDArray[np.float64]], target: NDArray[np.float64], mass: NDArray[np.float64]
) -> tuple[list[float], float]:
    """Slopes and bias of a weighted logistic regression, on columns that are scaled first."""
    mean = [float(np.average(c, weights=mass)) for c in columns]
    spread = [np.average((c - m) ** 2, weights=mass) for c, m in zip(columns, mean, strict=True)]
    scale = [max(float(np.sqrt(v)), 1e-9) for v in spread]
    x = np.stack([*((c - m) / s for c, m, s in zip(columns, mean, scale, strict=True)), np.ones(len(target))], axis=1)
    ridge = np.full(x.shape[1], _RIDGE)
    ridge[-1] = 0
    w = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -60, 60)))
        slope = x.T @ (mass * (target - p)) - ridge * w
        curve = (x * (mass * np.maximum(p * (1 - p), 1e-9))[:, None]).T @ x + np.diag(ridge)
        step = np.linalg.solve(curve, slope)
        w += step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-12))  # far from the answer Newton overshoots
        if np.abs(step).max() < 1e-9:
            break
    slopes = [float(w[i] / s) for i, s in enumerate(scale)]
    return slopes, float(w[-1] - sum(a * m for a, m in zip(slopes, mean, strict=True)))


def lifted(probability: NDArray[Any], cosine: NDArray[Any], sure: NDArray[Any], same_thing: float) -> Float32:
    """The probabilities `(n,)` of tracks that look like some that are probably meant: never lower than they were, and
    never higher than that of the one that they look like.

    cosine `(n, m)`: of their visual tokens to those; sure `(m,)`: the probabilities of those. same_thing: the cosine
    from which on two show one thing: the log odds grow by LIFT for the way from there to 1, less DOUBT.
    """
    own = np.asarray(probability, np.float64)[:, None]
    share = np.clip((np.asarray(cosine, np.float64) - same_thing) / max(1 - same_thing, 1e-6), 0, 1)
    z = _logit(own) + LIFT * share - DOUBT
    like = np.minimum(1 / (1 + np.exp(-z)), np.asarray(sure, np.float64))
    return np.asarray(np.maximum(own[:, 0], like.max(axis=1, initial=0)), np.float32)


def left_out(samples: Samples) -> Float32:
    """For each candidate the probability by the curve of all other questions: what to expect of new ones.

    NaN where the others do not make a curve.
    """
    out = np.full(len(samples), np.nan, np.float32)
    for question in np.unique(samples.question).tolist():
        held = samples.question == question
        try:
            curve = fit(samples.take(~held))
        except UsageError:
            continue
        one = samples.take(held)
        out[held] = curve.at(one.score, one.share, one.best)
    return out


def check_worth(samples: Samples) -> None:
    """Raises UsageError for candidates whose curve tells nothing of new questions: each question told by the curve of
    the others, its Brier score is no better than that of .5 for everything, or worse than that of the base rate; or
    there are too few for that."""
    told = left_out(samples)
    known = ~np.isnan(told)
    if not known.any():
        raise UsageError("too few questions to check the curve, each by that of the others; nothing is kept, add some")
    right = samples.right[known]
    score, rate = brier(told[known], right), float(right.mean())
    base = brier(np.full(len(right), rate), right)
    remedy = "nothing is kept; check the answers, or add questions"
    if score >= EVEN:
        raise UsageError(
            f"the curve is no better than to say .5 each time (Brier score {score:.3f}, that gets {EVEN}); {remedy}"
        )
    if score > base:
        raise UsageError(
            f"the curve is worse than to say {rate:.2f} each time, the share that is right (Brier score "
            f"{score:.3f}, that gets {base:.3f}); {remedy}"
        )


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers with a probability from low to high: how many, their mean probability, and the share that is right."""

    low: float
    high: float
    count: int
    mean: float
    right: float


def reliability(probability: NDArray[Any], right: NDArray[Any], bins: int = 5) -> list[Bin]:
    """The bins that hold anything, of equal width; 1 belongs to the last one."""
    place = np.minimum((np.asarray(probability) * bins).astype(int), bins - 1)
    out = []
    for i in range(bins):
        held = place == i
        if held.any():
            out.append(
                Bin(
                    i / bins,
                    (i + 1) / bins,
                    int(held.sum()),
                    float(np.mean(probability[held])),
                    float(np.mean(right[held])),
                )
            )
    return out


def brier(probability: NDArray[Any], right: NDArray[Any]) -> float:
    """Mean squared difference of probability and truth: 0 is perfect, .25 is what .5 for everything gets."""
    return float(np.mean((np.asarray(probability, np.float64) - np.asarray(right, np.float64)) ** 2))


def _behind(score: NDArray[np.float64], best: NDArray[Any] | float) -> NDArray[np.float64]:
    """How far scores are behind the best: 0 for it, -1 for none at all."""
    top = np.maximum(np.asarray(best, np.float64), 1e-6)
    return np.asarray(np.clip(score / top - 1, -1, 0))


def _logit(share: NDArray[Any]) -> NDArray[np.float64]:
    c = np.clip(np.asarray(share, np.float64), _CLIP, 1 - _CLIP)
    return np.asarray(np.log(c / (1 - c)))
