"""The loss of DenseVLM (arXiv 2412.06244, Eqs. 3 to 5), in the forms of the paper and of its public code.

A region that the teacher calls a thing competes only with things, and one that it calls stuff with all names. (Eq. 5 of
the paper has the two cases swapped; Eqs. 3 and 4, Table 3 and the code agree on this reading.)
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from vidmem.errors import UsageError

from .labels import Labels

Alignment = Literal["decoupled", "coupled", "apart", "reversed"]
"""Which names a region is compared with; the rows of Table 3.

"coupled": All names (row 1). "apart": Things with things, stuff with stuff (row 2). "reversed": Things with all names,
stuff with stuff (row 3). "decoupled": Things with things, stuff with all names (row 4, DenseVLM)."""
Reduction = Literal["code", "paper"]
"""How regions are summed up. "code": The mean over regions of things plus the mean over regions of stuff, so that both
count alike and the loss is about twice as large. "paper": The mean over all regions that are left."""
Columns = Literal["paper", "code"]
"""Which names count as things. "paper": All of them. "code": All but the last one, which counts as stuff, as the
public code has it."""


def thing_columns(things: int, columns: Columns) -> int:
    """The number of names, from the first, that count as things."""
    if columns not in get_args(Columns):
        raise UsageError(f"`thing_columns` is one of {', '.join(get_args(Columns))}; got {columns!r}")
    return max(0, things - 1) if columns == "code" else things


def region_loss(
    scores: Tensor,
    labels: Labels,
    things: int,
    *,
    alignment: Alignment = "decoupled",
    reduction: Reduction = "code",
    columns: Columns = "paper",
) -> Tensor:
    """Eq. 5: KL(P || U) of the teacher's and the student's probabilities, over the valid regions.

    Args:
        scores: `(N, C)` the student's logits, from `name_scores`; things come first.
        labels: What the teacher says of the same regions and names.
        things: Number of names that are things.
        alignment: See `Alignment`.
        reduction: See `Reduction`.
        columns: See `Columns`.

    Returns:
        A float32 scalar. Without a valid region it is 0 and so is its gradient. Nothing here waits for the GPU.

    Raises:
        UsageError: An option is none of those listed, or `things` is not in 0 ... C.
    """
    for name, given, allowed in (("alignment", alignment, Alignment), ("reduction", reduction, Reduction)):
        if given not in get_args(allowed):
            raise UsageError(f"`{name}` is one of {', '.join(get_args(allowed))}; got {given!r}")
    if not 0 <= things <= scores.shape[1]:
        raise UsageError(f"{things} of {scores.shape[1]} names cannot be things")
    cut = thing_columns(things, columns)
    kept = labels.valid[:, None]  # what is left out may be NaN, whose gradient is NaN even where it is not summed
    student, teacher = (each.float().where(kept, each.new_zeros(()).float()) for each in (scores, labels.scores))
    thing = labels.valid & (labels.best < cut)
    stuff = labels.valid & (labels.best >= cut)
    with_things = slice(None) if alignment in ("coupled", "reversed") else slice(None, cut)
    with_stuff = slice(None) if alignment in ("coupled", "decoupled") else slice(cut, None)
    thing_sum = _sum_where(thing, _divergence(teacher[:, with_things], student[:, with_things]))
    stuff_sum = _sum_where(stuff, _divergence(teacher[:, with_stuff], student[:, with_stuff]))
    if reduction == "paper":
        return (thing_sum + stuff_sum) / labels.valid.sum().clamp_min(1)
    return thing_sum / thing.sum().clamp_min(1) + stuff_sum / stuff.sum().clamp_min(1)


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """KL divergence `(N,)` of the distributions with these logits `(N, C)`, from the teacher's to the student's."""
    if not teacher.shape[1]:  # a softmax over nothing
        return student.sum(-1)
    p, q = teacher.log_softmax(-1), student.log_softmax(-1)
    return F.kl_div(q, p, reduction="none", log_target=True).sum(-1)


def _sum_where(kept: Tensor, values: Tensor) -> Tensor:
    """The sum of the kept values `(N,)`. The others have a gradient of exactly 0."""
    return torch.where(kept, values, values.new_zeros(())).sum()
