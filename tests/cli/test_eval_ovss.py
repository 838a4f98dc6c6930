"""`vidmem eval ovss` on small data sets: the score by hand, resuming, damage, and a photo with `tiny`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation import segmentation_files as files
from evaluation import test_dense_accuracy as dense
from PIL import Image

from vidmem.cli.eval import common
from vidmem.encoders import Reading
from vidmem.query.labels import BUILT_IN
from vidmem.records import Float32

PHOTO = Path(__file__).parents[2] / "docs" / "coffee-cup.jpg"


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """ADE20K's names, of which `colours` knows two: class 2 (sky) is red, class 12 (person) is blue."""
    words = [f"{name}\tred" if i == 2 else f"{name}\tblue" if i == 12 else name for i, name in enumerate(_ADE)]
    path = tmp_path / "names.txt"
    path.write_text("\n".join(words) + "\n")
    return path


_ADE = BUILT_IN["ade20k"].names


def test_the_score_by_hand(run: Any, names: Path, tmp_path: Path) -> None:
    """Blocks lie on the encoder's cells of 8 x 8 pixels, so that they are found exactly."""
    root = files.ade20k(tmp_path / "data")
    result = run("eval", "ovss", "ade20k", root, "--names", names, "--encoder", "colours", "--out", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "o/report.json").read_text())
    rows = {row["name"]: row for row in report["classes"]}
    assert rows["sky"]["pixels"] == 2 * 32 * 48
    assert rows["sky"]["iou"] == pytest.approx(1, abs=0.25)  # masks are stretched bilinearly: corners are round
    assert rows["wall"]["iou"] is None
    assert report["miou"] == pytest.approx((rows["sky"]["iou"] + rows["person"]["iou"]) / 2)
    assert report["items"] == 2
    assert len(report["unknown"]) == 148
    page = (tmp_path / "o/report.md").read_text()
    assert "## ADE20K, 2 pictures" in page
    assert "| T-REN+ ViT-L, more pixels | - | - | - | - | - | - | 58.7 | 32.0 | arXiv 2604.18573, Table 2 |" in page
    assert "`colours` does not know 148 of 150 names, which count as missed: wall, building," in page
    assert "features: regions" in page


def test_a_wrong_prediction_and_an_unknown_name(run: Any, names: Path, tmp_path: Path) -> None:
    """The red block is called a person in the truth, too: the blue class then has misses, the red one no truth."""
    root = files.ade20k(tmp_path / "data", 1)
    files.save(root / "annotations/validation/ADE_val_00000000.png", files.labels(13, 1, 0))
    run("eval", "ovss", "ade20k", root, "--names", names, "--encoder", "colours", "--out", tmp_path / "o")
    rows = {r["name"]: r for r in json.loads((tmp_path / "o/report.json").read_text())["classes"]}
    assert (rows["sky"]["iou"], rows["person"]["iou"], rows["wall"]["iou"]) == (0, 0, 0)


def test_a_changed_truth_is_read_again_and_nothing_is_null(run: Any, names: Path, tmp_path: Path) -> None:
    root = files.ade20k(tmp_path / "data", 2)
    arguments = ("eval", "ovss", "ade20k", root, "--names", names, "--encoder", "colours", "--out", tmp_path / "o")
    assert run(*arguments).exit_code == 0
    for number in range(2):  # 0 does not count
        files.save(root / f"annotations/validation/ADE_val_{number:08}.png", files.labels(0, 0, 0))
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    assert "2 pictures done again, since files have changed since: ADE_val_00000000" in result.stderr

    def refused(constant: str) -> None:
        raise AssertionError(constant)

    report = json.loads((tmp_path / "o/report.json").read_text(), parse_constant=refused)
    assert json.loads(result.stdout, parse_constant=refused) == report
    assert (report["miou"], report["pixel_accuracy"], report["items"]) == (None, None, 2)


def test_a_damaged_journal_is_named(run: Any, names: Path, tmp_path: Path) -> None:
    root = files.ade20k(tmp_path / "data", 1)
    arguments = ("eval", "ovss", "ade20k", root, "--names", names, "--encoder", "colours", "--out", tmp_path / "o")
    assert run(*arguments).exit_code == 0
    path = tmp_path / "o/results.jsonl"
    first, second = path.read_text().splitlines()
    entry = json.loads(second)
    path.write_text(first + "\n" + json.dumps(entry | {"result": 5}, separators=(",", ":")) + "\n")
    result = run(*arguments)
    assert result.exit_code == 4
    assert f"line 2 of the journal is damaged; remove the line, or choose another folder: {path}" in result.stderr


