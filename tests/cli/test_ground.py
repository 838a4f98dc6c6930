"""`vidmem ground` and `vidmem segment`."""

from __future__ import annotations

import json
from pathlib import Path

import fakes
import numpy as np
import pytest
from encoders import clip_folder
from PIL import Image
from pycocotools import mask as coco

from .conftest import Run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of two red squares and a blue one."""
    image = np.full((fakes.HEIGHT * 2, fakes.WIDTH * 2, 3), fakes.GROUND, np.uint8)
    for colour, x, y in (("red", 16, 16), ("red", 240, 96), ("blue", 128, 64)):
        image[y : y + 64, x : x + 48] = fakes.COLOURS[colour]
    path = tmp_path / "photo.png"
    Image.fromarray(image).save(path)
    return path


def test_ground_one(run: Run, photo: Path, tmp_path: Path) -> None:
    result = run(
        "ground",
        photo,
        "blue",
        "thing",
        "--encoder",
        "colours",
        "--json",
        "--save",
        tmp_path / "a.png",
        "--mask",
        tmp_path / "mask.png",
    )
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["found"]
    (thing,) = told["things"]
    assert thing["box"] == [128, 64, 176, 128]
    held = coco.decode(thing["segmentation"]).astype(bool)
    assert held.shape == (192, 320)
    assert held[72:120, 128:176].all()
    assert thing["area"] == held.sum() == pytest.approx(48 * 64, rel=0.05)  # corners are round
    mask = np.asarray(Image.open(tmp_path / "mask.png"))
    np.testing.assert_array_equal(mask > 0, held)
    assert Image.open(tmp_path / "a.png").width == 960  # a small photo is enlarged
    assert "128,64,176,128" in run("ground", photo, "blue", "--encoder", "colours").stdout


def test_ground_all(run: Run, photo: Path) -> None:
    (one,) = json.loads(run("ground", photo, "red", "--encoder", "colours", "--json").stdout)["things"]
    both = json.loads(run("ground", photo, "red", "--encoder", "colours", "--json", "--all").stdout)["things"]
    assert sorted(thing["box"] for thing in both) == [[16, 16, 64, 80], [240, 96, 288, 160]]
    assert one["box"] in [thing["box"] for thing in both]


def test_ground_without_a_finding(run: Run, photo: Path, tmp_path: Path) -> None:
    result = run("ground", photo, "yellow", "--encoder", "colours", "--json", "--save", tmp_path / "a.png")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["found"], told["things"]) == (False, [])
    assert 0 < told["nearest"] < 0.6
    assert "not found; the nearest region scores" in result.stderr
    assert not (tmp_path / "a.png").exists()
    Image.new("RGB", (64, 64), fakes.GROUND).save(tmp_path / "grey.png")
    result = run("ground", tmp_path / "grey.png", "red", "--encoder", "colours")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no region stands out" in result.stderr


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("nowhere.jpg", "red"), 4, "no such picture"),
        (("PHOTO", "  "), 2, "the text is empty"),
        (("PHOTO", "puce"), 2, "no colour in 'puce'"),
        (("PHOTO", "red", "--save", "a.gif"), 2, "--save writes png"),
        (("PHOTO", "red", "--mask", "a.jpg"), 2, "--mask writes png"),
        (("PHOTO", "red", "--threshold", "nan"), 2, "--threshold is a score"),
        (("PHOTO", "red", "--weights", "."), 2, "has no folder of weights"),
        (("PHOTO", "red", "--save", "/nowhere/a.png"), 4, "cannot be written"),
    ],
)
def test_ground_fails(run: Run, photo: Path, args: tuple[str, ...], code: int, said: str) -> None:
    result = run("ground", *(str(photo) if a == "PHOTO" else a for a in args), "--encoder", "colours")
    assert result.exit_code == code, result.stderr
    assert said in result.stderr


def test_an_unknown_encoder_fails(run: Run, photo: Path) -> None:
    result = run("ground", photo, "red", "--encoder", "colour")
    assert result.exit_code == 4
    assert "did you mean 'colours'" in result.stderr


def test_a_file_that_is_no_picture_fails(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"nothing" * 10)
    result = run("segment", tmp_path / "a.jpg", "--labels", "red", "--encoder", "colours")
    assert result.exit_code == 4
    assert "the picture cannot be read" in result.stderr


def test_segment(run: Run, photo: Path, tmp_path: Path) -> None:
    result = run(
        "segment",
        photo,
        "--labels",
        "red, yellow,blue",
        "--encoder",
        "colours",
        "--json",
        "--save",
        tmp_path / "a.png",
        "--png",
        tmp_path / "labels.png",
    )
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["asked"] == ["red", "yellow", "blue"]
    assert [row["label"] for row in told["labels"]] == ["red", "blue"]
    assert told["labels"][0]["share"] == pytest.approx(2 * 48 * 64 / (320 * 192), rel=0.05)
    assert told["labels"][1]["bbox"] == [128, 64, 48, 64]
    assert sum(row["share"] for row in told["labels"]) + told["unlabelled"] == pytest.approx(1, abs=1e-5)
    labels = np.asarray(Image.open(tmp_path / "labels.png"))
    assert set(np.unique(labels).tolist()) == {0, 1, 3}
    assert (labels[72:120, 128:176] == 3).all()
    sheet = Image.open(tmp_path / "a.png")
    assert sheet.width == 960
    assert sheet.height > 192 + 3 * 26  # a legend of three lines


def test_segment_from_a_file(run: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("red\nblue\tstuff\n")
    table = run("segment", photo, "--labels", tmp_path / "names.txt", "--encoder", "colours").stdout.splitlines()
    assert [line.split() for line in table] == [["label", "share"], ["red", "9.7%"], ["blue", "4.9%"]]


def test_segment_without_a_finding(run: Run, photo: Path, tmp_path: Path) -> None:
    result = run("segment", photo, "--labels", "yellow,brown", "--encoder", "colours", "--save", tmp_path / "a.png")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "none of the labels is found" in result.stderr
    assert "the label of" not in result.stderr
    closed = run("segment", photo, "--labels", "yellow,brown", "--encoder", "colours", "--closed")
    assert closed.exit_code == 0
    assert "%" in closed.stdout


@pytest.mark.parametrize(
    ("labels", "code", "said"),
    [
        ("", 2, "there is no label"),
        (" , ,", 2, "there is no label"),
        ("red,red", 2, "'red' is there twice"),
        ("names.txt", 4, "the labels cannot be read"),
        ("puce,red", 2, "no colour in 'puce'"),
        ("a" * 201, 2, "is not a name"),
    ],
)
def test_segment_fails(run: Run, photo: Path, labels: str, code: int, said: str) -> None:
    result = run("segment", photo, "--labels", labels, "--encoder", "colours")
    assert result.exit_code == code, result.stderr
    assert said in result.stderr


def test_segment_has_one_way_to_choose(run: Run, photo: Path) -> None:
    result = run("segment", photo, "--labels", "red", "--encoder", "colours", "--closed", "--threshold", "0.3")
    assert result.exit_code == 2
    many = ",".join(f"red {i}" for i in range(256))
    result = run("segment", photo, "--labels", many, "--encoder", "colours", "--png", "a.png")
    assert result.exit_code == 2
    assert "a label picture holds 255 labels and there are 256" in result.stderr


def test_a_phrase_too_long_is_cut_and_said_so(run: Run, photo: Path, tmp_path: Path) -> None:
    """The message goes to stderr; --json stays one document."""
    clip_folder.required()
    model = clip_folder.write(tmp_path / "model")
    long = " ".join(["red cup"] * 60)
    result = run("ground", photo, long, "--encoder", f"gem:local-dir:{model}", "--threshold", "-1", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["found"]
    (line,) = result.stderr.splitlines()
    assert line.startswith("the phrase has 127 tokens with its prompt, at most 77 fit; its first 70 words count")
