"""The proof of DenseVLM at toy scale: it runs end to end, continues exactly, and says whether its claims are met."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from needs import needs
from vidmem.encoders.torchvision_compat import ready

ready()
needs("open_clip")
needs("matplotlib")

from benchmarks import densevlm_toy as toy  # noqa: E402


def ran(folder: Path, *more: str) -> dict[str, Any]:
    out = folder / "toy.json"
    assert toy.main(["--quick", "--out", str(out), "--work", str(folder / "work"), *more]) == 0
    result: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return result


@pytest.mark.slow
def test_it_runs_and_continues_with_the_same_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = ran(tmp_path, "--seeds", "0", "1", "--copy")
    assert list(whole["rows"]) == [
        "student",
        "teacher",
        *toy.ARMS,
        "coupled, copy as teacher",
        "decoupled, copy as teacher",
    ]
    for rows in whole["seeds"].values():
        for figures in rows.values():
            assert all(0 <= figures[key] <= 1 for key in toy.TITLES)
            for name in ("boxes", "masks_thing", "masks_stuff"):
                assert figures[name + "_top1"] <= figures[name + "_top5"]
        assert len({json.dumps({**figures, "seconds": 0}) for figures in rows.values()}) > 4  # the arms differ
    assert whole["differences"]["decoupled - coupled"]["masks_stuff_top1"]["mean"] == pytest.approx(
        whole["rows"]["decoupled"]["masks_stuff_top1"]["mean"] - whole["rows"]["coupled"]["masks_stuff_top1"]["mean"]
    )
    assert (tmp_path / "toy.png").stat().st_size > 10_000
    assert "| decoupled | things | all |" in (tmp_path / "toy.md").read_text("utf-8")
    (tmp_path / "work" / "seed-1" / "decoupled.safetensors").unlink()  # as if it had been interrupted there
    capsys.readouterr()
    again = ran(tmp_path, "--seeds", "0", "1", "--copy", "--resume")
    without_times = [
        {seed: {name: {**f, "seconds": 0} for name, f in rows.items()} for seed, rows in result["seeds"].items()}
        for result in (whole, again)
    ]
    assert without_times[0] == without_times[1]


def test_the_interval_is_students() -> None:
    found = toy.interval([0.1, 0.2, 0.3])
    assert found["mean"] == pytest.approx(0.2)
    assert found["half"] == pytest.approx(4.303 * 0.1 / 3**0.5)
    assert (found["least"], found["largest"]) == (0.1, 0.3)
    assert toy.interval([0.5])["half"] is None


def figures(**known: float) -> dict[str, float]:
    return dict.fromkeys(toy.TITLES, 0.5) | known


def summary(**decoupled: float) -> dict[str, Any]:
    rows = {
        "student": figures(),
        "teacher": figures(masks_thing_top1=0.9, masks_stuff_top1=0.95),
        "coupled": figures(masks_thing_top1=0.6, masks_stuff_top1=0.6),
        "decoupled": figures(**decoupled),
    }
    return toy.summarised({0: rows, 1: rows})


def missed(thing: float, stuff: float) -> list[str]:
    claims = toy.wanted(summary(masks_thing_top1=thing, masks_stuff_top1=stuff))
    return [name for name, row in claims.items() if not row["met"]]


def test_claims_are_met_or_missed() -> None:
    assert missed(0.6, 0.7) == []
    assert missed(0.59, 0.7) == ["decoupled not below coupled in Masks-T"]
    assert missed(0.7, 0.6) == ["decoupled above coupled in Masks-S"]


def test_the_table_pairs_differences_by_seed() -> None:
    text = toy.as_markdown(summary(masks_thing_top1=0.6, masks_stuff_top1=0.75))
    assert "| decoupled - coupled |" in text
    assert "+0.15 ± .00 (+0.15 to +0.15)" in text