def test_background_is_what_no_region_holds(run: Any, tmp_path: Path) -> None:
    root = files.voc(tmp_path / "data")
    words = tmp_path / "names.txt"
    words.write_text(
        "background\n" + "".join(f"c{i}\t{c}\n" for i, c in enumerate(["x1", "x2", "x3", "x4", "x5", "x6"]))
    )
    result = run("eval", "ovss", "voc21", root, "--names", words, "--encoder", "colours", "--out", tmp_path / "o")
    assert result.exit_code == 2
    assert "there are 21 classes and 7 names" in result.stderr
    listed = ["background", *("red" if i == 6 else "blue" if i == 7 else f"x{i}" for i in range(20))]
    words.write_text("\n".join(listed) + "\n")
    result = run("eval", "ovss", "voc21", root, "--names", words, "--encoder", "colours", "--out", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    rows = {r["name"]: r["iou"] for r in json.loads((tmp_path / "o/report.json").read_text())["classes"]}
    assert rows["background"] > 0.95
    assert rows["car"] > 0.8
    assert rows["cat"] > 0.8
    assert rows["dog"] is None


def test_goes_on_and_names_what_is_damaged(run: Any, names: Path, tmp_path: Path) -> None:
    root = files.ade20k(tmp_path / "data", 3)
    options = ("--names", names, "--encoder", "colours")
    assert run("eval", "ovss", "ade20k", root, *options, "--out", tmp_path / "a", "--limit", 1).exit_code == 0
    assert "the first 1 of 3 pictures" in (tmp_path / "a/report.md").read_text()
    labels = root / "annotations/validation/ADE_val_00000001.png"
    good = labels.read_bytes()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(labels)
    result = run("eval", "ovss", "ade20k", root, *options, "--out", tmp_path / "a")
    assert result.exit_code == 3
    assert "left out, ADE_val_00000001: the label picture is 8x8, its picture 160x96" in result.stderr
    assert json.loads((tmp_path / "a/report.json").read_text())["items"] == 2
    labels.write_bytes(good)
    assert run("eval", "ovss", "ade20k", root, *options, "--out", tmp_path / "a").exit_code == 0
    assert run("eval", "ovss", "ade20k", root, *options, "--out", tmp_path / "b").exit_code == 0
    for name in ("report.json", "report.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    other = run("eval", "ovss", "ade20k", root, "--encoder", "tiny", "--out", tmp_path / "a")
    assert other.exit_code == 2
    assert "has another `words`" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("mapillary", "."), 2, "there is no data set 'mapillary'"),
        (("ade20k", "none"), 4, "check the path: none"),
        (("ade20k", ".", "--features", "pixels"), 2, "--features is one of points, patches, regions"),
        (("ade20k", ".", "--stride", "9"), 2, "give --short, too"),
    ],
)
def test_wrong_arguments(run: Any, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = run("eval", "ovss", *arguments, "--encoder", "colours", "--out", tmp_path / "o")
    assert (result.exit_code, said in result.stderr) == (code, True), result.stderr


def test_features_that_an_encoder_lacks(run: Any, names: Path, tmp_path: Path) -> None:
    root = files.ade20k(tmp_path / "data", 1)
    options = ("--names", names, "--encoder", "colours", "--out", tmp_path / "o")
    for features in ("patches", "points"):
        result = run("eval", "ovss", "ade20k", root, *options, "--features", features)
        assert result.exit_code == 2
        assert "'colours'" in result.stderr


class Patches(dense.Colours):
    """Patches of 4 pixels that know the colour under them; it reads the names of three colours."""

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        colours = np.array([{**files.COLOURS, "grey": files.GROUND}[phrase] for phrase in phrases], np.float32)
        return np.asarray(colours / np.linalg.norm(colours, axis=1, keepdims=True), np.float32)

    def reading(self, phrase: str) -> Reading:
        return Reading(phrase) if phrase in ("red", "blue", "grey") else Reading("", unknown=phrase)


@pytest.mark.parametrize("options", [(), ("--side", "96", "--short", "96"), ("--side", "96", "--square")])
def test_by_patches(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]) -> None:
    """The blocks lie on patches of 4 pixels, of the whole picture, of windows of it, or of a square."""
    monkeypatch.setattr(common, "load", lambda *_, **__: Patches())
    words = tmp_path / "names.txt"
    words.write_text(
        "".join(
            f"{n}\t{'red' if i == 2 else 'blue' if i == 12 else 'grey' if i == 0 else f'x{i}'}\n"
            for i, n in enumerate(_ADE)
        )
    )
    root = files.ade20k(tmp_path / "data", 1)
    result = run("eval", "ovss", "ade20k", root, "--names", words, *options, "--out", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "o/report.json").read_text())
    assert report["features"] == "patches"
    rows = {row["name"]: row["iou"] for row in report["classes"]}
    assert min(rows["sky"], rows["person"]) > 0.9
    assert report["miou"] == pytest.approx(np.mean([iou for iou in rows.values() if iou is not None]))
    assert len(report["unknown"]) == 147


def test_background_by_patches(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ground is as much like red as like blue, so that neither has .85 of the softmax."""
    monkeypatch.setattr(common, "load", lambda *_, **__: Patches())
    words = tmp_path / "names.txt"
    listed = ["background", *("red" if i == 6 else "blue" if i == 7 else f"x{i}" for i in range(20))]
    words.write_text("\n".join(listed) + "\n")
    root = files.voc(tmp_path / "data")
    result = run(
        "eval", "ovss", "voc21", root, "--names", words, "--side", "96", "--short", "96", "--out", tmp_path / "o"
    )
    assert result.exit_code == 0, result.stderr
    rows = {r["name"]: r["iou"] for r in json.loads((tmp_path / "o/report.json").read_text())["classes"]}
    assert min(rows["car"], rows["cat"]) > 0.5  # colours of a JPEG bleed into the ground
    assert rows["background"] > 0.8


def test_a_photo_with_tiny(run: Any, tmp_path: Path) -> None:
    """The cup is found. Other regions overlap it, and 171 names are many for `tiny`, so that its IoU is not high."""
    root = tmp_path / "data"
    photo = Image.open(PHOTO).convert("RGB")
    photo.thumbnail((320, 320))
    truth = np.full((photo.height, photo.width), 156, np.uint8)
    truth[35:197, 55:207] = 46  # a cup has id 47
    files.save(root / "val2017/1.jpg", np.asarray(photo))
    files.save(root / "stuffthingmaps/val2017/1.png", truth)
    result = run("eval", "ovss", "coco-stuff", root, "--out", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "o/report.json").read_text())
    cup = next(row for row in report["classes"] if row["name"] == "cup")
    assert cup["iou"] > 0.2
    assert report["features"] == "regions"
