"""`vidmem read-answer`: strict, repaired and missing masks, and what it writes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vidmem.cli.read_answer import parse_grid
from vidmem.errors import UsageError
from vidmem.export.textmask import Label, build, encode, wrap

from .conftest import Run

MASK = build(np.array([[-1, 0], [1, 0]]), [Label("red, ball"), Label("cup", 2)])
ANSWER = f"Here is the mask:\n{wrap(encode(MASK))}"


@pytest.fixture
def answer(tmp_path: Path) -> Path:
    path = tmp_path / "answer.txt"
    path.write_text(ANSWER)
    return path


def test_a_strict_answer(run: Run, answer: Path) -> None:
    result = run("read-answer", answer, "--grid", 2, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert (document["strict"], document["problems"], document["grid"]) == (True, [], [2, 2])
    ball, cup = document["labels"]
    assert (ball["label"], ball["instance"], ball["cells"], ball["share"]) == ("red, ball", None, 2, 0.5)
    assert ball["bbox"] == [1, 0, 1, 2]
    assert (cup["label"], cup["instance"], cup["bbox"]) == ("cup", 2, [0, 1, 1, 1])
    table = run("read-answer", answer, "--grid", "2x2").stdout.splitlines()
    assert [line.split() for line in table] == [
        ["label", "cells", "share"],
        ["red,", "ball", "2", "50.0%"],
        ["cup", "#2", "1", "25.0%"],
    ]


def test_stdin(run: Run) -> None:
    result = run("read-answer", "-", "--grid", 2, "--json", input=ANSWER)
    assert result.exit_code == 0
    assert [row["label"] for row in json.loads(result.stdout)["labels"]] == ["red, ball", "cup"]


def test_pictures(run: Run, answer: Path, tmp_path: Path) -> None:
    photo, sheet, png = tmp_path / "photo.jpg", tmp_path / "sheet.png", tmp_path / "labels.png"
    Image.new("RGB", (60, 40), (90, 100, 110)).save(photo)
    result = run(*("read-answer", answer, "--grid", 2, "--picture", photo, "--save", sheet, "--png", png, "--json"))
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["width"], document["height"]) == (60, 40)
    assert document["labels"][0]["bbox"] == [30, 0, 30, 40]
    values = np.asarray(Image.open(png))
    assert values.shape == (40, 60)
    assert values[0, 0] == 0
    assert values[39, 0] == 2
    assert (values[:, 30:] == 1).all()
    assert Image.open(sheet).width == 960
    run("read-answer", answer, "--grid", 2, "--png", png)
    assert np.asarray(Image.open(png)).tolist() == [[0, 1], [2, 1]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ANSWER.replace("</seg>", ""), "the end tag is missing; the answer was cut short"),
        (ANSWER.replace("<seg>", "").replace("</seg>", ""), "the tags are missing"),
        (ANSWER.replace("*1| red", "*9| red"), "a row is too long and was cut"),
        ("<seg>cup *1\n cup *2\n</seg>", "a row is too short"),
        ("<seg>cup *2</seg>", "the answer is one row"),
        ("<seg>cup *0| b *2\n b *2\n</seg>", "'cup *0' is a run of no cells"),
        ("<seg>cup *1\n cup *1\n cup *1\n cup *1\n</seg>", "4 rows, want 2"),
        ("<seg>cup*2\n cup*2\n</seg>", "the text is not exactly in the form of a mask"),
    ],
)
def test_repairs_are_told(run: Run, tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    result = run("read-answer", tmp_path / "a.txt", "--grid", 2, "--json")
    assert result.exit_code == 3
    assert f"repaired: {problem}" in result.stderr
    document = json.loads(result.stdout)
    assert not document["strict"]
    assert any(problem in told for told in document["problems"])


def test_a_long_label_of_backslashes_takes_no_time(run: Run, answer: Path) -> None:
    answer.write_text("<seg>" + "\\" * 20_000 + "a *2\n cup *2\n</seg>")
    begun = time.monotonic()
    assert run("read-answer", answer, "--grid", 2).exit_code == 0
    assert time.monotonic() - begun < 4


def test_labels_that_were_asked_for(run: Run, answer: Path) -> None:
    assert run("read-answer", answer, "--grid", 2, "--labels", "cup").exit_code == 3
    answer.write_text("<seg>kup *2\n cup *2\n</seg>")
    result = run("read-answer", answer, "--grid", 2, "--labels", "cups,kettle", "--json")
    assert "'cup' is taken for 'cups'" in result.stderr
    assert [row["label"] for row in json.loads(result.stdout)["labels"]] == ["cups"]


def test_an_empty_mask_is_an_answer_and_no_mask_is_none(run: Run, answer: Path) -> None:
    answer.write_text("There is no drum here:\n<seg>others *2\n others *2\n</seg>")
    result = run("read-answer", answer, "--grid", 2, "--json")
    assert (result.exit_code, json.loads(result.stdout)["labels"]) == (0, [])
    for text in ("", "I see no drum."):
        answer.write_text(text)
        result = run("read-answer", answer, "--grid", 2)
        assert (result.exit_code, "there is no mask in the answer" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nothing.txt",), 4, "the answer cannot be read (No such file or directory)"),
        (("ANSWER", "--picture", "nothing.jpg"), 4, "no such picture"),
        (("ANSWER", "--grid", "0"), 2, "--grid is a number of cells such as 16"),
        (("ANSWER", "--save", "a.png"), 2, "give it with --picture"),
        (("ANSWER", "--png", "a.jpg"), 2, "--png writes png"),
        (("ANSWER", "--labels", ""), 2, ""),
        (("ANSWER", "--grid", "9999x9999"), 2, "a grid is 1 to"),
    ],
)
def test_misuse_fails(run: Run, answer: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    result = run("read-answer", *(answer if a == "ANSWER" else a for a in arguments))
    assert (result.exit_code, message in result.stderr) == (code, True), result.stderr


def test_grids() -> None:
    assert [parse_grid(t) for t in ("16", "12x16", "1X2")] == [(16, 16), (12, 16), (1, 2)]
    for text in ("", "x", "16x", "1x2x3", "-1", "1.5", "00", "12345", "²"):
        with pytest.raises(UsageError, match="--grid is a number of cells"):
            parse_grid(text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.text(alphabet="a*| \n#123<seg>/\\é\0", max_size=60) | st.binary(max_size=40))
def test_any_answer_is_read(run: Run, answer: Path, text: str | bytes) -> None:
    answer.write_bytes(text if isinstance(text, bytes) else text.encode())
    result = run("read-answer", answer, "--grid", 2, "--json")
    assert result.exit_code in (0, 1, 3)
    assert (result.exit_code == 0) == json.loads(result.stdout)["strict"]
