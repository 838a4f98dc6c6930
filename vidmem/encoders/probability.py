"""Curves from a score to the probability that a sighting shows what was asked for.

Platt scaling (Platt 1999): a logistic curve over the score and, for questions with words, over the logit of the
phrase's softmax share among the contrast phrases. It has two to four numbers, none of which may make the probability
fall, so some dozen questions with known answers are enough for a fit. The probabilities hold for questions like those
of the fit: of the answers with a probability of .7, about seven in ten are right.
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
"""Questions with words, with a picture, and with both."""

MIN_PROBABILITY = 0.5
"""An answer with at least this probability counts as found."""
LOOSE_SHARE = 0.6
"""Tracks that score below this share of the calibrated threshold take no part in a fit."""
MAX_CANDIDATES = 5
"""The best tracks of a question that a fit uses. Questions weigh the same, whatever their number of candidates."""
CONSTANT_BRIER = 0.25
"""The Brier score of a constant probability of .5."""
MIN_EACH = 3
"""Minimum number of right and of wrong candidates for a fit."""

LIFT, DOUBT = 4.7, 0.44
"""Gain in log odds of a track that resembles a probable one; see `lift`. Fitted on 2,498 tracks of twelve walks (seeds
5100 to 5111) whose own probability is between .1 and .5; benchmarks/lift.py repeats the fit."""

_COUNTS = frozenset({"questions", "right", "wrong"})
_MAX_NUMBER = 1e9
"""Largest number in a curve. Curves are stored in memories, which may come from strangers."""
_CLIP = 1e-4
_RIDGE = 1e-2
_STEPS = 100


@dataclass(frozen=True, slots=True)
class Curve:
    """A logistic curve: p = 1 / (1 + exp(-(bias + score * s + share * logit(c) + best * (s / b - 1)))).

    s is the score: the cosine to the picture if there is one, else to the words. c is the share, and b the best score
    of any candidate of the question: behind a much better one, the same score means less.

    Attributes:
        bias: Log odds at a score of 0 and a share of .5.
        score: Slope of the score, not negative.
        share: Slope of the share's logit, not negative; 0 without words.
        questions: Number of questions of the fit.
        right: Number of right candidates.
        wrong: Number of wrong candidates.
        best: Slope of the distance to the best score, not negative.
    """

    bias: float
    score: float
    share: float
    questions: int
    right: int
    wrong: int
    best: float = 0.0

    def at(self, score: NDArray[Any], share: NDArray[Any] | None, best: NDArray[Any] | float | None = None) -> Float32:
        """Probabilities `(n,)` float32.

        Args:
            score: `(n,)` scores.
            share: `(n,)` shares; None for questions without words.
            best: Best score of each candidate's question; None if every candidate is the best of its own.
        """
        z = self.bias + self.score * np.asarray(score, np.float64)
        if share is not None:
            z = z + self.share * _logit(share)
        if best is not None:
            z = z + self.best * _gap_to_best(np.asarray(score, np.float64), best)
        return (1 / (1 + np.exp(-np.clip(z, -60, 60)))).astype(np.float32)

    def min_score(self, probability: float, best: float | None = None, most_share: float = 1.0) -> float:
        """The score below which no share up to `most_share` reaches `probability`; -inf if there is no such bound.

        best: the best score of the question, if known.
        """
        if probability <= 0 or self.score + self.best < 1e-9:
            return -np.inf
        wanted = (
            np.log(probability / (1 - probability)) if probability < 1 else 16.0
        )  # float32 rounds to 1 from there on
        wanted -= self.bias + self.share * float(_logit(np.array(most_share)))
        if best is None or self.best <= 0:
            return -np.inf if self.score < 1e-9 else float(wanted / self.score) - 1e-5
        # From 0 up to the best score both slopes count; below 0 the one of `best` is clipped.
        rising = float((wanted + self.best) / (self.score + self.best / max(best, 1e-6))) - 1e-5
        if rising > 0:
            return rising
        return -np.inf if self.score < 1e-9 else float((wanted + self.best) / self.score) - 1e-5

    def min_share(self, probability: float) -> float:
        """The share below which no score reaches `probability`; 0 if the curve does not depend on the share."""
        if probability <= 0 or self.share < 1e-9:
            return 0.0
        wanted = np.log(probability / (1 - probability)) if probability < 1 else 16.0
        logit = (wanted - self.bias - self.score) / self.share - 1e-5
        return 0.0 if logit <= _logit(np.array(0.0)) else float(1 / (1 + np.exp(-min(logit, 60.0))))


@dataclass(frozen=True, slots=True)
class Probabilities:
    """A curve for each kind of question; None if it was not fitted."""

    text: Curve | None = None
    visual: Curve | None = None
    product: Curve | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, mode) is not None for mode in MODES)

    def as_dict(self) -> dict[str, Any]:
        """The fitted curves, ready for JSON."""
        return {mode: curve for mode, curve in asdict(self).items() if curve is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The curves that `as_dict` returned. Raises ValueError for anything else."""
        if not isinstance(data, Mapping):
            raise ValueError("not a curve for each mode")
        names = {f.name for f in fields(Curve)}
        data = {
            mode: {"best": 0.0, **v} if isinstance(v, Mapping) else v for mode, v in data.items()
        }  # older ones lack it
        curves = {}
        for mode, values in data.items():
            if mode not in MODES or not isinstance(values, Mapping) or values.keys() != names:
                raise ValueError(f"not a curve: {mode!r}")
            for name, value in values.items():
                wanted = int if name in _COUNTS else (int, float)
                lowest = -_MAX_NUMBER if name == "bias" else 0
                if isinstance(value, bool) or not isinstance(value, wanted) or not lowest <= value <= _MAX_NUMBER:
                    raise ValueError(f"the curve {mode!r} has no valid {name}")
            curves[mode] = Curve(**values)
        return cls(**curves)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Candidates of a fit, arrays `(n,)`.

    Attributes:
        score: Their scores.
        share: Their shares; None for questions without words.
        right: Which are right.
        question: The number of each one's question.
        best: The best score of that question; None for each one's own.
    """

    score: NDArray[np.float64]
    share: NDArray[np.float64] | None
    right: NDArray[np.bool_]
    question: NDArray[np.int64]
    best: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.score)

    def take(self, keep: NDArray[np.bool_]) -> Samples:
        """The candidates where `keep` `(n,)` is True."""
        share = None if self.share is None else self.share[keep]
        best = None if self.best is None else self.best[keep]
        return Samples(self.score[keep], share, self.right[keep], self.question[keep], best)


def fit(samples: Samples, weight: NDArray[np.float64] | None = None) -> Curve:
    """Fit a curve by maximum likelihood, with Platt's targets.

    weight: `(n,)`, the weight of each candidate's question, by default 1; the candidates of a question share it.

    Raises:
        UsageError: There are too few right or wrong candidates.
    """
    right, wrong = int(samples.right.sum()), int((~samples.right).sum())
    if min(right, wrong) < MIN_EACH:
        raise UsageError(
            f"{right} right and {wrong} wrong candidates are too few to calibrate with (at least {MIN_EACH} each); "
            "add questions: things that are there, with all their times, and some that are absent"
        )
    _, place, count = np.unique(samples.question, return_inverse=True, return_counts=True)
    mass = (np.ones(len(samples)) if weight is None else np.asarray(weight, np.float64)) / count[place]
    mass = mass * (len(count) / mass.sum())
    columns = {"score": samples.score}
    if samples.share is not None:
        columns["share"] = _logit(samples.share)
    if samples.best is not None:
        columns["best"] = _gap_to_best(samples.score, samples.best)
    n_right, n_wrong = float(mass[samples.right].sum()), float(mass[~samples.right].sum())
    target = np.where(samples.right, (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2))
    while True:  # a negative slope is noise: leave its column out
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
    """Slopes and bias of a weighted, ridge-regularized logistic regression on standardized columns."""
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
        w += step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-12))  # Newton overshoots far from the optimum
        if np.abs(step).max() < 1e-9:
            break
    slopes = [float(w[i] / s) for i, s in enumerate(scale)]
    return slopes, float(w[-1] - sum(a * m for a, m in zip(slopes, mean, strict=True)))


def lift(probability: NDArray[Any], cosine: NDArray[Any], anchors: NDArray[Any], same_thing: float) -> Float32:
    """Raise the probabilities of tracks that resemble a probable one; never above that of the one they resemble.

    Args:
        probability: `(n,)` probabilities of the tracks.
        cosine: `(n, m)` cosines of their visual tokens to those of `m` probable tracks.
        anchors: `(m,)` probabilities of the probable tracks.
        same_thing: Cosine from which on two tracks show one thing. From there to 1 the log odds grow linearly by LIFT,
            less DOUBT.

    Returns:
        `(n,)` float32, nowhere lower than `probability`.
    """
    own = np.asarray(probability, np.float64)[:, None]
    share = np.clip((np.asarray(cosine, np.float64) - same_thing) / max(1 - same_thing, 1e-6), 0, 1)
    z = _logit(own) + LIFT * share - DOUBT
    like = np.minimum(1 / (1 + np.exp(-z)), np.asarray(anchors, np.float64))
    return np.asarray(np.maximum(own[:, 0], like.max(axis=1, initial=0)), np.float32)


def leave_one_out(samples: Samples) -> Float32:
    """Probabilities `(n,)` of the candidates of each question by a curve fitted on all other questions.

    NaN where the other questions are too few for a curve.
    """
    out = np.full(len(samples), np.nan, np.float32)
    for question in np.unique(samples.question).tolist():
        held = samples.question == question
        try:
            curve = fit(samples.take(~held))
        except UsageError:
            continue
        test = samples.take(held)
        out[held] = curve.at(test.score, test.share, test.best)
    return out


def check_fit(samples: Samples) -> None:
    """Check that a curve predicts questions that it was not fitted on.

    Raises:
        UsageError: By leave-one-out, its Brier score is no better than that of a constant .5, or worse than that of the
            share of right candidates; or there are too few questions to say.
    """
    predicted = leave_one_out(samples)
    known = ~np.isnan(predicted)
    if not known.any():
        raise UsageError("too few questions to check the curve by leave-one-out; nothing is saved, add some")
    right = samples.right[known]
    score, rate = brier(predicted[known], right), float(right.mean())
    base = brier(np.full(len(right), rate), right)
    remedy = "nothing is saved; check the answers, or add questions"
    if score >= CONSTANT_BRIER:
        raise UsageError(
            f"the curve is no better than a constant .5 (Brier score {score:.3f} against {CONSTANT_BRIER}); {remedy}"
        )
    if score > base:
        raise UsageError(
            f"the curve is worse than a constant {rate:.2f}, the share of right candidates (Brier score {score:.3f} "
            f"against {base:.3f}); {remedy}"
        )


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers with a probability from `low` to `high`: their count, mean probability, and share that is `right`."""

    low: float
    high: float
    count: int
    mean: float
    right: float


def reliability(probability: NDArray[Any], right: NDArray[Any], bins: int = 5) -> list[Bin]:
    """Bins of equal width over [0, 1], without the empty ones; 1 belongs to the last."""
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
    """The Brier score, the mean squared difference of probability and truth: 0 is perfect, a constant .5 gets .25."""
    return float(np.mean((np.asarray(probability, np.float64) - np.asarray(right, np.float64)) ** 2))


def _gap_to_best(score: NDArray[np.float64], best: NDArray[Any] | float) -> NDArray[np.float64]:
    """Relative distance of scores to the best: 0 for the best, -1 for a score of 0 or less."""
    top = np.maximum(np.asarray(best, np.float64), 1e-6)
    return np.asarray(np.clip(score / top - 1, -1, 0))


def _logit(share: NDArray[Any]) -> NDArray[np.float64]:
    c = np.clip(np.asarray(share, np.float64), _CLIP, 1 - _CLIP)
    return np.asarray(np.log(c / (1 - c)))
