"""The settings that calibrate.py tries, what each gives on scored questions, and which one is chosen."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibrate_questions import FLOOR, TEMPERATURES, Question, newest_evidence, newest_span
from benchmarks.common import mean, say, tiou
from benchmarks.lostfound import LEAST_TIOU
from vidmem.encoders.base import Calibration

TEXT = np.round(np.arange(FLOOR["text"], 0.86, 0.025), 4)
SHARE = np.round(np.arange(0.0, 0.51, 0.025), 4)
VISUAL = np.round(np.arange(FLOOR["visual"], 0.98, 0.01), 4)
PRODUCT = np.round(np.arange(FLOOR["product"], 0.80, 0.02), 4)
PRESENT = ("name", "synonym", "clip_name", "picture", "name_picture")
GROUPS = {"text": ("name", "synonym", "clip_name"), "visual": ("picture",), "product": ("name_picture",)}
CONSTRAINTS = {"text": ("absent_word", "unknown_word", "absent_clip"), "visual": ("absent_picture",),
               "product": ("absent_name_picture",)}  # fmt: skip
RELATIVE = {"text": np.round(np.arange(0.3, 0.86, 0.05), 4), "visual": np.round(np.arange(0.5, 0.96, 0.05), 4),
            "product": np.zeros(1)}  # fmt: skip
"""Share of the best score that a hit must reach."""
WEIGHT = {"absent_clip": 5 / 3}
"""How much a false find weighs, if not 1: with the usual limit of .05, at most .03 of what is absent from the clips."""
LOOSER = {"visual": 1.2, "product": 2}
"""Who brings a picture of a thing has mostly seen it: false finds weigh less there. Words, the most of what is asked,
stay well below, so that all that is absent together keeps the limit."""


def outcomes(
    question: Question, settings: Sequence[tuple[float, ...]], temperature: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For every setting (threshold, share of the contrast phrases, share of the best score): is anything found, and is
    the newest sighting right."""
    found, right = np.zeros(len(settings), bool), np.zeros(len(settings), bool)
    seen: dict[bytes, tuple[bool, bool]] = {}
    for i, (threshold, share, relative) in enumerate(settings):
        keep = question.score >= np.float32(threshold)
        if share > 0 and question.shares is not None:
            keep &= question.shares[temperature] >= share
        if relative > 0:
            keep &= question.score >= np.float32(relative) * question.score.max(initial=0, where=keep)
        key = keep.tobytes()
        if key not in seen:
            ok = False
            if (hit := bool(keep.any())) and question.span is not None:
                ok = tiou(newest_span(question.start[keep], question.end[keep]), question.span) >= LEAST_TIOU
            if hit and question.lies is not None:
                ok = bool(question.lies[newest_evidence(question, keep)])
            seen[key] = (hit, ok)
        found[i], right[i] = seen[key]
    return found, right


