"""Gain of a track from looking like a probable one: `python -m benchmarks.lift --out FILE.json [--seeds 5100:5112]`.

On the walks that calibrate.py fits on, tracks that are not found by themselves (a probability of .1 to .5) are compared
with those that are. How often one is the thing asked for, by its own probability and by its likeness, gives the numbers
of `vidmem.encoders.probability.lift`: logit p + LIFT * u - DOUBT, with u the way of the cosine from `same_thing` to
1.
"""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibrate_sets import walks
from benchmarks.common import OUT, machine, model, parse_range, parser_for, table, write_json
from vidmem.encoders.probability import DOUBT, LIFT, MIN_PROBABILITY
from vidmem.query.probable import curve_of, probabilities
from vidmem.query.scores import nearest

LEAST, MANY = 0.1, 200
"""What is less probable is not looked at; so many of the nearest tracks of each question are."""
P_EDGES, U_EDGES = (0.1, 0.2, 0.3, 0.4, 0.5), (-9.0, 0.0, 0.2, 0.4, 0.6, 1.01)


def logit(p: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.log(p / (1 - p)))


def fit(x: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Logistic regression of `right (n,)` on columns `x (n, k)` and a constant, which comes last."""
    x = np.c_[x, np.ones(len(x))]
    w = np.zeros(x.shape[1])
    for _ in range(50):
        q = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        w += np.linalg.solve((x * (q * (1 - q))[:, None]).T @ x + 1e-3 * np.eye(len(w)), x.T @ (right - q))
    return w


def doubtful(asked: Any) -> list[tuple[float, float, bool]]:
    """For each doubtful track of each question: its probability, its similarity u, and whether it is right."""
    out = []
    memory = asked.memory
    cache, calibration = memory.cache(), memory.calibration
    for q in asked.questions:
        if q.right is None or curve_of(calibration, q.text is not None, q.visual is not None) is None:
            continue
        hits = nearest(cache, q.text, q.visual, MANY)
        likely = probabilities(cache, calibration, hits, q.contrast)
        if likely is None:
            continue
        sure = likely >= MIN_PROBABILITY
        if not sure.any():
            continue
        looks = cache.reconstruct("visual", hits.rows)
        cosine = (looks @ looks[sure].T).max(axis=1)
        u = (cosine - calibration.same_thing) / (1 - calibration.same_thing)
        held = np.flatnonzero(~sure & (likely >= LEAST))
        tracks = memory.store.tracks([int(i) for i in cache.columns_of(hits.rows[held]).ids])
        out += [(float(likely[i]), float(u[i]), bool(q.right(t))) for i, t in zip(held, tracks, strict=True)]
    return out


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--seeds", type=parse_range, default=range(5100, 5112), help="A:B below 9000 (5100:5112)")
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--cache", type=Path, default=OUT)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="for making worlds")
    args = parser.parse_args()
    rows: list[tuple[float, float, bool]] = []
    for asked in walks(args.cache, None, args.seeds, args.seconds, args.processes):
        with asked.memory:
            rows += doubtful(asked)
    p, u, right = (np.array(column) for column in zip(*rows, strict=True))
    slope, lift, constant = fit(np.c_[logit(p), np.clip(u, 0, 1)], right)
    cells = []
    for a, b in pairwise(P_EDGES):
        here = [(p >= a) & (p < b) & (u >= c) & (u < d) for c, d in pairwise(U_EDGES)]
        cells.append([f"{a:.1f} to {b:.1f}", *(f"{right[h].mean():.2f} ({h.sum()})" if h.any() else "-" for h in here)])
    write_json(
        args.out,
        {
            "machine": machine(),
            "model": model(),
            "seeds": list(args.seeds),
            "tracks": len(rows),
            "slope": slope,
            "lift": lift,
            "constant": constant,
            "shipped": {"LIFT": LIFT, "DOUBT": DOUBT},
            "cells": cells,
        },
    )
    print(table(["probability: right, by likeness", *(f"from {max(c, -1):.1f}" for c in U_EDGES[:-1])], cells))
    print(
        f"{len(rows)} tracks: {slope:.2f} logit p + {lift:.2f} u {constant:+.2f} (shipped: 1 logit p + {LIFT} u "
        f"-{DOUBT})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
