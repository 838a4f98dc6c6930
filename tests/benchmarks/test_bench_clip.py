"""The benchmark of the CLIP family: what it runs side by side, on few tokens."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from encoders import clip_folder

from benchmarks import clip

clip_folder.required()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    def tower(name: str = "") -> Any:
        return clip_folder.model(
            vision_cfg={"image_size": 32, "layers": 8, "width": 768, "head_width": 64, "patch_size": 8}
        ).visual

    monkeypatch.setattr(clip, "tower", tower)
    monkeypatch.setattr(clip, "PATCHES", 64)
    monkeypatch.setattr(clip, "REGIONS", 5)


def test_gem_and_the_plain_forward_are_both_measured() -> None:
    result = clip.gem(32, 2, time.perf_counter)
    assert result["tokens"] == 17
    assert set(result["ratio"]) == set(result["cosine_to_exact"]) == {1, 2, 3}
    assert result["ratio"][2] == result["median_ms"]["pool=2"] / result["median_ms"]["plain"]
    assert min(result["median_ms"].values()) > 0
    assert result["cosine_to_exact"][1]["least"] == pytest.approx(1, abs=1e-5)
    assert result["cosine_to_exact"][3]["least"] < result["cosine_to_exact"][1]["least"]


def test_pooling_is_measured_on_masks_that_hold_patches() -> None:
    result = clip.pooling(2, time.perf_counter)
    assert result["mean_patches_per_region"] > 3
    assert result["median_ms"]["filter_and_pool"] > 0


def test_discs_are_apart() -> None:
    found = clip.discs(5, 60) > 0
    assert found.shape == (5, 60, 60)
    assert found.flatten(1).any(1).all()
    assert int(found.sum(0).max()) == 1
    assert isinstance(found, torch.Tensor)
