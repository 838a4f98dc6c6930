"""`vidmem eval supermemory` on a small set in the published layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import fakes
import pytest
from evaluation import supermemory_set as made

from vidmem.cli.eval import common
from vidmem.encoders import registry


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return made.write(tmp_path_factory.mktemp("supermemory"))


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> fakes.Colours:
    encoder = fakes.Colours()
    monkeypatch.setattr(common, "load", lambda *_, **__: encoder)
    return encoder


def evaluate(run: Any, files: tuple[Path, Path], out: Path, *options: object) -> Any:
    return run("eval", "supermemory", *files, "--encoder", "colours", "--out", out, *options)


def report(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "report.json").read_text())
    return found


def lines(out: Path) -> dict[str, Any]:
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()[1:]]
    return {row["key"]: row["result"] for row in rows}


def test_the_report(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    result = evaluate(run, files, tmp_path, "--json")
    assert result.exit_code == 0, result.stderr
    written = report(tmp_path)
    assert json.loads(result.stdout) == written
    found = written["figures"]["all"]
    assert found["retrieval"]["questions"] == 3
    assert found["retrieval"]["hit"]["1"] == 1.0
    assert found["retrieval"]["iou"]["1"] > 0.9
    assert (found["abstention"]["answerable"], found["abstention"]["unanswerable"]) == (3, 2)
    assert found["abstention"]["accuracy"] == found["abstention"]["auroc"] == 1.0
    assert written["figures"]["evidence seen"]["retrieval"]["questions"] == 2
    page = (tmp_path / "report.md").read_text()
    assert page.startswith("## SuperMemory-VQA, evidence and abstention, 5 questions\n")
    assert "| colours, all | 100.0 |" in page
    assert "Not the benchmark's own metrics" in page


def test_only_what_was_recorded_before_is_searched(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    evaluate(run, files, tmp_path)
    found = lines(tmp_path)
    # Red is in the first recording, and in the second one after the question.
    assert [window[0] for window in found["1"]["windows"]] == [made.FIRST]
    # Blue comes after the question, and in the second recording never.
    assert not found["2"]["found"]
    assert all(window[2] <= 3 for window in found["2"]["windows"])
    assert {window[0] for window in found["3"]["windows"][:2]} == {made.FIRST, made.SECOND}


def test_a_run_that_stops_goes_on_as_one_that_did_not(
    run: Any, files: tuple[Path, Path], tmp_path: Path, seen: fakes.Colours
) -> None:
    assert evaluate(run, files, tmp_path / "out", "--limit", 2).exit_code == 0
    again = evaluate(run, files, tmp_path / "out")
    assert "2 questions done before; going on" in again.stderr
    seen.seen = 0
    evaluate(run, files, tmp_path / "whole")
    assert seen.seen > 0
    one, two = report(tmp_path / "out"), report(tmp_path / "whole")
    assert (one["figures"], one["notes"]) == (two["figures"], two["notes"])


def test_one_person(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    assert evaluate(run, files, tmp_path, "--person", 2).exit_code == 0
    assert report(tmp_path)["figures"]["all"]["retrieval"]["questions"] == 1
    assert sorted(path.name for path in (tmp_path / "memories").iterdir()) == ["person_2"]
    none = evaluate(run, files, tmp_path / "none", "--person", 9)
    assert (none.exit_code, "no question about person 9" in none.stderr) == (4, True)


def test_missing_and_damaged_recordings_are_named(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    videos = tmp_path / "video"
    shutil.copytree(files[1], videos)
    (videos / "Person_1" / f"{made.SECOND}.mp4").unlink()
    (videos / "Person_2" / f"{made.OTHER}.mp4").write_bytes(b"no film")
    result = evaluate(run, (files[0], videos), tmp_path / "out")
    assert result.exit_code == 4  # every question may use one of them
    assert f"put {made.SECOND}.mp4 there: {videos}" in result.stderr
    shutil.copy(files[1] / "Person_1" / f"{made.SECOND}.mp4", videos)  # the folder itself will do
    result = evaluate(run, (files[0], videos), tmp_path / "out")
    assert result.exit_code == 3
    assert "left out, 5: " in result.stderr
    assert report(tmp_path / "out")["figures"]["all"]["retrieval"]["questions"] == 2
    shutil.copytree(files[1], videos, dirs_exist_ok=True)
    last = evaluate(run, (files[0], videos), tmp_path / "out")
    assert last.exit_code == 0, last.stderr


def test_words_that_the_encoder_does_not_know_find_nothing(
    run: Any, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "load", registry.load)
    result = run("eval", "supermemory", *files, "--limit", 1, "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert report(tmp_path)["figures"]["all"]["abstention"]["accuracy"] in (0.0, 1.0)


def test_what_cannot_be_is_refused(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    assert "no such folder of videos" in evaluate(run, (files[0], tmp_path / "no"), tmp_path / "a").stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    none = evaluate(run, (files[0], empty), tmp_path / "b")
    assert (none.exit_code, "no recording is there, such as Person_1_session_1" in none.stderr) == (4, True)
    foreign = tmp_path / "coco.json"
    foreign.write_text('{"images": []}')
    assert "is a list of questions" in evaluate(run, (foreign, files[1]), tmp_path / "c").stderr
