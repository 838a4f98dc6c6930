"""The comparison with other ways of searching: it runs on few tracks, and its sums are right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import peers, truth
from benchmarks.common import markdown, put_into, slope
from needs import needs

needs("matplotlib")


def test_the_slope_of_a_power() -> None:
    assert slope([(x, 3 * x**1.5) for x in (1, 10, 100)]) == pytest.approx(1.5)
    assert slope([(10, 2), (1000, 2)]) == pytest.approx(0)


def test_a_markdown_table() -> None:
    assert markdown(["a", "b"], [["x", 0.5], ["y", None]]) == "| a | b |\n|---|---|\n| x | 0.5 |\n| y | - |"


def test_a_table_is_put_into_its_place_in_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\n<!-- x -->\n\nold\n\n<!-- end of x -->\n\nB\n")
    for _ in range(2):
        put_into(page, "x", "new\n")
        assert page.read_text() == "# A\n\n<!-- x -->\n\nnew\n\n<!-- end of x -->\n\nB\n"
    with pytest.raises(ValueError, match="no <!-- y -->"):
        put_into(page, "y", "new")


def test_a_ratio_is_taken_round_by_round() -> None:
    ours = [1.0] * 10 + [2.0] * 10  # the machine slows down in the middle, for both
    theirs = [3.0] * 10 + [6.0] * 10
    assert peers.ratio(ours, theirs) == {"median": 3, "least": pytest.approx(3), "most": pytest.approx(3)}


def test_all_rows_within_reach_of_the_tenth_best_count(tmp_path: Path) -> None:
    half = np.eye(4, 3, dtype=np.float16)
    half[3] = (1, 1e-3, 0)
    np.save(tmp_path / "v.npy", half)
    question = np.array([[1, 0, 0]], np.float32)
    assert truth.top_cosines(tmp_path / "v.npy", question, 1, 1e-4) == [{0, 3}]
    assert truth.top_cosines(tmp_path / "v.npy", question, 9, 0) == [{0, 1, 2, 3}]


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> dict[str, Any]:
    monkeypatch.setattr(peers, "CLIPS", tmp_path / "none")
    monkeypatch.setattr(peers, "QUESTIONS", 10)
    monkeypatch.setattr(peers, "CHECKS", 3)
    out = tmp_path / "peers.json"
    monkeypatch.setattr("sys.argv", ["peers", "--out", str(out), "--cache", str(tmp_path), "--threads", "1", *options])
    assert peers.main() == 0
    result: dict[str, Any] = json.loads(out.read_text())
    return result


@pytest.mark.slow
def test_two_ways_on_few_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(tmp_path, monkeypatch, "--sizes", "300,600", "--ways", "faiss flat,numpy fp32")
    rows = {(row["tracks"], row["way"], row["operation"]): row for row in result["rows"]}
    for tracks in (300, 600):
        for way in ("vidmem", "faiss flat", "numpy fp32"):
            assert rows[tracks, way, "top"]["recall"] == 1
        flat = rows[tracks, "faiss flat", "top"]
        assert flat["ratio"]["least"] <= flat["ratio"]["median"] <= flat["ratio"]["most"]
        assert 512 <= flat["disk_bytes_a_track"] < 520  # 128 numbers of 4 bytes, and a header
        assert rows[tracks, "vidmem", "likely"]["p50_ms"] > 0
    assert {(s["way"], s["operation"]) for s in result["slopes"]} == {(way, op) for _, way, op in rows}
    assert "| vidmem: where |" in (tmp_path / "peers.md").read_text()
    assert (tmp_path / "peers.png").stat().st_size > 1000


@pytest.mark.slow
def test_usearch_answers_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("usearch")
    result = run(tmp_path, monkeypatch, "--sizes", "300", "--ways", "usearch exact,usearch HNSW")
    recall = {row["way"]: row["recall"] for row in result["rows"] if row["operation"] == "top"}
    assert recall["usearch exact"] == 1
    assert recall["usearch HNSW"] > 0.8


def test_an_unknown_way_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["peers", "--out", str(tmp_path / "x.json"), "--ways", "magic"])
    with pytest.raises(SystemExit):
        peers.main()
