"""Which prediction of a point stands for which of its targets (section 3.2, "Hungarian matching")."""

from __future__ import annotations

import torch
from torch import Tensor

from ..losses import match
from .config import Spare

FEW = 4
"""Predictions per point up to which all orders are tried at once, on the device: 24 at most. SciPy's assignment takes
one small matrix after the other on the CPU, 2048 a step in the paper's setting, but stays polynomial; it is for more.
Both are exact."""


def assign(cost: Tensor, valid: Tensor, spare: Spare = "ignore") -> Tensor:
    """One-to-one matching of k predictions to at most t <= k targets that is cheapest in all.

    cost `(P, k, t)`, finite; valid `(P, t)` bool, whether there is such a target. Returns `(P, k)` int64: the target of
    each prediction, -1 for none. With "repeat", predictions that are left over get the cheapest target of their point.
    """
    points, k, _ = cost.shape
    chosen = match(cost, valid) if k <= FEW else _hungarian(cost, valid)  # (P, t): prediction of each target
    targets = torch.full((points, k), -1, dtype=torch.long, device=cost.device)
    p, j = valid.nonzero(as_tuple=True)
    targets[p, chosen[p, j]] = j
    if spare == "repeat":
        nearest = cost.masked_fill(~valid[:, None], torch.inf).argmin(-1)
        targets = torch.where((targets < 0) & valid.any(-1, keepdim=True), nearest, targets)
    return targets


def _hungarian(cost: Tensor, valid: Tensor) -> Tensor:
    """`(P, t)` as losses.match gives it, point by point with scipy.optimize.linear_sum_assignment."""
    from scipy.optimize import linear_sum_assignment

    table, there = cost.detach().double().cpu().numpy(), valid.cpu().numpy()
    out = torch.zeros(valid.shape, dtype=torch.long)
    for i, (costs, held) in enumerate(zip(table, there, strict=True)):
        columns = held.nonzero()[0]
        rows, places = linear_sum_assignment(costs[:, columns])
        out[i, columns[places]] = torch.from_numpy(rows)
    return out.to(cost.device)
