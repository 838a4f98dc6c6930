"""`vidmem eval dense` on a small panoptic set: the report, resuming, damaged pictures, mistyped names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from evaluation import panoptic_files as files
from evaluation.test_dense_accuracy import Colours

from needs import needs
from vidmem.cli.eval import common
from vidmem.encoders import Reading, ViewEncoder, ViewTokens
from vidmem.records import View


@pytest.fixture
def patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "load", lambda *_, **__: Colours())


@pytest.mark.usefixtures("patches")
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
    assert "| DenseVLM, COCO | 72.3 | 89.9 | 70.1 | 84.4 | 44.9 | 76.4 | arXiv 2412.06244, Table 1 |" in page
    assert "| 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | this run |" in page
    assert page.splitlines()[-1] == "features: patches"


@pytest.mark.usefixtures("patches")
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


@pytest.mark.usefixtures("patches")
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


@pytest.mark.usefixtures("patches")
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


class Looker(ViewEncoder):
    """Its text token is the share of the cut-out that has each of four colours; it knows three of their names."""

    view_pixels, max_views = 64, 1
    colours = np.array(list(files.COLOURS.values()), np.float64)

    def look(self, views: Sequence[View]) -> ViewTokens:
        rows = []
        for view in views:
            pixels = view.image.reshape(-1, 1, 3).astype(np.float64)
            distance = np.linalg.norm(pixels - self.colours, axis=-1)
            near = distance.argmin(1)[distance.min(1) < 20]
            rows.append(np.bincount(near, minlength=4) / max(len(near), 1))
        tokens = np.array(rows, np.float32)
        return ViewTokens(tokens, tokens)


class LookingColours(fakes.Colours):
    has_patches = False

    @property
    def views(self) -> ViewEncoder:
        return Looker()

    def reading(self, phrase: str) -> Reading:
        return Reading("", unknown=phrase) if phrase == "floor" else Reading(phrase)

    def encode_text(self, phrases: Sequence[str]) -> Any:
        known = ["cup", "dog", "brick wall", "floor"]
        return np.eye(4, dtype=np.float32)[[known.index(phrase) for phrase in phrases]]


def test_cut_outs_of_an_encoder_without_patches(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rest painted over, a mask is named by its own colour. The floor is unknown, and missed."""
    monkeypatch.setattr(common, "load", lambda *_, **__: LookingColours())
    file = files.write(tmp_path / "set", 2)
    result = run("eval", "dense", file, "--out", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "o/report.json").read_text())
    rows = {row["name"]: row for row in report["rows"]}
    assert [rows[name]["mask_top1"] for name in ("cup", "dog", "brick wall", "floor")] == [1, 1, 1, 0]
    assert report["masks_stuff"]["top1"] == 0.5
    assert rows["floor"]["mask_top5"] == 0
    assert report["features"] == "crops"
    assert "does not know 1 of 4 names, which count as missed: floor-other-merged." in result.stderr
    refused = run("eval", "dense", file, "--features", "patches", "--out", tmp_path / "p")
    assert refused.exit_code == 2
    assert "--features is patches or crops" in run("eval", "dense", file, "--features", "x", "--out", tmp_path).stderr


def test_an_encoder_with_neither(run: Any, tmp_path: Path) -> None:
    file = files.write(tmp_path / "set", 1)
    changed = files.changed(file, lambda data: [c.update(name="red " + c["name"]) for c in data["categories"]])
    result = run("eval", "dense", changed, "--encoder", "colours", "--out", tmp_path / "o")
    assert result.exit_code == 2
    assert "has neither patches in the space of texts nor cut-outs" in result.stderr


def test_with_tiny(run: Any, tmp_path: Path) -> None:
    file = files.write(tmp_path / "set", 1)
    result = run("eval", "dense", file, "--out", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "o/report.json").read_text())
    assert (report["pictures"], report["features"]) == (1, "crops")
    assert report["boxes"]["regions"] == report["masks_stuff"]["regions"] == 2
    assert report["boxes"]["top5"] == 1  # of four names
