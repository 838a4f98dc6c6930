"""Checkpoints of any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lab.train.checkpoint import FILE, differences, may_start, restore, save
from vidmem.errors import MediaError, ModelError, UsageError

FACTS = {"lr": 0.1, "losses": {"tau": 0.2}}


class Compressed(torch.optim.SGD):
    """An optimiser with the kinds of state that bitsandbytes has: bytes, tables and a plain number."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                state["step"] = state.get("step", 0) + 1
                state["state1"] = torch.full(weight.shape, state["step"], dtype=torch.uint8)
                state["qmap1"] = torch.linspace(0, 1, 256)

    def load_state_dict(self, state_dict: Any) -> None:
        """Keeps the types, as bitsandbytes does."""
        weights = [weight for group in self.param_groups for weight in group["params"]]
        for number, state in state_dict["state"].items():
            self.state[weights[number]] = dict(state)


def made(seed: int) -> tuple[torch.nn.Linear, Compressed]:
    torch.manual_seed(seed)
    model = torch.nn.Linear(3, 2)
    return model, Compressed(model.parameters(), 0.1)


def test_weights_and_any_state_come_back(tmp_path: Path) -> None:
    model, optimizer = made(0)
    for _ in range(3):
        optimizer.step()
    save(tmp_path / FILE, model.state_dict(), optimizer, 3, FACTS, "form-1")
    other, fresh = made(1)
    assert restore(tmp_path / FILE, other.state_dict(), fresh, FACTS, "form-1") == 3
    assert torch.equal(other.weight, model.weight)
    (state, _) = fresh.state.values()
    assert (state["step"], type(state["step"])) == (3, int)
    assert state["state1"].dtype == torch.uint8
    assert state["qmap1"].shape == (256,)


def test_nothing_is_filled_from_another_training(tmp_path: Path) -> None:
    model, optimizer = made(0)
    optimizer.step()
    save(tmp_path / FILE, model.state_dict(), optimizer, 1, FACTS, "form-1")
    other, fresh = made(1)
    before = other.weight.clone()
    with pytest.raises(UsageError, match=r"differs in lr \(0\.1, now 0\.3\), losses\.tau \(0\.2, now 0\.5\)"):
        restore(tmp_path / FILE, other.state_dict(), fresh, {"lr": 0.3, "losses": {"tau": 0.5}}, "form-1")
    with pytest.raises(ModelError, match="its format is 'form-1'"):
        restore(tmp_path / FILE, other.state_dict(), fresh, FACTS, "form-2")
    with pytest.raises(ModelError, match="do not fit this model"):
        restore(tmp_path / FILE, {"weight": other.weight.data}, fresh, FACTS, "form-1")
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:50])
    with pytest.raises(ModelError, match="not a checkpoint"):
        restore(tmp_path / FILE, other.state_dict(), fresh, FACTS, "form-1")
    assert torch.equal(other.weight, before)
    assert not fresh.state


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimizer = made(0)
    save(tmp_path / FILE, model.state_dict(), optimizer, 1, FACTS, "form-1")
    whole = (tmp_path / FILE).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MediaError, match=r"the checkpoint cannot be written \(.*No space left on device"):
        save(tmp_path / FILE, model.state_dict(), optimizer, 2, FACTS, "form-1")
    assert (tmp_path / FILE).read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_starting_and_resuming(tmp_path: Path) -> None:
    assert may_start(tmp_path, False) == tmp_path / FILE
    with pytest.raises(UsageError, match="no training to resume"):
        may_start(tmp_path, True)
    (tmp_path / FILE).write_bytes(b"")
    assert may_start(tmp_path, True) == tmp_path / FILE
    with pytest.raises(UsageError, match="the folder holds a training"):
        may_start(tmp_path, False)


def test_differences_are_listed_in_order() -> None:
    held, asked = {"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}, "d": 4}
    assert differences(held, asked) == [
        "b.c (2, now 3)",
        "d (None, now 4)",
    ]
    assert differences({"names": "x" * 60}, {"names": "y"}) == [f"names ({'x' * 37}..., now y)"]
