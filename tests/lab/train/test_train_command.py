"""python -m lab.train tren."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lab.train.__main__ import main
from vidmem.encoders.tren.checkpoint import load_region_encoder

Run = Callable[..., Any]


SMALL = (
    "--steps",
    2,
    "--batch",
    2,
    "--points",
    8,
    "--heads",
    2,
    "--layers",
    1,
    "--precision",
    "fp32",
    "--log-every",
    1,
    "--checkpoint-every",
    1,
    "--workers",
    0,
    "--no-tensorboard",
    "--device",
    "cpu",
)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `python -m lab.train` in this process; has exit_code, stdout, stderr."""

    def call(*args: object) -> Any:
        code = main([str(a) for a in args])
        out = capsys.readouterr()
        return SimpleNamespace(exit_code=code, stdout=out.out, stderr=out.err)

    return call


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two pictures with a mask of a dog and of a cat."""
    folder = tmp_path / "set"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    (folder / "names.json").write_text(json.dumps({"1": "dog", "2": "cat"}))
    for n in range(2):
        index = np.zeros((60, 80), np.uint8)
        index[5:40, 5:30], index[20:55, 40:75] = 1, 2
        Image.fromarray(index * 90).convert("RGB").save(folder / "images" / f"{n}.jpg")
        Image.fromarray(index).save(folder / "masks" / f"{n}.png")
    return folder


def test_train(run: Run, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("tren", "--data", pictures, "--out", out, *SMALL)
    assert result.exit_code == 0, result.stderr
    path = Path(result.stdout.strip())
    assert path == out / "region_encoder.safetensors"
    assert load_region_encoder(path).k == 3
    assert "2 pictures, 2 names, backbone tiny" in result.stderr
    assert "step 2 of 2" in result.stderr
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()] == [1, 2]

    again = run("tren", "--data", pictures, "--out", out, *SMALL)
    assert again.exit_code == 2
    assert "--resume" in again.stderr
    assert run("tren", "--data", pictures, "--out", out, "--resume", *SMALL).exit_code == 0
    other = run("tren", "--data", pictures, "--out", out, "--resume", *SMALL, "--tau", 0.2)
    assert other.exit_code == 2
    assert "losses.tau (0.1, now 0.2)" in other.stderr


def test_train_in_the_form_of_the_code(run: Run, pictures: Path, tmp_path: Path) -> None:
    out, how = tmp_path / "out", ("--form", "code", *SMALL, "--points-text", 4)
    result = run("tren", "--data", f"{pictures}=2", "--out", out, *how)
    assert result.exit_code == 0, result.stderr
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert {"similar_visual", "similar_text", "visual", "text", "mask"} <= rows[-1].keys()
    assert run("tren", "--data", f"{pictures}=2", "--out", out, "--resume", *how).exit_code == 0
    other = run("tren", "--data", f"{pictures}=2", "--out", out, "--resume", *how, "--mask-loss", "bce", "--no-flip")
    assert other.exit_code == 2
    assert "losses.mask_loss (focal, now bce), views.flip (True, now False)" in other.stderr
    paper = run("tren", "--data", f"{pictures}=2", "--out", out, "--resume", *SMALL)
    assert "batches (apart, now joint)" in paper.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--form", "book"), 2, "--form is one of paper, code"),
        (("--mask-loss", "soft"), 2, "--mask-loss is one of bce, focal"),
        (("--contrast-scope", "world"), 2, "--contrast-scope is one of batch, image"),
        (("--similarity", 0.5), 2, "set --views to 2, or --similarity to 0"),
        (("--views", 3), 2, "views is 1 or 2"),
        (("--form", "code", "--text", 0), 2, "set --batches to joint"),
        (("--bce", "heavy"), 2, "--bce is one of plain, balanced"),
        (("--backbone", "huge"), 2, "there are: tiny, dinov3"),
        (("--crowd", "maybe"), 2, "--crowd is skip or keep"),
        (("--resume",), 2, "no training to resume"),
        (("--device", "abacus"), 2, "abacus"),
        (("--synonyms", "nowhere.txt"), 2, "nowhere.txt"),
    ],
)
def test_train_fails(
    run: Run, pictures: Path, tmp_path: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    result = run("tren", "--data", pictures, "--out", tmp_path / "out", *SMALL, *options)
    assert result.exit_code == code
    assert message in result.stderr
    assert not (tmp_path / "out" / "region_encoder.safetensors").exists()


def test_train_fails_on_data(run: Run, tmp_path: Path) -> None:
    assert run("tren", "--out", tmp_path / "out").exit_code == 2
    result = run("tren", "--data", "nowhere", "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 2
    assert "'nowhere' is not training data" in result.stderr
    (tmp_path / "bad.json").write_text("{}")
    result = run("tren", "--data", tmp_path / "bad.json", "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 4
    assert "images is missing" in result.stderr


def test_a_tren_picture_that_is_damaged_is_left_out(run: Run, pictures: Path, tmp_path: Path) -> None:
    (pictures / "images" / "1.jpg").write_bytes(b"no image")
    result = run("tren", "--data", pictures, "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 3
    assert result.stderr.count("a picture is left out: ") == 1
    assert "1 of 2 pictures were left out" in result.stderr
    assert (tmp_path / "out" / "region_encoder.safetensors").exists()
