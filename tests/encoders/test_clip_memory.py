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
    monkeypatch.setattr("vidmem.encoders.clip.gem.SIDE", 64)
    monkeypatch.setattr("vidmem.encoders.clip.textregion.SIDE", 32)
    spec = f"{family}:local-dir:{clip_folder.write(tmp_path / 'model')}"
    clip = video(tmp_path / "walk.mp4", [{"red": (4 * i, 8)} for i in range(3)])
    with Memory.open(tmp_path / "memory", encoder=spec, device="cpu") as memory:
        memory.index(clip)
        assert memory.stats().tracks > 0
    with Memory.open(tmp_path / "memory", encoder=spec, read_only=True) as memory:
        assert memory.text_encoder.info.name == spec
        assert len(memory.where("red mug", threshold=-1.0, top=None)) >= 1
        assert not memory.where("red mug", threshold=2.0)


def test_gem_explains_by_patches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.encoders.clip.gem.SIDE", 64)
    spec = f"gem:local-dir:{clip_folder.write(tmp_path / 'model')}"
    clip = video(tmp_path / "walk.mp4", [{"red": (4 * i, 8)} for i in range(3)])
    with Memory.open(tmp_path / "memory", encoder=spec, device="cpu") as memory:
        memory.index(clip)
        sighting = memory.where("red mug", threshold=-1.0)[0]
        explained = memory.explain(sighting, "red mug")
        assert explained.by == "patches"
        assert explained.inside is not None
        assert -1 <= explained.low <= explained.inside <= explained.high <= 1
        (vector,) = memory.text_encoder.encode_text(["red mug"])
        from vidmem.media import open_source
        from vidmem.query.single_image import cosine_map, small

        with open_source(clip) as source:
            image = source.frame_at(sighting.frame_ns).image
        cosines = cosine_map(memory.encoder, image, vector, memory.settings().merge)
        patches = memory.encoder.patches([small(memory.encoder, image)])[0]  # type: ignore[attr-defined]
        assert cosines.shape == patches.shape[:2]
        assert (explained.low, explained.high) == pytest.approx((cosines.min(), cosines.max()), abs=1e-5)
