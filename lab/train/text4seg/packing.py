"""Rows for a model: one record each, or several records that attend to themselves only.

A packed row needs positions that begin anew with each record, and a mask by blocks. The loss of a packed batch is that
of the same records alone; only padding is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .chat import IGNORED, Example

Positions = Callable[[Example], Tensor]
"""The positions of a record's tokens, `(L,)` or `(3, L)` int64, on the CPU."""
Form = Literal["bool", "float", "positions"]
"""How attention is told where records end: a mask `(B, 1, L, L)` of bools or of numbers to add, or positions that begin
anew, which Flash Attention reads itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one forward pass takes.

    inputs: by name. labels: `(B, L)` int64. records, tokens: how many are in it, without padding.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    records: int
    tokens: int

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        moved = {name: value.to(device, non_blocking=True) for name, value in self.inputs.items()}
        return replace(self, inputs=moved, labels=self.labels.to(device, non_blocking=True))


def fit_rows(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Distribute records over rows of at most `room` tokens: indices by row, longest first into the first row with
    space (first-fit decreasing, which takes at most 11/9 of the fewest rows and one more)."""
    rows: list[list[int]] = []
    left: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        for row, space in enumerate(left):
            if lengths[index] <= space:
                rows[row].append(index)
                left[row] -= lengths[index]
                break
        else:
            rows.append([index])
            left.append(room - lengths[index])
    return rows


def batches(
    examples: Sequence[Example],
    *,
    pad: int,
    rows: int,
    room: int,
    positions: Positions | None = None,
    form: Form = "bool",
) -> list[Batch]:
    """Return the forward passes for the records of a step.

    Args:
        examples: The records.
        pad: Token for padding.
        rows: Rows per pass.
        room: Most tokens in a packed row.
        positions: Positions for packed rows; None for one record a row.
        form: How packed rows tell their records apart.
    """
    if positions is None:
        order = sorted(range(len(examples)), key=lambda i: (-len(examples[i]), i))
        filled = [[index] for index in order]
    else:
        filled = fit_rows([len(example) for example in examples], room)
    cut = [filled[i : i + rows] for i in range(0, len(filled), rows)]
    picked = [[[examples[i] for i in row] for row in part] for part in cut]
    if positions is None:
        return [padded([row[0] for row in part], pad) for part in picked]
    return [packed(part, pad, positions, form) for part in picked]


def padded(examples: Sequence[Example], pad: int) -> Batch:
    """One record a row, filled up with `pad`."""
    most = max(len(example) for example in examples)
    inputs = {
        "input_ids": _stack([e.ids for e in examples], most, pad),
        "attention_mask": _stack([torch.ones_like(e.ids) for e in examples], most, 0),
        **_kinds([[e] for e in examples], most),
        **joined([e.pictures for e in examples]),
    }
    labels = _stack([e.labels for e in examples], most, IGNORED)
    return Batch(inputs, labels, len(examples), sum(map(len, examples)))


def packed(rows: Sequence[Sequence[Example]], pad: int, positions: Positions, form: Form) -> Batch:
    """Several records a row, in the order given; the shorter rows are filled up with `pad`."""
    most = max(sum(len(example) for example in row) for row in rows)
    ids = _stack([torch.cat([e.ids for e in row]) for row in rows], most, pad)
    labels = [torch.cat([_from_second(e.labels) for e in row]) for row in rows]
    places = [torch.cat([positions(e) for e in row], -1) for row in rows]
    # Padding is a record of its own, so that no token is without one to attend to.
    filled = torch.stack(
        [torch.cat([p, torch.arange(most - p.shape[-1]).expand(*p.shape[:-1], -1)], -1) for p in places], -2
    )
    own = _stack([torch.cat([torch.full((len(e),), n) for n, e in enumerate(row)]) for row in rows], most, -1)
    inputs = {"input_ids": ids, "position_ids": filled}
    if form == "positions":
        if filled.dim() == 3:  # models with three positions a token want those of the text ahead
            starts = torch.stack([_counted(row) for row in own])
            inputs["position_ids"] = torch.cat([starts[None], filled])
    else:
        mask = ((own[:, :, None] == own[:, None, :]) & torch.ones(most, most, dtype=torch.bool).tril())[:, None]
        added = torch.zeros(mask.shape).masked_fill_(~mask, torch.finfo(torch.float32).min)
        inputs["attention_mask"] = mask if form == "bool" else added
    inputs.update(_kinds(rows, most))
    inputs.update(joined([e.pictures for row in rows for e in row]))
    every = [e for row in rows for e in row]
    return Batch(inputs, _stack(labels, most, IGNORED), len(every), sum(map(len, every)))


def joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Put the inputs for pictures of several records together along the first dimension; others are filled with zeros.

    Models take a picture's pixels in the order of its marks in the text, whichever row these are in.
    """
    out = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [part[name] for part in parts if name in part]
        most = [max(v.shape[d] for v in values) for d in range(1, values[0].dim())]
        out[name] = torch.cat([F.pad(v, _room(v, most)) for v in values])
    return out


def _room(value: Tensor, most: Sequence[int]) -> list[int]:
    missing = [[0, want - have] for want, have in zip(most, value.shape[1:], strict=True)]
    return [n for pair in reversed(missing) for n in pair]  # from the last dimension on


def _kinds(rows: Sequence[Sequence[Example]], most: int) -> dict[str, Tensor]:
    names = dict.fromkeys(name for row in rows for e in row for name in e.kinds)
    blank = torch.zeros(0, dtype=torch.int64)
    return {
        name: _stack(
            [torch.cat([blank, *(e.kinds.get(name, torch.zeros_like(e.ids)) for e in row)]) for row in rows], most, 0
        )
        for name in names
    }


def _stack(rows: Sequence[Tensor], most: int, fill: int) -> Tensor:
    return torch.stack([F.pad(row, (0, most - len(row)), value=fill) for row in rows])


def _from_second(labels: Tensor) -> Tensor:
    """No token is predicted from the record before it."""
    return torch.cat([torch.full_like(labels[:1], IGNORED), labels[1:]])


def _counted(own: Tensor) -> Tensor:
    """0, 1, 2, ... within each stretch of equal numbers `(L,)`."""
    at = torch.arange(len(own))
    begins = torch.cat([torch.ones(1, dtype=torch.bool), own[1:] != own[:-1]])
    return at - torch.where(begins, at, torch.zeros_like(at)).cummax(0).values
