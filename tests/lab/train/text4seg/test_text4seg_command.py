"""`python -m lab.train text4seg`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import talking

from lab.train.__main__ import main
from needs import needs
from vidmem.vlm.local import load

Run = Callable[..., Any]
Folder = Callable[..., Path]
SMALL = (
    *("--steps", 2, "--batch", 2, "--rank", 4, "--alpha", 8, "--max-length", 256, "--log-every", 1),
    *("--checkpoint-every", 1, "--workers", 0, "--no-tensorboard", "--device", "cpu", "--precision", "fp32"),
)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `python -m lab.train text4seg` in this process; has exit_code, stdout, stderr."""

    def call(*args: object) -> Any:
        code = main(["text4seg", *[str(a) for a in args]])
        out = capsys.readouterr()
        return SimpleNamespace(exit_code=code, stdout=out.out, stderr=out.err)

    return call


def test_train(run: Run, tiny: Folder, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ("--data", data, "--model", tiny(), "--out", out, *SMALL)
    result = run(*given, "--merge", "--held-out", data / "data.jsonl", "--held-out-records", 2)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [str(out / "adapter"), str(out / "merged")]
    for folder in ("adapter", "merged"):
        assert load(out / folder, "cpu").kind == "llava"
    assert "4 records, 2 steps; answers of" in result.stderr
    assert '"*12" is 3 tokens' in result.stderr
    assert "rows: several records a row, up to 256 tokens" in result.stderr
    assert "step 2 of 2  loss" in result.stderr
    assert "held out: loss" in result.stderr
    figures = json.loads((out / "held_out.json").read_text())
    assert figures["records"] == figures["masks"] == 2
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()] == [1, 2]

    again = run(*given)
    assert again.exit_code == 2
    assert "--resume" in again.stderr
    before = (out / "adapter" / "adapter_model.safetensors").read_bytes()
    assert run(*given, "--resume").exit_code == 0
    assert (out / "adapter" / "adapter_model.safetensors").read_bytes() == before
    other = run(*given, "--resume", "--lr", 1)
    assert other.exit_code == 2
    assert "lr (0.0002, now 1.0)" in other.stderr
    on_adapter = run("--data", data, "--model", out / "adapter", "--out", tmp_path / "more", *SMALL)
    assert on_adapter.exit_code == 2
    assert "the model is an adapter" in on_adapter.stderr
    more = run("--data", data, "--model", out / "merged", "--out", tmp_path / "more", *SMALL, "--pack", "off")
    assert more.exit_code == 0
    assert "rows: one record a row, as asked for" in more.stderr


