"""The quick record: a loss is found and named, and noise that goes away is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import quick

RECORDED = {"top": 0.4, "words": 2.0}


def test_up_to_15_percent_more_is_no_loss() -> None:
    assert quick.losses({"top": 0.4 * 1.149, "words": 1.0}, RECORDED) == []


def test_a_loss_names_the_ratio_and_both_values() -> None:
    (line,) = quick.losses({"top": 0.4, "words": 2.4}, RECORDED)
    assert line == "words: 2.4, recorded 2: +20%"


def test_a_ratio_without_a_record_is_a_loss() -> None:
    (line,) = quick.losses({"new": 1.0}, RECORDED)
    assert "new: no record" in line


def values(*each: float) -> Callable[[quick.Bench], float]:
    left = iter(each)
    return lambda bench: next(left)


def test_a_ratio_is_measured_again_only_while_it_is_a_loss(tmp_path: Path) -> None:
    bench = quick.Bench(tmp_path)
    ratios = {"top": values(0.9, 0.41, 0.0), "words": values(2.0, 0.0)}
    assert quick.measured(ratios, bench, RECORDED) == {"top": [0.9, 0.41], "words": [2.0]}
    slow = {"words": values(3.0, 2.9, 2.8, 0.0)}
    assert quick.measured(slow, bench, RECORDED) == {"words": [3.0, 2.9, 2.8]}


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measure: Callable[[quick.Bench], float], *options: str) -> int:
    monkeypatch.setattr(quick, "RATIOS", {"top": measure})
    record = tmp_path / "recorded.json"
    argv = ["quick", "--only", "top", "--recorded", str(record), "--cache", str(tmp_path), *options]
    monkeypatch.setattr("sys.argv", argv)
    return quick.main()


def test_the_command_records_and_then_fails_on_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, monkeypatch, values(1.0, 1.2, 1.1), "--record") == 0
    record = json.loads((tmp_path / "recorded.json").read_text())
    assert record["ratios"] == {"top": 1.1}
    assert record["tries"] == {"top": [1.0, 1.2, 1.1]}
    assert {"date", "commit", "machine"} <= set(record)
    assert run(tmp_path, monkeypatch, values(1.2)) == 0
    capsys.readouterr()
    assert run(tmp_path, monkeypatch, values(1.4, 1.5, 1.3)) == 1
    assert "top: 1.3, recorded 1.1: +18%" in capsys.readouterr().err


def test_a_slower_search_is_a_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ratio itself, on few tracks: with a wait in every scan it is far above what it was."""
    import time

    from vidmem.store import scan

    monkeypatch.setattr(quick, "TRACKS", 2000)
    bench = quick.Bench(tmp_path)
    recorded = {"all": quick.search(bench, "all")}
    at_least = scan.at_least

    def slow(*arguments: object) -> object:
        time.sleep(0.002)
        return at_least(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scan, "at_least", slow)
    assert quick.losses({"all": quick.search(bench, "all")}, recorded, most=1.0)


def test_an_unknown_ratio_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["quick", "--only", "magic"])
    with pytest.raises(SystemExit):
        quick.main()
