"""A kept training state: nothing is lost but precision, and what can be rebuilt."""

from __future__ import annotations

from pathlib import Path

import torch

from vidmem.train import halves


def test_a_state_comes_back(tmp_path: Path) -> None:
    state = {
        "net": {"w": torch.randn(4, 3), "count": torch.tensor(7)}, "helpers": {"v": torch.randn(2)},
        "text": {"vectors": torch.randn(5, 2), "used": torch.arange(5), "near": torch.zeros(9, 9, dtype=torch.bool)},
        "optimizer": {}, "step": 3,
    }  # fmt: skip
    torch.save(state, tmp_path / "a.pt")
    halves.save(tmp_path / "a.pt", tmp_path / "a.safetensors")
    back = halves.load(tmp_path / "a.safetensors")
    torch.testing.assert_close(halves.load(tmp_path / "a.pt")["net"]["w"], state["net"]["w"])  # type: ignore[index]
    assert set(back) == {"net", "helpers", "text"}
    assert set(back["text"]) == {"vectors"}
    assert back["net"]["count"] == 7
    assert back["net"]["w"].dtype == torch.float32
    torch.testing.assert_close(back["net"]["w"], state["net"]["w"], rtol=1e-3, atol=1e-3)  # type: ignore[index]
