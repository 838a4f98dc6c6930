"""`vidmem eval dense` on a small panoptic set: the report, resuming, damaged pictures, mistyped names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluation import panoptic_files as files
from evaluation.test_dense_accuracy import Colours

from needs import needs
from vidmem.cli.eval import common


@pytest.fixture(autouse=True)
def _encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "load", lambda *_, **__: Colours())


def test_the_report(run: Any, tmp_path: Path) -> None:
    needs("torch")
    file = files.write(tmp_path / "set", 3)
    result = run("eval", "dense", file, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    printed, written = json.loads(result.stdout), json.loads((tmp_path / "out" / "report.json").read_text())
    assert printed == written
    assert written["masks_thing"]["top1"] == written["masks_stuff"]["top1"] == 1.0
    assert (written["items"], written["skipped"]) == (3, {})
    page = (tmp_path / "out" / "report.md").read_text()
    assert "## Dense naming, 3 pictures" in page
    assert "| DenseVLM ViT-B/16, COCO | 73.4 | 90.5 | 71.0 | 84.8 | 45.6 | 77.8 | arXiv 2412.06244, Table 13 |" in page
    assert page.splitlines()[-1].endswith("| 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | this run |")


def test_a_trial_goes_on_as_the_whole(run: Any, tmp_path: Path) -> None:
    needs("torch")
    file = files.write(tmp_path / "set", 3)
    trial = run("eval", "dense", file, "--out", tmp_path / "out", "--limit", 1)
    assert trial.exit_code == 0
    assert "the first 1 of 3 pictures" in (tmp_path / "out" / "report.md").read_text()
    whole = run("eval", "dense", file, "--out", tmp_path / "out")
    assert "1 picture done before; going on" in whole.stderr
    at_once = run("eval", "dense", file, "--out", tmp_path / "other")
    assert at_once.exit_code == 0
    for name in ("results.jsonl", "report.json", "report.md"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_a_damaged_picture_is_named_and_tried_again(run: Any, tmp_path: Path) -> None:
    needs("torch")
    file = files.write(tmp_path / "set", 2)
    picture = tmp_path / "set" / "000000000001.png"
    good = picture.read_bytes()
    picture.write_bytes(b"no picture")
    result = run("eval", "dense", file, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "left out, 000000000001.png: " in result.stderr
    picture.write_bytes(good)
    assert run("eval", "dense", file, "--out", tmp_path / "out").exit_code == 0


def test_a_folder_of_another_run(run: Any, tmp_path: Path) -> None:
    needs("torch")
    first, second = files.write(tmp_path / "a", 1), files.write(tmp_path / "b", 2)
    assert run("eval", "dense", first, "--out", tmp_path / "out").exit_code == 0
    result = run("eval", "dense", second, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "has another `annotations`" in result.stderr


def test_mistyped_benchmarks(run: Any) -> None:
    result = run("eval", "dens")
    assert result.exit_code == 2
    assert "did you mean `vidmem eval dense`?" in result.stderr
    assert "`vidmem eval --help` lists them" in run("eval", "frisbee").stderr
