"""`densevlm` behind every command that shows or names regions, on a small random model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoders import clip_folder
from encoders.fake import video
from PIL import Image

clip_folder.required()
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"densevlm:local-dir:{clip_folder.write(tmp_path_factory.mktemp('clip') / 'small')},side=64"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    return Path(video(folder / "walk.mp4", [{"red": (4 * i, 8)} for i in range(3)]))


def test_index_where_explain_and_parse(run: Run, spec: str, clip: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    assert run("index", clip, "--encoder", spec, "-m", memory, "--device", "cpu").exit_code == 0
    found = run("where", "red mug", "-m", memory, "--encoder", spec, "--threshold", "-1", "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout)
    ours = ("-m", memory, "--encoder", spec)  # no memory may name a folder by itself
    shown = run(
        "where", "red mug", "-m", memory, "--encoder", spec, "--threshold", "-1", "--explain", tmp_path / "why.png"
    )
    assert shown.exit_code == 0, shown.stderr
    assert (tmp_path / "why.png").stat().st_size
    assert run("where", "red mug", "-m", memory, "--encoder", spec, "--threshold", "2").exit_code == 1
    (tmp_path / "labels.txt").write_text("red mug\nwall\n")
    parsed = run("parse", clip, "--labels", tmp_path / "labels.txt", *ours, "--json")
    assert parsed.exit_code == 0, parsed.stderr


def test_ground_and_segment(run: Run, spec: str, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)).save(photo)
    grounded = run("ground", photo, "red mug", "--encoder", spec, "--threshold", "-1", "--json")
    assert grounded.exit_code == 0, grounded.stderr
    assert json.loads(grounded.stdout)
    segmented = run("segment", photo, "--labels", "red mug,wall", "--encoder", spec, "--closed", "--json")
    assert segmented.exit_code == 0, segmented.stderr
    assert json.loads(segmented.stdout)


def test_the_list_names_its_licence(run: Run, tmp_path: Path) -> None:
    rows = {row["name"]: row for row in json.loads(run("models", "--json", "--weights", tmp_path).stdout)}
    assert rows["densevlm"]["state"] == "1 of 1 missing"
    assert rows["densevlm"]["licence"].startswith("CC BY-NC 4.0")
    assert rows["densevlm"]["missing"] == ["CLIP weights of DenseVLM"]


def test_pull_says_where_the_file_is(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = run("models", "pull", "densevlm", "--weights", tmp_path)
    assert result.exit_code == 4
    assert "hf download lyhisme/DenseVLM densevlm_coco_6_save6_512_eva_vib16_12layers.pt" in result.stderr
