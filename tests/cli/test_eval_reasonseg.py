"""`vidmem eval reasonseg`: files in the data set's own form, figures by hand, damage, `tiny`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation import segmentation_files as files
from hypothesis import given, settings
from hypothesis import strategies as st

from needs import needs
from vidmem.errors import MediaError
from vidmem.evaluation.reasonseg import Question, polygon_mask, read_target, reason_figures

RED = [[32, 16], [79, 16], [79, 47], [32, 47]]
"""The red block of the pictures, outline included."""
BLUE = [[96, 48], [143, 48], [143, 87], [96, 87]]


def shape(label: str, points: list[list[float]]) -> dict[str, Any]:
    return {"label": label, "labels": [label], "shape_type": "polygon", "image_name": "a.jpg", "points": points}


def write(root: Path, name: str, text: object, long: bool, *shapes: dict[str, Any], split: str = "val") -> Path:
    files.save(root / split / f"{name}.jpg", files.picture())
    path = root / split / f"{name}.json"
    path.write_text(json.dumps({"text": text, "is_sentence": long, "shapes": shapes}))
    return path


def target(path: Path) -> Any:
    return read_target(Question(path.with_suffix(".jpg"), path), (files.WIDTH, files.HEIGHT))


def test_shapes_are_drawn_from_the_largest(tmp_path: Path) -> None:
    """A hole that is ignored lies on the target, and a flag means nothing."""
    hole = [[40, 24], [47, 24], [47, 31], [40, 31]]
    path = write(
        tmp_path,
        "a",
        ["the red one", "another"],
        True,
        shape("ignore", hole),
        shape("target", RED),
        shape("flag", BLUE),
    )
    found = target(path)
    assert (found.text, found.long) == ("the red one", True)
    assert found.mask.sum() == 48 * 32 - 64
    assert (~found.counted).sum() == 64
    assert not found.mask[60, 100]


@pytest.mark.parametrize(("labels", "pixels"), [(("target", "ignore"), 0), (("ignore", "target"), 48 * 32)])
def test_of_equal_shapes_the_later_is_drawn_first(tmp_path: Path, labels: tuple[str, str], pixels: int) -> None:
    path = write(tmp_path, "a", "red", False, *(shape(label, RED) for label in reversed(labels)))
    assert target(path).mask.sum() == pixels


def test_a_text_and_the_other_encoding(tmp_path: Path) -> None:
    path = write(tmp_path, "a", "red", False, shape("target", RED))
    path.write_bytes('{"text": "caf\xe9", "is_sentence": false, "shapes": []}'.encode("cp1252"))
    found = target(path)
    assert (found.text, found.mask.any(), found.counted.all()) == ("café", False, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "is not an object"),
        ('{"shapes": []}', "`text` is not a question"),
        ('{"text": [], "shapes": []}', "`text` is not a question"),
        ('{"text": "a"}', "`shapes` is not a list"),
        ('{"text": "a", "shapes": [{"points": []}]}', r"shapes\[0\] has no label"),
        ('{"text": "a", "shapes": [{"label": "target", "points": [[1]]}]}', r"shapes\[0\]\.points"),
        ('{"text": "a", "shapes": [{"label": "target", "points": [[NaN, 1]]}]}', r"shapes\[0\]\.points"),
        ('{"text": "a", "shapes": [{"label": "target", "points": [[1e300, 1]]}]}', r"shapes\[0\]\.points"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_files_that_are_damaged(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, "a", "red", False)
    path.write_text(text)
    with pytest.raises(MediaError, match=said) as caught:
        target(path)
    assert str(caught.value).endswith(str(path))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["label", "points", "a"]), inner),
    max_leaves=6,
)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["text", "shapes", "is_sentence"]), _JSON) | _JSON)
def test_any_json_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: object) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(data))
    with contextlib.suppress(MediaError):
        found = target(path)
        assert found.mask.shape == (files.HEIGHT, files.WIDTH)


def test_polygons_are_nearly_those_of_opencv() -> None:
    needs("cv2")
    import cv2

    generator = np.random.default_rng(0)
    for _ in range(20):
        angles = np.sort(generator.uniform(0, 2 * np.pi, 12))
        radius = generator.uniform(40, 90, 12)
        points = np.stack([100 + radius * np.cos(angles), 100 + radius * np.sin(angles)], 1)
        theirs = np.zeros((200, 200), np.uint8)
        cv2.polylines(theirs, points.astype(np.int32)[None], True, 1, 1)
        cv2.fillPoly(theirs, points.astype(np.int32)[None], 1)
        ours = polygon_mask(points.astype(np.int64), (200, 200))
        assert (ours & (theirs > 0)).sum() / (ours | (theirs > 0)).sum() > 0.985
    assert polygon_mask(np.array([[2, 3], [5, 3]]), (8, 8)).sum() == 4
    assert not polygon_mask(np.zeros((0, 2), np.int64), (8, 8)).any()


def test_figures_by_hand() -> None:
    """Short: IoU 1/2. Long: nothing is meant and nothing found, 1; 1/4; and no answer where nothing is meant, 0. cIoU
    pools 2 + 1 of 4 + 4 pixels."""
    results = [
        {"row": [2, 2, 4, 0.5, ""], "long": False},
        {"row": [0, 0, 0, None, ""], "long": True},
        {"row": [1, 1, 4, 0.2, ""], "long": True},
        {"row": [0, 0, 0, None, "unknown"], "long": True},
    ]
    found = reason_figures(results)
    assert found["short gIoU"] == found["short cIoU"] == 0.5
    assert found["long gIoU"] == pytest.approx((1 + 1 / 4 + 0) / 3)
    assert found["long cIoU"] == 1 / 4
    assert found["overall gIoU"] == pytest.approx((1 / 2 + 1 + 1 / 4 + 0) / 4)
    assert found["overall cIoU"] == 3 / 8
    assert reason_figures(results[:1])["long gIoU"] is None


def test_a_run(run: Any, tmp_path: Path) -> None:
    root = tmp_path / "ReasonSeg"
    write(root, "a", "red", False, shape("target", RED))
    write(root, "b", "the blue one", True, shape("target", BLUE))
    write(root, "c", "yellow", False, shape("target", RED))
    damaged = write(root, "d", "red", False, shape("target", RED))
    good = damaged.read_text()
    damaged.write_text("{")
    options = ("--encoder", "colours", "--out", tmp_path / "o")
    result = run("eval", "reasonseg", root, *options)
    assert result.exit_code == 3
    assert "left out, d: the annotation is not JSON" in result.stderr
    damaged.write_text(good)
    assert run("eval", "reasonseg", root, *options).exit_code == 0
    report = json.loads((tmp_path / "o/report.json").read_text())
    assert report["items"] == 4
    assert report["long gIoU"] > 0.85
    assert report["short gIoU"] == pytest.approx(2 / 3 * report["long gIoU"], abs=0.1)  # yellow is missed
    page = (tmp_path / "o/report.md").read_text()
    assert "## ReasonSeg val, 4 pictures" in page
    assert "| TextRegion | 21.6 | 15.6 | 26.4 | 24.1 | 25.2 | 21.6 | arXiv 2505.23769, Table 3 |" in page
    assert run("eval", "reasonseg", root, "--encoder", "colours", "--out", tmp_path / "p").exit_code == 0
    assert (tmp_path / "p/report.json").read_bytes() == (tmp_path / "o/report.json").read_bytes()


def test_a_changed_truth_is_read_again(run: Any, tmp_path: Path) -> None:
    root = tmp_path / "ReasonSeg"
    write(root, "a", "red", False, shape("target", RED))
    options = ("--encoder", "colours", "--out", tmp_path / "o")
    assert run("eval", "reasonseg", root, *options).exit_code == 0
    write(root, "a", "red", False, shape("target", BLUE))
    result = run("eval", "reasonseg", root, *options)
    assert result.exit_code == 0, result.stderr
    assert "1 picture done again, since files have changed since: a" in result.stderr
    assert json.loads((tmp_path / "o/report.json").read_text())["short gIoU"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("none",), 4, "the folder of the split is missing"),
        (("DATA", "--split", "test"), 4, "the folder has no picture"),
        (("DATA", "--model-name", "x"), 2, "give --model, too"),
        (("DATA", "--model", "none", "--encoder", "tiny"), 2, "leave out --encoder and --masks"),
    ],
)
def test_wrong_arguments(run: Any, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    write(tmp_path / "d", "a", "red", False)
    (tmp_path / "d/test").mkdir()
    given = [tmp_path / "d" if each == "DATA" else each for each in arguments]
    result = run("eval", "reasonseg", *given, "--out", tmp_path / "o")
    assert (result.exit_code, said in result.stderr) == (code, True), result.stderr


def test_with_tiny(run: Any, tmp_path: Path) -> None:
    """A word that `tiny` does not know is a miss that is told."""
    root = tmp_path / "ReasonSeg"
    write(root, "a", "the red block", False, shape("target", RED))
    write(root, "b", "What could the xyzzyx be used for?", True, shape("target", BLUE))
    result = run("eval", "reasonseg", root, "--out", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "o/report.json").read_text())
    assert report["unanswered"] == {"unknown": 1}
    assert "1 of 2 expressions have a word that the encoder does not know" in result.stderr
    assert report["long gIoU"] == 0