def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each value averaged with its neighbours along every axis; the edges count twice."""
    for axis in range(values.ndim):
        padded = np.pad(values, [(1, 1) if a == axis else (0, 0) for a in range(values.ndim)], mode="edge")
        n = values.shape[axis]
        values = sum(padded.take(range(k, k + n), axis) for k in range(3)) / 3  # type: ignore[assignment]
    return values


def pick(rates: NDArray[np.float64], false: Sequence[NDArray[np.float64]], most: float) -> tuple[int, ...]:
    """The index of the best smoothed rate where every (smoothed and plain) rate of false finds is within bounds; where
    none is, the one that comes nearest to them. Among equals, the one nearest to their middle."""
    excess = np.zeros_like(rates)
    for one in false:
        excess += np.maximum(0, np.maximum(one, smooth(one)) - most)
    value = np.where(excess <= 1e-12, smooth(smooth(rates)), -1 - excess)
    ties = np.argwhere(value >= value.max() - 1e-9)
    middle = ties[np.argmin(((ties - ties.mean(0)) ** 2).sum(1))]
    return tuple(int(i) for i in middle)


def grids(mode: str) -> tuple[list[tuple[float, ...]], tuple[int, ...]]:
    """All settings of one kind of question but the temperature, and the shape of their grid."""
    first = {"text": TEXT, "visual": VISUAL, "product": PRODUCT}[mode]
    axes = first, np.zeros(1) if mode == "visual" else SHARE, RELATIVE[mode]
    return [(float(a), float(b), float(c)) for a, b, c in itertools.product(*axes)], tuple(len(axis) for axis in axes)


def settings_of(calibration: Calibration) -> dict[str, tuple[float, ...]]:
    """The setting of each kind of question, as `grids` writes it."""
    return {
        "text": (calibration.text_threshold, calibration.contrast_probability, calibration.text_relative),
        "visual": (calibration.visual_threshold, 0.0, calibration.visual_relative),
        "product": (calibration.product_threshold, calibration.contrast_probability_product, 0.0),
    }


Tables = dict[tuple[str, int], list[tuple[Question, NDArray[np.bool_], NDArray[np.bool_]]]]


def tabulate(asked: Sequence[Question]) -> Tables:
    """(mode, temperature) -> for each question its outcomes under all settings."""
    out: Tables = {}
    for mode in GROUPS:
        settings, _ = grids(mode)
        mine = [q for q in asked if q.mode == mode]
        for v in range(len(TEMPERATURES)):
            out[mode, v] = [(q, *outcomes(q, settings, v)) for q in mine]
        say(f"tried {len(settings)} settings of {mode} on {len(mine)} questions")
    return out


def choose(tables: Tables, most: float, leave: int | None = None) -> Calibration:
    """The best calibration, without the questions of world `leave`."""

    def best(mode: str, t: int) -> tuple[float, tuple[float, ...]]:
        settings, shape = grids(mode)
        limit = most * LOOSER.get(mode, 1)
        held = [row for row in tables[mode, t] if row[0].world != leave]

        def rate(kind: str, column: int) -> NDArray[np.float64]:
            rows = [row[1] if column == 1 else row[2] for row in held if row[0].kind == kind]
            return np.mean(rows, axis=0).reshape(shape) if rows else np.zeros(shape)

        asked = {row[0].kind for row in held}
        rates = np.mean([rate(kind, 2) for kind in GROUPS[mode] if kind in asked or kind != "clip_name"], axis=0)
        false = [rate(kind, 1) * WEIGHT.get(kind, 1.0) for kind in CONSTRAINTS[mode]]
        index = pick(rates, false, limit)
        excess = sum(max(0.0, float(one[index]) - limit) for one in false)
        flat = int(np.ravel_multi_index(index, shape))
        return (float(smooth(smooth(rates))[index]) if excess <= 1e-12 else -excess), settings[flat]

    chosen: tuple[float, Calibration] | None = None
    for v, temperature in enumerate(TEMPERATURES):
        visual_value, (visual, _, visual_relative) = best("visual", v)
        text_value, (text, contrast, text_relative) = best("text", v)
        product_value, (product, contrast_product, _) = best("product", v)
        value = 2 * text_value + visual_value + product_value
        if chosen is None or value > chosen[0]:
            chosen = value, Calibration(text, contrast, visual, product, contrast_product, temperature,
                                        visual_relative, text_relative)  # fmt: skip
    assert chosen is not None
    return chosen[1]


def rates(tables: Tables, calibration: Calibration, only: int | None = None) -> dict[str, dict[str, Any]]:
    """By kind: questions, found, right, under one calibration of the grid."""
    out: dict[str, dict[str, Any]] = {}
    v = TEMPERATURES.index(calibration.temperature)
    setting = settings_of(calibration)
    for mode, kinds in GROUPS.items():
        at = grids(mode)[0].index(setting[mode])
        held = [r for r in tables[mode, v] if only is None or r[0].world == only]
        for kind in (*kinds, *CONSTRAINTS[mode]):
            rows = [row for row in held if row[0].kind == kind]
            if rows:
                out[kind] = {"questions": len(rows), "found": mean(float(r[1][at]) for r in rows),
                             "right": mean(float(r[2][at]) for r in rows) if kind in PRESENT else None}  # fmt: skip
    return out


def leave_one_out(tables: Tables, most: float, worlds: int) -> dict[str, dict[str, float]]:
    """Rates on each world under the calibration of the others: what to expect elsewhere."""
    total: dict[str, list[float]] = {}
    for world in range(worlds):
        for kind, row in rates(tables, choose(tables, most, leave=world), only=world).items():
            kept = total.setdefault(kind, [0.0, 0.0, 0.0])
            kept[0] += row["questions"]
            kept[1] += row["questions"] * row["found"]
            kept[2] += row["questions"] * (row["right"] or 0.0)
    return {kind: {"questions": n, "found": found / n, **({"right": right / n} if kind in PRESENT else {})}
            for kind, (n, found, right) in total.items()}  # fmt: skip
