"""The speed of DenseVLM's training, on a small model: the command runs and its sums are right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from encoders import clip_folder

from benchmarks.densevlm_speed import COCO, estimate, main


def test_the_estimate() -> None:
    cost = estimate(40.0, 15.0)
    assert cost["hours"] == pytest.approx(6 * 118_287 / 40 / 3600)
    assert cost["reading_processes"] == 3
    assert estimate(1.0, 15.0)["reading_processes"] == 1


@pytest.mark.slow
def test_it_measures_a_small_model_on_the_cpu(tmp_path: Path) -> None:
    clip_folder.required()
    out = tmp_path / "speed.json"
    model = ("--model", "ViT-S-32-alt", "--teacher", "ViT-S-32-alt", "--size", "64", "--batch", "2", "--steps", "2")
    assert main(["--out", str(out), *model, "--device", "cpu"]) == 0
    found = json.loads(out.read_text())
    speed = found["training"]["pictures_per_second"]
    assert found["training"]["device"] == "cpu"
    assert found["training"]["precision"] == "fp32"
    assert speed == pytest.approx(2 / found["training"]["seconds_per_step"])
    assert found["six_epochs_of_coco"]["hours"] == pytest.approx(6 * COCO / speed / 3600)
    assert found["reading"]["pictures_per_second_and_core"] > 1
