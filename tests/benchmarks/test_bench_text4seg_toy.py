"""The toy of masks as text: the tables hold what was measured, and the whole benchmark runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import text4seg_toy as toy


def test_a_table_shows_numbers_shortly_and_marks_what_is_missing() -> None:
    text = toy.markdown(("a", "b"), [("x", 0.12345), ("y", float("nan")), ("z", 512.3)])
    assert text.splitlines() == ["| a | b |", "| --- | --- |", "| x | 0.123 |", "| y | - |", "| z | 512 |"]


def test_targets_are_for_the_main_runs_on_the_held_out_questions() -> None:
    part = {"ciou_of_ceiling": 0.6, "scores": {"strict": 0.98, "absent": 0.96}}
    rows = [{"run": name, "sets": {"held out": part, "pairs never asked": {}}} for name in ("8x8", "8x8 full, short")]
    found = toy.wanted(rows)
    assert {name: row["met"] for name, row in found.items()} == {
        "8x8 ciou_of_ceiling": True,
        "8x8 strict": False,
        "8x8 absent": True,
    }


@pytest.mark.slow
def test_the_whole_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "toy.json"
    assert toy.main(["--quick", "--out", str(out), "--cache", str(tmp_path)]) == 0
    result = json.loads(out.read_text("utf-8"))
    assert [row["run"] for row in result["rows"]] == [*toy.MAIN, *toy.SHORT]
    main = result["rows"][0]
    assert main["constrained"]["untaught_head_constrained"]["scores"]["strict"] == 1
    assert main["sets"]["held out"]["empty"]["absent"] == 1
    rows, image, full = main["layouts"]
    assert image["tokens"] < rows["tokens"] < full["tokens"]
    assert Image.open(tmp_path / "toy-4-rows.png").width > 1000
    assert "| 16x16 | pairs never asked |" in capsys.readouterr().out
    # What is trained is kept: a second time only measures.
    assert toy.main(["--quick", "--out", str(out), "--cache", str(tmp_path), "--only", "8x8"]) == 0
