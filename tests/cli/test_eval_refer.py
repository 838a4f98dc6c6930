"""`vidmem eval refer`: RefCOCO's files, figures by hand, a model at an endpoint, resuming, `tiny`."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation import segmentation_files as files
from vlm.server import Served, serving

from needs import needs
from vidmem.evaluation.refer_table import refer_score
from vidmem.evaluation.referring import Found, counts
from vidmem.export.textmask import build, encode, wrap
from vidmem.vlm.endpoint import KEY


@pytest.fixture(autouse=True)
def _needs(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("pycocotools")
    monkeypatch.delenv(KEY, raising=False)


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as server:
        yield server


def rectangle(name: str) -> list[list[int]]:
    y0, x0, y1, x1 = files.BLOCKS[name]
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def write(folder: Path, count: int = 3, asked: dict[str, list[str]] | None = None, *, general: bool = False) -> Path:
    """A folder as RefCOCO is published; the last picture is of testA, the others of val.

    asked: expressions of the red and of the blue block. general: gRefCOCO's list, with one for both and one for none.
    """
    asked = asked or {"red": ["the red one"], "blue": ["blue thing", "the yellow one"]}
    images, annotations, refs = [], [], []
    for i in range(1, count + 1):
        name = f"COCO_train2014_{i:012}.jpg"
        files.save(folder / "images" / name, files.picture())
        images.append({"id": i, "file_name": name, "width": files.WIDTH, "height": files.HEIGHT})
        split = "testA" if i == count > 1 else "val"
        numbers = []
        for category, (colour, texts) in enumerate(asked.items(), 1):
            number = len(annotations) + 1
            numbers.append(number)
            annotations.append(
                {"id": number, "image_id": i, "category_id": category, "segmentation": rectangle(colour), "iscrowd": 0}
            )
            entry = {"ref_id": number, "ann_id": number, "image_id": i, "category_id": category, "split": split}
            refs.append(entry | {"sentences": [{"sent": text, "sent_id": 0} for text in texts]})
        if general:
            for ann, text in ((numbers, "red blue"), ([-1], "green thing")):
                entry = {"ref_id": 900, "ann_id": ann, "image_id": i, "split": split}
                refs.append(entry | {"sentences": [{"sent": text}]})
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": n} for i, n in enumerate(asked, 1)],
    }
    (folder / "instances.json").write_text(json.dumps(document))
    if general:
        for entry in refs:
            entry["ann_id"] = entry["ann_id"] if isinstance(entry["ann_id"], list) else [entry["ann_id"]]
        (folder / "grefs(unc).json").write_text(json.dumps(refs))
    else:
        (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, 2))
    return folder


def test_rows_and_figures_by_hand() -> None:
    """Masks on a row of 10: [0, 6) for [0, 4), IoU 4/6; [8, 10) for [0, 4), IoU 0; no answer, where nothing is
    meant; [0] for nothing; and nothing for nothing."""
    line = np.arange(10)[None]
    none = np.zeros((1, 10), bool)
    rows = [
        counts(Found(line < 6), line < 4),
        counts(Found(line >= 8, ""), line < 4),
        counts(Found(none, "unknown"), none),
        counts(Found(line < 1), none),
        counts(Found(none), none),
    ]
    assert rows[0] == [4, 6, 4, pytest.approx(4 / 6), ""]
    assert rows[1] == [0, 2, 4, 0.0, ""]
    assert rows[2] == [0, 0, 0, None, "unknown"]
    score = refer_score(rows)
    figures = score.figures()
    assert figures["cIoU"] == pytest.approx(4 / (6 + 6 + 0 + 1))
    assert figures["gIoU"] == pytest.approx((4 / 6 + 0 + 0 + 0 + 1) / 5)
    assert (figures["P@0.5"], figures["P@0.7"]) == (0.5, 0)
    assert (figures["N-acc"], figures["T-acc"]) == (pytest.approx(1 / 3), 1)
    assert figures["Acc@0.5"] == 0.5
    assert score.notes == {"unknown": 1}
    assert counts(Found(line < 6), line < 4, counted=line < 3)[:3] == [3, 3, 3]
    assert refer_score([]).figures()["cIoU"] is None


def test_a_run(run: Any, tmp_path: Path) -> None:
    data = write(tmp_path / "refcoco")
    options = ("--split", "val,testA", "--encoder", "colours", "--out")
    result = run("eval", "refer", data, *options, tmp_path / "a", "--limit", 1)
    assert result.exit_code == 0, result.stderr
    result = run("eval", "refer", data, *options, tmp_path / "a")
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "a/report.json").read_text())
    val = report["splits"]["val"]
    assert (val["expressions"], report["splits"]["testA"]["expressions"]) == (6, 3)
    assert (
        val["P@0.5"] == val["Acc@0.5"] == pytest.approx(2 / 3)
    )  # "the yellow one" means the blue block, and is missed
    assert 0.55 < val["gIoU"] < 2 / 3
    page = (tmp_path / "a/report.md").read_text()
    assert "## refcoco, val, testA, 3 pictures: cIoU" in page
    assert "| Text4Seg InternVL2-8B | 79.2 | 81.7 | 75.6 | 72.8 | 77.9 | 66.5 | 74.0 | 75.3 |" in page
    assert "Acc@0.5 of boxes" in page
    assert run("eval", "refer", data, *options, tmp_path / "b").exit_code == 0
    for name in ("results.jsonl", "report.json", "report.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_several_things_and_none(run: Any, tmp_path: Path) -> None:
    data = write(tmp_path / "grefcoco", 1, {"red": ["red"], "blue": ["blue"]}, general=True)
    result = run("eval", "refer", data, "--encoder", "colours", "--out", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    val = json.loads((tmp_path / "o/report.json").read_text())["splits"]["val"]
    assert (val["expressions"], val["N-acc"], val["T-acc"]) == (4, 1, 1)
    assert val["P@0.8"] == 1
    page = (tmp_path / "o/report.md").read_text()
    assert "| Text4Seg LLaVA-1.5-13B | 74.8 | 69.8 | 75.1 | 74.3 | 68.0 | 67.1 | arXiv 2410.09855, Table 2 |" in page


def test_expressions_that_cannot_be_read_are_missed_where_nothing_is_meant(run: Any, tmp_path: Path) -> None:
    data = write(tmp_path / "grefcoco", 1, {"red": ["red"]}, general=True)
    entries = json.loads((data / "grefs(unc).json").read_text())
    entries = [each | {"sentences": [{"sent": "the xyzzyx"}]} for each in entries if each["ann_id"] == [-1]]
    (data / "grefs(unc).json").write_text(json.dumps(entries))
    result = run("eval", "refer", data, "--out", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    val = json.loads((tmp_path / "o/report.json").read_text())["splits"]["val"]
    assert (val["expressions"], val["unanswered"], val["gIoU"], val["N-acc"]) == (1, {"unknown": 1}, 0, 0)
    assert "they count as missed" in result.stderr


def test_a_picture_that_changed_is_looked_at_again(run: Any, tmp_path: Path) -> None:
    data = write(tmp_path / "refcoco", 2)
    arguments = ("eval", "refer", data, "--encoder", "colours", "--out", tmp_path / "o")
    assert run(*arguments).exit_code == 0
    files.save(data / "images/COCO_train2014_000000000001.jpg", np.zeros_like(files.picture()))
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    assert "1 picture done again, since files have changed since: val COCO_train2014_000000000001.jpg" in result.stderr
    assert json.loads((tmp_path / "o/report.json").read_text())["splits"]["val"]["gIoU"] == 0


def test_a_model_at_an_endpoint(run: Any, tmp_path: Path, served: Served) -> None:
    """It always shows the middle quarter of the picture, of an expression that it was asked for."""
    data = write(tmp_path / "refcoco", 1, {"red": ["red"], "blue": ["blue"]})
    grid = np.full((16, 16), -1)
    grid[4:12, 4:12] = 0
    served.says(wrap(encode(build(grid, ["red"]))))
    arguments = ("eval", "refer", data, "--model", served.url, "--model-name", "m", "--out", tmp_path / "o")
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert not served.requests
    result = run(*arguments, "--allow-network")
    assert result.exit_code == 0, result.stderr
    assert len(served.requests) == 2
    val = json.loads((tmp_path / "o/report.json").read_text())["splits"]["val"]
    assert val["unanswered"] == {"unreadable": 1}  # "blue" got a mask of "red"
    # red: 24 x 40 of 32 x 48 pixels lie in the middle, which has 48 x 80
    assert val["cIoU"] == pytest.approx(24 * 40 / (32 * 48 + 48 * 80 - 24 * 40 + 40 * 48), abs=0.02)
    assert run(*arguments, "--allow-network").exit_code == 0
    assert len(served.requests) == 2  # both are done
    long = write(tmp_path / "b" / "refcoco", 1, {"red": ["red " * 60]})
    result = run("eval", "refer", long, *arguments[3:-1], tmp_path / "p", "--allow-network")
    assert result.exit_code == 0, result.stderr
    assert "are longer than what a model is asked" in result.stderr


def test_a_damaged_picture_is_named(run: Any, tmp_path: Path) -> None:
    data = write(tmp_path / "refcoco")
    picture = data / "images/COCO_train2014_000000000001.jpg"
    picture.write_bytes(b"no picture")
    result = run("eval", "refer", data, "--encoder", "colours", "--out", tmp_path / "o")
    assert result.exit_code == 3
    assert "left out, val COCO_train2014_000000000001.jpg: the picture cannot be read" in result.stderr
    files.save(picture, files.picture()[:40])
    result = run("eval", "refer", data, "--encoder", "colours", "--out", tmp_path / "o")
    assert "the picture is 160x40, and the annotations say 160x96" in result.stderr


def test_a_damaged_entry_is_named(run: Any, tmp_path: Path) -> None:
    data = write(tmp_path / "refcoco", 2)
    entries = pickle.loads((data / "refs(unc).p").read_bytes())
    entries[0]["ann_id"] = 99
    (data / "refs(unc).p").write_bytes(pickle.dumps(entries))
    result = run("eval", "refer", data, "--encoder", "colours", "--out", tmp_path / "o")
    assert result.exit_code == 3
    assert "left out, entry 1: ann_id 99 is not in instances.json" in result.stderr
    assert json.loads((tmp_path / "o/report.json").read_text())["splits"]["val"]["expressions"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("none",), 2, "--data-set is one of"),
        (("none", "--data-set", "refcoco"), 4, "has no list of expressions"),
        (("DATA", "none"), 4, "the folder of the pictures does not exist"),
        (("DATA", "--split", "test"), 2, "there is no split 'test'"),
        (("DATA", "--refs", "google"), 4, "google"),
        (("DATA", "--grid", "9", "--model", "m"), 2, "--grid is 16, 24 or 32"),
    ],
)
def test_wrong_arguments(run: Any, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    data = write(tmp_path / "refcoco", 1)
    given = [data if each == "DATA" else each for each in arguments]
    result = run("eval", "refer", *given, "--out", tmp_path / "o")
    assert (result.exit_code, said in result.stderr) == (code, True), result.stderr


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("raise SystemExit",)


def test_a_pickle_that_runs_something(run: Any, tmp_path: Path) -> None:
    data = write(tmp_path / "refcoco", 1)
    (data / "refs(unc).p").write_bytes(pickle.dumps([Evil()]))
    result = run("eval", "refer", data, "--encoder", "colours", "--out", tmp_path / "o")
    assert result.exit_code == 4
    assert "the pickle cannot be read" in result.stderr


def test_with_tiny(run: Any, tmp_path: Path) -> None:
    data = write(tmp_path / "refcoco", 1, {"red": ["red block", "the xyzzyx on the left"]})
    result = run("eval", "refer", data, "--out", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    val = json.loads((tmp_path / "o/report.json").read_text())["splits"]["val"]
    assert (val["expressions"], val["unanswered"]) == (2, {"unknown": 1})
    assert "1 of 2 expressions have a word that the encoder does not know; they count as missed." in result.stderr
