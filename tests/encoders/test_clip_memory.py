"""A memory made with `gem` and with `textregion`, on a small random model."""

from __future__ import annotations

from pathlib import Path

import pytest
from encoders import clip_folder
from encoders.fake import video

from vidmem.memory import Memory

clip_folder.required()


@pytest.mark.parametrize("family", ["gem", "textregion"])
def test_a_memory_of_each(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.encoders.gem.SIDE", 64)
    monkeypatch.setattr("vidmem.encoders.textregion.SIDE", 32)
    spec = f"{family}:local-dir:{clip_folder.write(tmp_path / 'model')}"
    clip = video(tmp_path / "walk.mp4", [{"red": (4 * i, 8)} for i in range(3)])
    with Memory.open(tmp_path / "memory", encoder=spec, device="cpu") as memory:
        memory.index(clip)
        assert memory.stats().tracks > 0
    with Memory.open(tmp_path / "memory", read_only=True) as memory:
        assert memory.text_encoder.info.name == spec
        assert len(memory.where("red mug", threshold=-1.0, most=None)) >= 1
        assert not memory.where("red mug", threshold=2.0)
