"""The benchmark of the first pass runs on few tracks, and checks every answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import first_cells, first_pass
from needs import needs

needs("matplotlib")


def test_it_runs_on_few_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "first.json"
    monkeypatch.setattr(
        sys, "argv", ["first_pass", "--out", str(out), "--sizes", "500,1000", "--wide", "300", "--questions", "5"]
    )
    assert first_pass.main() == 0
    result = json.loads(out.read_text())
    assert len(result["rows"]) == (2 + 1) * len(first_pass.KINDS) * (len(first_pass.THRESHOLDS) + 1)
    assert {row["bytes_a_vector"] for row in result["rows"]} == {48, 88}
    assert all(0 <= way["recall"] <= 1 for way in result["others"])
    assert not result["met"]["five times flat fp32 at a million"]  # nobody measured a million
    assert out.with_suffix(".png").stat().st_size > 1000


def test_another_answer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    half = first_pass.vectors("clumps", 300, 16)
    ways = first_pass.Ways(half, 1)
    (asked,) = first_pass.questions(half, 1)
    first_pass.check(ways, asked, 0.5)

    def less(q: Any, threshold: float | None) -> Any:
        return ways.fp16(q, threshold)[0][1:], ways.fp16(q, threshold)[1][1:]

    monkeypatch.setattr(ways, "coded", less)
    with pytest.raises(AssertionError, match="another answer"):
        first_pass.check(ways, asked, 0.5)


def test_a_ratio_is_of_medians() -> None:
    ours = [1.0] * 10
    assert first_pass.ratio(ours, [3.0] * 10) == {"median": 3, "least": 3, "most": 3}
    assert np.isclose(first_pass.ratio(ours, [2.0] * 5 + [4.0] * 5)["most"], 4)


@pytest.mark.parametrize("kind", first_pass.KINDS)
@pytest.mark.parametrize("aside", [0.0, first_cells.STRAYS])
def test_no_vector_that_answers_lies_in_a_cell_that_is_not_visited(kind: str, aside: float) -> None:
    half = first_pass.vectors(kind, 3000, 24)
    asked = first_pass.questions(half, 20)
    centres, cell, near = first_cells.shared_out(half, 200)
    radius, sizes = first_cells.radii(cell, near, 200, aside)
    counted = np.bincount(cell, minlength=200)
    assert (sizes <= counted).all()
    assert (counted - sizes <= aside * counted).all()
    angles = np.arccos(np.clip(asked @ centres.T, -1, 1))
    left = 0
    for threshold in first_cells.THRESHOLDS:
        visit = angles - radius <= np.arccos(threshold)
        inside = np.arccos(np.clip(near, -1, 1)) <= radius[cell] + 1e-6  # those that are not kept aside
        assert (counted - np.bincount(cell[inside], minlength=200) <= counted - sizes).all()
        for q, cells in zip(asked, visit, strict=True):
            answers = half.astype(np.float32) @ q > threshold + 1e-3
            assert not (answers & inside & ~cells[cell]).any()
            left += int((~cells[cell]).sum())
    assert left  # some cells are not visited


def test_cells_are_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "cells.json"
    argv = ["first_pass", "--out", str(out), "--cells", "500,1000", "--questions", "5", "--clips", str(tmp_path / "no")]
    monkeypatch.setattr(sys, "argv", argv)
    assert first_pass.main() == 0
    result = json.loads(out.read_text())
    assert len(result["measured"]) == 2 * len(first_pass.KINDS) * len(first_cells.THRESHOLDS)
    assert all(row["found"] <= row["read"] <= 1 for row in result["measured"])
    assert {row["vectors"] for row in result["beyond"]} == {10**7, 10**8}
    assert all(row["on the line"]["read"] <= 1 for row in result["beyond"])


def test_bytes_that_cells_spare() -> None:
    spared = first_cells.cost(1_000_000, 4000, 256, 0.1)
    assert spared["MB without"] == 40
    assert np.isclose(spared["MB with cells"], 4000 * 512 / 1e6 + 4)
