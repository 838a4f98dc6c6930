"""The benchmark of the first pass runs on few tracks, and checks every answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import first_pass
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
