"""Checkpoints of any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lab.train import checkpoint
from lab.train.checkpoint import FILE, differences, make_folder, may_start, restore, save
from vidmem.errors import MediaError, ModelError, UsageError

FACTS = {"lr": 0.1, "losses": {"tau": 0.2}}


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


def made(seed: int) -> tuple[nn.Linear, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Linear(3, 2)
    model(torch.ones(3)).sum().backward()
    return model, torch.optim.AdamW(model.parameters(), 0.1)


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


@pytest.mark.parametrize("name", ["model", "adapter", "merged", "model.part", "merged.old"])
def test_a_folder_that_would_be_replaced_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert may_start(tmp_path, False) == tmp_path / FILE  # an empty folder is no loss
    (tmp_path / name / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=rf"would replace {name}, which is there already; choose another folder"):
        may_start(tmp_path, False)
    (tmp_path / FILE).write_bytes(b"")
    assert may_start(tmp_path, True) == tmp_path / FILE


@pytest.mark.parametrize("name", ["log.jsonl", "region_encoder.safetensors", "held_out.json", "skipped.jsonl"])
def test_a_file_that_would_be_replaced_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    assert may_start(tmp_path, False) == tmp_path / FILE
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=f"would replace {name}"):
        may_start(tmp_path, False)


@pytest.mark.parametrize("resume", [False, True])
def test_a_source_that_would_be_replaced_is_refused(tmp_path: Path, resume: bool) -> None:
    out = tmp_path / "out"
    (out / "merged").mkdir(parents=True)
    if resume:
        (out / FILE).write_bytes(b"")
    (tmp_path / "link").symlink_to(out / "merged")
    for source in (out / "merged", out / "model" / "base", tmp_path / "link"):
        with pytest.raises(UsageError, match="writes its result there"):
            may_start(out, resume, [tmp_path, source])
    assert may_start(out, resume, [out, out / "models", tmp_path]) == out / FILE


def test_names_that_are_too_long(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"the folder cannot be used \(File name too long\)"):
        may_start(tmp_path / ("a" * 300), False)


def test_checkpoints_have_the_mode_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    for _ in range(2):
        checkpoint.write_tensors(tmp_path / FILE, {"a": torch.ones(1)}, {}, "the checkpoint")
        assert (tmp_path / FILE).stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match=r"the folder cannot be made \(.*\); choose another: .*file"):
        make_folder(tmp_path / "file")
    with pytest.raises(MediaError, match="the folder cannot be made"):
        make_folder(tmp_path / "file" / "below")


def test_differences_are_listed_in_order() -> None:
    held, asked = {"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}, "d": 4}
    assert differences(held, asked) == [
        "b.c (2, now 3)",
        "d (None, now 4)",
    ]
    assert differences({"names": "x" * 60}, {"names": "y"}) == [f"names ({'x' * 37}..., now y)"]
