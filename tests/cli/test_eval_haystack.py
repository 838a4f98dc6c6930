"""`vidmem eval haystack` on a small set in the published layout: report, plot, resuming, missing pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fakes
import pytest
from fakes import photo

from needs import needs
from vidmem.cli.eval import common
from vidmem.encoders import registry

PICTURES = {
    "a": ("red", "blue"),
    "b": ("green", "yellow"),
    "c": ("cyan",),
    "d": ("magenta", "white"),
    "e": ("brown",),
}
QUESTIONS = [("a", "red", "blue", "yes"), ("b", "green", "blue", "no"), ("d", "white", "magenta", "yes")]


def question(holding: str, anchor: str, target: str, said: str, others: str) -> dict[str, Any]:
    return {
        "pos_image": [f"val2017/{holding}.png"],
        "neg_image": [f"val2017/{name}.png" for name in others],
        "needle": anchor,
        "target": target,
        "conversations": [
            {"from": "human", "value": f"For the image with a {anchor}, is there a {target}?"},
            {"from": "gpt", "value": said},
        ],
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Questions about 1 and about 5 pictures; the pictures of COCO's folder."""
    folder = tmp_path_factory.mktemp("haystack")
    for name, colours in PICTURES.items():
        photo(folder / "coco" / "val2017" / f"{name}.png", *colours)
    asked = folder / "single_needle"
    asked.mkdir()
    alone = [question(*row, others="") for row in QUESTIONS]
    many = [question(*row, others="".join(name for name in "abcde" if name != row[0])) for row in QUESTIONS]
    (asked / "visual_haystack_oracle.json").write_text(json.dumps(alone))
    (asked / "visual_haystack_5.json").write_text(json.dumps(many))
    return asked, folder / "coco"


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> fakes.Colours:
    encoder = fakes.Colours()
    monkeypatch.setattr(common, "load", lambda *_, **__: encoder)
    return encoder


def evaluate(run: Any, files: tuple[Path, Path], out: Path, *options: object) -> Any:
    return run("eval", "haystack", *files, "--encoder", "colours", "--out", out, *options)


def report(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "report.json").read_text())
    return found


def test_the_report(run: Any, files: tuple[Path, Path], tmp_path: Path, seen: fakes.Colours) -> None:
    result = evaluate(run, files, tmp_path, "--json")
    assert result.exit_code == 0, result.stderr
    written = report(tmp_path)
    assert json.loads(result.stdout) == written
    assert [(one["pictures"], one["questions"]) for one in written["accuracy"]] == [(1, 3), (5, 3)]
    for one in written["accuracy"]:
        assert one["right"] == one["retrieved"] == {"default": 1.0, "paper": 1.0}
    assert written["cost"]["regions"] == pytest.approx(8 / 5)
    assert seen.seen == 5  # each picture once
    page = (tmp_path / "report.md").read_text()
    assert page.startswith("## Visual Haystacks, 6 questions\n")
    assert "| D=1 | D=2 | D=3 | D=5 | D=10 |" in page
    assert "| T-REN | 88.5 | 86.4 | 85.3 | 83.9 | 82.6 | 79.6 | 75.2 | 74.0 | 68.2 | 65.2 | arXiv 2604.18573" in page
    assert "| colours, rule paper | 100.0 | - | - | 100.0 | - | - | - | - | - | - | this run |" in page


def test_the_plot(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    needs("matplotlib")
    evaluate(run, files, tmp_path)
    assert report(tmp_path)["plot"] == "accuracy.png"
    assert (tmp_path / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_no_plot(
    run: Any, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidmem.evaluation.haystack_plot.can_plot", lambda: False)
    assert evaluate(run, files, tmp_path).exit_code == 0
    assert report(tmp_path)["plot"] is None
    assert not (tmp_path / "accuracy.png").exists()


def test_a_run_that_stops_goes_on_as_one_that_did_not(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    assert evaluate(run, files, tmp_path / "out", "--limit", 2).exit_code == 0
    assert "the first 2 of 6 questions" in (tmp_path / "out" / "report.md").read_text()
    again = evaluate(run, files, tmp_path / "out")
    assert "2 questions done before; going on" in again.stderr
    evaluate(run, files, tmp_path / "whole")
    one, two = report(tmp_path / "out"), report(tmp_path / "whole")
    assert one["accuracy"] == two["accuracy"]
    assert one["cost"]["regions"] == two["cost"]["regions"]


def test_a_memory_is_used_again(run: Any, files: tuple[Path, Path], tmp_path: Path, seen: fakes.Colours) -> None:
    run("index", files[1] / "val2017", "--encoder", "colours", "-m", tmp_path / "mine")
    result = evaluate(run, files, tmp_path / "out", "--memory", tmp_path / "mine")
    assert result.exit_code == 0, result.stderr
    assert seen.seen == 0
    assert report(tmp_path / "out")["cost"]["index_ms"] is None
    assert not (tmp_path / "out" / "memory").exists()


def test_missing_and_damaged_pictures_are_named(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    for name, colours in PICTURES.items():
        photo(tmp_path / "coco" / f"{name}.png", *colours)  # without the folder that the questions name
    (tmp_path / "coco" / "c.png").unlink()
    (tmp_path / "coco" / "e.png").write_bytes(b"no picture")
    result = evaluate(run, (files[0], tmp_path / "coco"), tmp_path / "out")
    assert result.exit_code == 3
    assert (
        "left out, visual_haystack_5/0: its pictures are not in the memory: val2017/c.png and 1 more" in result.stderr
    )
    assert [one["questions"] for one in report(tmp_path / "out")["accuracy"]] == [3]
    for name in "ce":
        photo(tmp_path / "coco" / f"{name}.png", *PICTURES[name])
    assert evaluate(run, (files[0], tmp_path / "coco"), tmp_path / "out").exit_code == 0
    assert [one["questions"] for one in report(tmp_path / "out")["accuracy"]] == [3, 3]


def test_words_that_the_encoder_does_not_know(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "visual_haystack_5.json"
    path.write_text(
        json.dumps([question("a", "red", "zebra", "no", "bcd"), question("a", "red", "blue", "yes", "bcd")])
    )
    result = evaluate(run, (path, files[1]), tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "the encoder does not know zebra" in result.stderr
    (found,) = report(tmp_path / "out")["accuracy"]
    assert found["right"] == {"default": 0.5, "paper": 0.5}
    assert found["not_found"] == {"default": 0.5, "paper": 0.5}


def test_tiny_answers(run: Any, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "load", registry.load)
    result = run("eval", "haystack", files[0] / "visual_haystack_5.json", files[1], "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    (found,) = report(tmp_path)["accuracy"]
    assert (found["pictures"], found["questions"]) == (5, 3)


def test_what_cannot_be_is_refused(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    def fails(questions: Path, images: Path) -> str:
        result = evaluate(run, (questions, images), tmp_path / f"out {questions.name}")
        assert result.exit_code == 4
        return str(result.stderr)

    assert "has no visual_haystack_N.json" in fails(tmp_path, files[1])
    assert "the questions cannot be read" in fails(tmp_path / "none.json", files[1])
    assert "no such folder of pictures" in fails(files[0], tmp_path / "none")
    assert "none of the 5 pictures is there, such as val2017/a.png" in fails(files[0], tmp_path)
    outside = question("a", "red", "blue", "yes", "")
    outside["pos_image"] = ["../val2017/a.png"]
    path = tmp_path / "visual_haystack_1.json"
    path.write_text(json.dumps([outside]))
    assert "none of the 1 pictures is there" in fails(path, files[1] / "val2017")
