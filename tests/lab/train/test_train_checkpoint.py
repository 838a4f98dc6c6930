"""Checkpoints of optimisers that keep more than two moments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from lab.train import checkpoint


class EightBit(torch.optim.SGD):
    """Keeps its state as bitsandbytes does: bytes, a plain number, and a table that all parameters share."""

    map = torch.linspace(-1, 1, 256)

    def state_dict(self) -> dict[str, Any]:
        found = super().state_dict()
        found["state"] = {
            index: {"step": 3, "bytes": torch.full((4,), index, dtype=torch.uint8), "quant": {"map": self.map}}
            for index in range(2)
        }
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.loaded = state_dict["state"]


def test_states_with_tables_that_are_shared(tmp_path: Path) -> None:
    path = tmp_path / checkpoint.FILE
    layer = nn.Linear(2, 2)
    weights = dict(layer.named_parameters())
    before = {name: value.clone() for name, value in weights.items()}
    checkpoint.save(path, weights, EightBit(weights.values()), 5, {}, "form")
    with torch.no_grad():
        layer.weight.zero_()
    optimizer = EightBit(weights.values())
    assert checkpoint.restore(path, weights, optimizer, {}, "form") == 5
    assert all(torch.equal(before[name], weights[name]) for name in weights)
    for index in range(2):
        state = optimizer.loaded[index]
        assert state["step"] == 3
        assert state["bytes"].tolist() == [index] * 4
        assert torch.equal(state["map"], EightBit.map)
