"""`vidmem eval points`: OpenImages' files, figures by hand, damage, resuming, `tiny`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation import segmentation_files as files
from evaluation import test_dense_accuracy as dense
from hypothesis import given as any_of
from hypothesis import settings
from hypothesis import strategies as st

from vidmem.cli.eval import common
from vidmem.encoders import Reading
from vidmem.errors import MediaError
from vidmem.evaluation.open_images import PointFile, read_descriptions
from vidmem.evaluation.points import score_of
from vidmem.records import Float32

HEADER = "ImageId,X,Y,Label,EstimatedYesNo,Source,YesVotes,NoVotes,UnsureVotes,TextLabel"
RED, BLUE, YELLOW = "/m/red", "/m/blue", "/m/yellow"


def line(image: str, x: float, y: float, label: str, said: str) -> str:
    return f"{image},{x},{y},{label},{said},ih,1,0,0,"


def write(root: Path, *images: str) -> tuple[Path, Path, Path]:
    """In each picture red has 2 points on the thing and 1 off it, blue 1 and 1, yellow 1 on and none is found; green
    has none on it."""
    lines = [HEADER]
    for image in images:
        files.save(root / "val" / f"{image}.jpg", files.picture())
        lines += [
            line(image, 0.3, 0.3, RED, "yes"),
            line(image, 0.4, 0.4, RED, "yes"),
            line(image, 0.05, 0.05, RED, "no"),
            line(image, 0.75, 0.7, BLUE, "yes"),
            line(image, 0.7, 0.6, BLUE, "no"),
            line(image, 0.1, 0.9, YELLOW, "yes"),
            line(image, 0.3, 0.3, "/m/green", "no"),
            line(image, 0.3, 0.3, BLUE, "unsure"),
            line(image, 0.3, 0.3, "", "yes") + "some text",
        ]
    points = root / "oidv7-val-annotations-point-labels.csv"
    points.write_text("\n".join(lines) + "\n")
    names = root / "oidv7-class-descriptions.csv"
    names.write_text("LabelName,DisplayName\n/m/red,Red\n/m/blue,Blue\n/m/yellow,Yellow\n/m/other,Swivel chair\n")
    return points, names, root / "val"


def test_the_file_is_grouped_by_picture_and_class(tmp_path: Path) -> None:
    points, _, images = write(tmp_path, "b", "a")
    file = PointFile(points, images)
    assert file.images == ["b", "a"]
    assert file.classes == sorted([RED, BLUE, YELLOW])
    found = {each.name: each for each in file.picture("a").points}
    assert set(found) == {RED, BLUE, YELLOW}
    assert found[RED].inside.tolist() == [True, True, False]
    np.testing.assert_allclose(found[BLUE].xy, [[0.75, 0.7], [0.7, 0.6]], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the column ImageId is missing"),
        ("ImageId,X,Y,Label\n", "the column EstimatedYesNo is missing"),
        (f"{HEADER}\na,2,0,/m/1,yes,,,,,\n", "line 2 is not a point label"),
        (f"{HEADER}\na,nan,0,/m/1,yes,,,,,\n", "line 2 is not a point label"),
        (f"{HEADER}\na,x,0,/m/1,yes,,,,,\n", "line 2 is not a point label"),
        (f"{HEADER}\na,0,0,/m/1,perhaps,,,,,\n", "line 2 is not a point label"),
        (f"{HEADER}\n../a,0,0,/m/1,yes,,,,,\n", "line 2 is not a point label"),
        (f"{HEADER}\na,0,0\n", "line 2 is not a point label"),
        (f"{HEADER}\na,0,0,/m/1,no,,,,,\n", "no point of the file says that a class is there"),
        (f"{HEADER}\n{'a' * 200_000},0,0,/m/1,no,,,,,\n", "is not a CSV"),
    ],
)
def test_files_that_are_damaged(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(MediaError, match=said) as caught:
        PointFile(path, tmp_path)
    assert str(path) in str(caught.value)


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MediaError, match="is not a CSV"):
        read_descriptions(path)
    path.write_text("/m/1,Cup,More\n")
    with pytest.raises(MediaError, match="line 1 is not the id"):
        read_descriptions(path)
    path.write_text('/m/1,"Cup, large"\n')  # without a header
    assert read_descriptions(path) == {"/m/1": "Cup, large"}
    with pytest.raises(MediaError, match="check the path"):
        PointFile(path, tmp_path / "none")
    with pytest.raises(MediaError, match="cannot be read"):
        PointFile(tmp_path / "none.csv", tmp_path)


def test_counts_are_pooled_per_class() -> None:
    found = score_of([("cup", 1, 3), ("cup", 2, 2), ("key", 0, 1), ("pen", 0, 0)])
    assert found.per_class == pytest.approx((3 / 5 + 0) / 2)
    assert found.per_image == pytest.approx((1 / 3 + 1 + 0) / 3)


def test_a_run(run: Any, tmp_path: Path) -> None:
    """Red 2 of 2, blue 1 of 2 (a false one), yellow 0 of 1: the mean is (1 + 1/2 + 0) / 3."""
    given = write(tmp_path, "b", "a", "c")
    options = ("--encoder", "colours", "--out")
    assert run("eval", "points", *given, *options, tmp_path / "o", "--limit", 1).exit_code == 0
    picture = given[2] / "c.jpg"
    good = picture.read_bytes()
    picture.unlink()
    result = run("eval", "points", *given, *options, tmp_path / "o")
    assert result.exit_code == 3
    assert "left out, c: the picture is missing" in result.stderr
    picture.write_bytes(good)
    assert run("eval", "points", *given, *options, tmp_path / "o").exit_code == 0
    report = json.loads((tmp_path / "o/report.json").read_text())
    assert report["per_class"] == pytest.approx(0.5)
    assert report["per_image"] == pytest.approx(0.5)
    assert (report["classes"], report["images"], report["items"]) == (3, 9, 3)
    page = (tmp_path / "o/report.md").read_text()
    assert "## OpenImages V7 points, 3 pictures" in page
    assert "| GEM, MetaCLIP | 51.9 | - | arXiv 2312.00878, Table 3 |" in page
    assert run("eval", "points", *given, *options, tmp_path / "p").exit_code == 0
    assert (tmp_path / "p/report.json").read_bytes() == (tmp_path / "o/report.json").read_bytes()


def test_names_that_an_encoder_does_not_know(run: Any, tmp_path: Path) -> None:
    points, names, images = write(tmp_path, "a")
    names.write_text("/m/red,Red\n/m/blue,Swivel chair\n")
    result = run("eval", "points", points, names, images, "--encoder", "colours", "--out", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "o/report.json").read_text())
    assert report["unknown"] == ["Swivel chair", "/m/yellow"]
    assert report["per_class"] == pytest.approx(1 / 3)


def test_wrong_arguments(run: Any, tmp_path: Path) -> None:
    points, names, images = write(tmp_path, "a")
    other = tmp_path / "other.csv"
    other.write_text("/m/other,Red\n")
    for arguments, code, said in (
        ((points, names, "none"), 4, "the folder of the pictures does not exist"),
        ((points, points, images), 4, "line 1 is not the id of a class"),
        ((names, names, images), 4, "the column ImageId is missing"),
        ((points, other, images), 4, "the file names no class of the points"),
        ((points, names, images, "--features", "pixels"), 2, "--features is one of"),
        ((points, names, images, "--features", "patches"), 2, "has no patches"),
    ):
        result = run("eval", "points", *arguments, "--encoder", "colours", "--out", tmp_path / "o")
        assert (result.exit_code, said in result.stderr) == (code, True), result.stderr


class Patches(dense.Colours):
    """Patches of 4 pixels that know the colour under them."""

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        colours = np.array([files.COLOURS[phrase.lower()] for phrase in phrases], np.float32)
        return np.asarray(colours / np.linalg.norm(colours, axis=1, keepdims=True), np.float32)

    def reading(self, phrase: str) -> Reading:
        return Reading(phrase) if phrase.lower() in files.COLOURS else Reading("", unknown=phrase)


def test_by_patches(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ground's cosine to red is .58, and 0 is the lowest there is: the point off red is taken, IoU 2/3."""
    monkeypatch.setattr(common, "load", lambda *_, **__: Patches())
    given = write(tmp_path, "a")
    for number, options in enumerate(((), ("--short", "48"))):
        result = run("eval", "points", *given, *options, "--out", tmp_path / str(number))
        assert result.exit_code == 0, result.stderr
        report = json.loads((tmp_path / str(number) / "report.json").read_text())
        assert report["features"] == "patches"
        assert report["per_class"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    result = run("eval", "points", *given, "--features", "points", "--out", tmp_path / "p")
    assert (result.exit_code, "points are for `tren`" in result.stderr) == (2, True)


@settings(max_examples=60)
@any_of(st.text(st.characters(blacklist_categories=["Cs"])), st.binary(max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    for content in (text.encode(), data, f"{HEADER}\na,{text}".encode(), HEADER.encode() + b"\n" + data):
        (folder / "any.csv").write_bytes(content)
        with contextlib.suppress(MediaError):
            PointFile(folder / "any.csv", folder)
        with contextlib.suppress(MediaError):
            read_descriptions(folder / "any.csv")


def test_with_tiny(run: Any, tmp_path: Path) -> None:
    points, names, images = write(tmp_path, "a")
    names.write_text("/m/red,Cushion\n/m/blue,Xyzzyx\n/m/yellow,Banana\n")
    result = run("eval", "points", points, names, images, "--out", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "o/report.json").read_text())
    assert (report["unknown"], report["features"], report["classes"]) == (["Xyzzyx"], "regions", 3)
