"""Assign predictions of a point to its targets (section 3.2, "Hungarian matching")."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from .config import Spare

FEW = 4
"""Up to this many predictions per point all orders (24 at most) are tried at once, on the device. For more, SciPy's
assignment is used, which is polynomial but works on the CPU, one small matrix after the other (2,048 a step in the
paper's setting). Both are exact."""


def match(cost: Tensor, valid: Tensor) -> Tensor:
    """Match k predictions to at most t <= k targets per point, exactly, by trying all orders; for small k.

    cost `(P, k, t)`, valid `(P, t)` bool. Returns `(P, t)` int64: the prediction of each target (meaningless where the
    target is not valid).
    """
    _, k, t = cost.shape
    orders = torch.tensor(list(itertools.permutations(range(k), t)), device=cost.device)  # (O, t)
    columns = torch.arange(t, device=cost.device)
    totals = (cost[:, orders, columns] * valid[:, None]).sum(-1)  # (P, O)
    return orders[totals.argmin(1)]


def assign(cost: Tensor, valid: Tensor, spare: Spare = "ignore") -> Tensor:
    """Assign k predictions to at most t <= k targets, one to one, with minimum total cost.

    Args:
        cost: `(P, k, t)`, finite.
        valid: `(P, t)` bool, True where there is a target.
        spare: With "repeat", the remaining predictions get the cheapest target of their point.

    Returns:
        `(P, k)` int64: the target of each prediction, -1 for none.
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
    """Return the same as `match`, point by point with scipy.optimize.linear_sum_assignment."""
    from scipy.optimize import linear_sum_assignment

    table, there = cost.detach().double().cpu().numpy(), valid.cpu().numpy()
    out = torch.zeros(valid.shape, dtype=torch.long)
    for i, (costs, held) in enumerate(zip(table, there, strict=True)):
        columns = held.nonzero()[0]
        rows, places = linear_sum_assignment(costs[:, columns])
        out[i, columns[places]] = torch.from_numpy(rows)
    return out.to(cost.device)