def test_records_that_are_left_out_are_reported(run: Run, tiny: Folder, tmp_path: Path) -> None:
    folder = talking.data(tmp_path / "data", 3)
    (folder / "1.png").unlink()
    result = run("--data", folder, "--model", tiny(), "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 3
    assert "1 records were left out" in result.stderr
    assert "skipped.jsonl" in result.stderr
    (line,) = (tmp_path / "out" / "skipped.jsonl").read_text().splitlines()
    assert json.loads(line)["record"].endswith("data.jsonl:2")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--pack", "maybe"), 2, "--pack is one of auto, on, off"),
        (("--connector", "glue"), 2, "--connector is one of lora, full, frozen"),
        (("--rank", 0), 2, "--rank is at least 1"),
        (("--resume",), 2, "no training to resume"),
        (("--device", "abacus"), 2, "abacus"),
        (("--max-length", 20), 4, "none of the 4 records can be used"),
        (("--max-length", 40, "--pack", "on"), 2, "cannot take packed rows"),
        (("--held-out", "nowhere.jsonl"), 4, "nowhere.jsonl"),
        (("--optimizer", "adamw8bit"), 4, "pip install bitsandbytes"),
    ],
)
def test_train_fails(
    run: Run,
    tiny: Folder,
    data: Path,
    tmp_path: Path,
    options: tuple[object, ...],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    result = run("--data", data, "--model", tiny(), "--out", tmp_path / "out", *SMALL, *options)
    assert result.exit_code == code, result.stderr
    assert message in result.stderr
    assert not (tmp_path / "out" / "adapter").exists()


def test_train_fails_on_models_and_data(run: Run, tiny: Folder, data: Path, tmp_path: Path) -> None:
    needs("peft")
    bare = talking.with_template(tiny(), None, tmp_path / "bare")
    for model, message in ((tmp_path / "none", "does not exist"), (data, "no config.json"), (bare, "no chat template")):
        result = run("--data", data, "--model", model, "--out", tmp_path / "out", *SMALL)
        assert result.exit_code == 4
        assert message in result.stderr
    (tmp_path / "file").touch()
    result = run("--data", data, "--model", tiny(), "--out", tmp_path / "file" / "out", *SMALL)
    assert result.exit_code == 4
    assert "cannot be made (Not a directory)" in result.stderr
    (tmp_path / "bad.jsonl").write_text("{}\n")
    result = run("--data", tmp_path / "bad.jsonl", "--model", tiny(), "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 4
    assert "line 1 is not a record" in result.stderr


def test_strange_names_are_left_out(run: Run, tiny: Folder, tmp_path: Path) -> None:
    folder = talking.data(tmp_path / "data", 2)
    strange = [talking.record(0, images=[name]) for name in ("x" * 300 + ".jpg", "\ud800.png")]
    talking.write(folder / "data.jsonl", [talking.record(0), *strange, talking.record(1)])
    result = run("--data", folder, "--model", tiny(), "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 3
    assert "2 records were left out" in result.stderr
    lines = (tmp_path / "out" / "skipped.jsonl").read_text("utf-8").splitlines()
    assert any("\ud800.png" in json.loads(line)["reason"] for line in lines)


def test_held_out_records_are_checked_first(run: Run, tiny: Folder, data: Path, tmp_path: Path) -> None:
    held = talking.data(tmp_path / "held", 2)
    (held / "0.png").unlink()
    given = ("--data", data, "--model", tiny(), "--held-out", held, "--merge", *SMALL)
    result = run(*given, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "1 held-out records were left out" in result.stderr
    assert (tmp_path / "out" / "merged").is_dir()
    (held / "1.png").unlink()
    result = run(*given, "--out", tmp_path / "other")
    assert result.exit_code == 4
    assert "none of the 2 held-out records can be used" in result.stderr
    assert not (tmp_path / "other").exists()


def test_another_template_is_another_model(run: Run, tiny: Folder, data: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny(), model)
    given = ("--data", data, "--model", model, "--out", tmp_path / "out", *SMALL)
    assert run(*given).exit_code == 0
    with (model / "chat_template.jinja").open("a") as stream:
        stream.write("{# new #}")
    result = run(*given, "--resume")
    assert result.exit_code == 2
    assert "differs in base" in result.stderr


def test_the_folder_of_a_training_is_apart_from_its_data(run: Run, tmp_path: Path) -> None:
    folder = talking.data(tmp_path / "data", 2)
    for out in (folder, folder / "out"):
        for given in (("--data", folder), ("--data", folder / "data.jsonl", "--held-out", folder)):
            result = run(*given, "--model", tmp_path / "model", "--out", out, *SMALL)
            assert result.exit_code == 2
            assert "--out lies in a folder of data" in result.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--batch", 0), 2, "--batch is at least 1"),
        (("--epochs", 1e308), 2, "--epochs of 1e+308 are more"),
        (("--model", "x" * 300), 4, "File name too long"),
        (("--data", "x" * 300), 4, "the data is missing"),
    ],
)
def test_extreme_values_fail(
    run: Run, data: Path, tmp_path: Path, options: tuple[object, ...], code: int, message: str
) -> None:
    result = run("--data", data, "--model", tmp_path, "--out", tmp_path / "out", "--device", "cpu", *options)
    assert result.exit_code == code, result.stderr
    assert message in result.stderr
