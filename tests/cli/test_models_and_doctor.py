"""`vidmem models` and `vidmem doctor`."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from vidmem.cli import doctor as doctor_command
from vidmem.encoders import registry, shipped
from vidmem.encoders.hub import Wanted
from vidmem.errors import ModelError
from vidmem.memory import Memory

from .conftest import Run


def test_models(run: Run) -> None:
    rows = {row["name"]: row for row in json.loads(run("models", "--json").stdout)}
    assert list(rows) == registry.names()
    assert rows["tiny"]["shipped"]
    assert rows["tiny"]["default"]
    assert 1e6 < rows["tiny"]["bytes"] <= 30e6
    assert not rows["colours"]["shipped"]
    table = run("models").stdout
    assert "tiny (default)" in table
    assert "nothing to download" in table


def test_models_tells_which_weights_are_here(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bpe_simple_vocab_16e6.txt.gz").write_bytes(b"1234")
    result = run("models", "--json", "--weights", tmp_path)
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert (rows["tren"]["state"], rows["tren"]["bytes"]) == ("3 of 4 missing", 4)
    assert rows["tren"]["missing"] == ["region encoder", "DINOv3 backbone", "dino.txt text tower and vision head"]
    assert rows["tren"]["open_vocabulary"]
    assert "DINOv3 licence" in rows["tren"]["licence"]
    assert f"fetches missing weights, or says how to get them; they go to {tmp_path}" in result.stderr
    for name in ("tren_region_encoder.pth", "dinov3_vitl16_pretrain_x.pth", "x_dinotxt.pth"):
        (tmp_path / name).touch()
    assert {row["name"]: row["state"] for row in json.loads(run("models", "--json", "--weights", tmp_path).stdout)} == {
        "tiny": "shipped",
        "tren": "here",
        "patches": "here",
        "textregion": "1 of 1 missing",
        "gem": "1 of 1 missing",
        "densevlm": "1 of 1 missing",
        "clip": "1 of 1 missing",
        "colours": "nothing to download",
    }
    (tmp_path / "y_dinotxt.pth").touch()
    assert "not clear, see `pull`" in run("models", "--weights", tmp_path).stdout


def test_models_pull_does_what_it_can(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("dinov3_vitl16_pretrain_x.pth", "x_dinotxt.pth"):
        torch.save({"a": torch.zeros(1)}, tmp_path / name)
    result = run("models", "pull", "tren", "--json", "--weights", tmp_path)
    assert result.exit_code == 4
    roles = [row["role"] for row in json.loads(result.stdout)]
    assert roles == ["DINOv3 backbone", "dino.txt text tower and vision head"]
    errors = [line for line in result.stderr.splitlines() if line.startswith("vidmem: ")]
    assert len(errors) == 2
    assert "run `hf download savyak2/T-REN tren_region_encoder.pth --local-dir weights` and copy" in errors[0]
    assert "CLIP vocabulary cannot be fetched (HF_HUB_OFFLINE is set)" in errors[1]
    torch.save({"a": torch.zeros(1)}, tmp_path / "tren_region_encoder.pth")
    monkeypatch.setattr("vidmem.encoders.tren.encoder.VOCABULARY", Wanted("CLIP vocabulary", ("x_dinotxt.pth",), "MIT"))
    result = run("models", "pull", "tren", "--weights", tmp_path)
    assert result.exit_code == 0
    assert "tren_region_encoder.pth" in result.stdout


def test_a_folder_that_is_not_whole_is_not_here(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both the list and `pull` treat it as missing."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    home = tmp_path / "vit_base_patch16_clip_224.openai"
    home.mkdir()
    for _ in range(2):
        rows = {row["name"]: row for row in json.loads(run("models", "--json", "--weights", tmp_path).stdout)}
        assert (rows["gem"]["state"], rows["gem"]["missing"]) == ("1 of 1 missing", ["CLIP weights"])
        result = run("models", "pull", "gem", "--weights", tmp_path)
        assert (result.exit_code, result.stdout) == (4, "")
        assert "the CLIP weights cannot be fetched (HF_HUB_OFFLINE is set); on a machine with" in result.stderr
        (home / "open_clip_model.safetensors").touch()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("fetch", "tren"), 2, "vidmem models pull tren"),
        (("pull",), 2, "vidmem models pull tren"),
        (("pull", "tiny"), 2, "`tiny` needs no download"),
        (("pull", "tern"), 4, "did you mean 'tren'"),
        (("pull", "tren:vitx"), 4, "no DINOv3 backbone 'vitx'"),
    ],
)
def test_models_misused_fails(run: Run, arguments: tuple[str, ...], code: int, message: str) -> None:
    result = run("models", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


@pytest.mark.parametrize("command", [("index", "walk"), ("where", "mug")])
def test_missing_weights_are_one_line(run: Run, walk: Path, tmp_path: Path, command: tuple[str, str]) -> None:
    path = walk if command[0] == "index" else command[1]
    memory = Memory.open(tmp_path / "memory", encoder="colours")
    memory.close()
    result = run(command[0], path, "--encoder", "tren", "--weights", tmp_path, "-m", tmp_path / "memory")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.count("\n") == 1
    assert "is missing" in result.stderr


@pytest.fixture
def checks(run: Run, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the doctor with the fake encoder; returns the exit code and the checks by name."""
    monkeypatch.setattr("vidmem.encoders.DEFAULT", "colours")

    def call(*args: object) -> tuple[int, dict[str, Any]]:
        result = run("doctor", "--json", *args)
        return result.exit_code, {row["check"]: row for row in json.loads(result.stdout)}

    return call


def test_doctor(checks: Any, run: Run, indexed: Path) -> None:
    code, rows = checks("-m", indexed)
    assert code == 0
    assert all(row["ok"] for row in rows.values())
    names = {"vidmem", "python", "onnxruntime", "av", "faiss-cpu", "sqlite", "device", "encoder", "memory"}
    assert names <= rows.keys()
    assert "CPUExecutionProvider" in rows["device"]["found"]
    assert re.fullmatch(r"[\d.]+", rows["onnxruntime"]["found"])
    assert rows["torch"]["found"] == torch.__version__
    assert "with torch." not in rows["torch device"]["found"]
    assert {f"codec {name}" for name in ("h264", "hevc", "vp9", "av1")} <= rows.keys()
    assert "1 source, 4 tracks" in rows["memory"]["found"]
    assert run("doctor", "-m", indexed).stdout.count("ok  ") == len(rows)


def test_doctor_says_nothing_of_torch_where_it_is_not(
    checks: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("vidmem.cli.doctor.find_spec", lambda name: None)
    code, rows = checks("-m", tmp_path / "none")
    assert code == 0
    assert not [name for name in rows if "torch" in name]


def test_doctor_tells_of_providers_that_wait_to_be_asked_for(
    checks: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = ["CoreMLExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: there)
    _, rows = checks("-m", tmp_path / "none")
    assert rows["device"]["found"].startswith("CPUExecutionProvider, ")
    assert rows["device"]["found"].endswith("; also available: CoreMLExecutionProvider")


def test_doctor_runs_the_networks(monkeypatch: pytest.MonkeyPatch, run: Run, tmp_path: Path) -> None:
    """The doctor loads weights that are otherwise read on first use."""
    real = shipped.shipped

    def damaged(name: str) -> bytes:
        if name == "tiny-views.onnx":
            raise ModelError("the weights of `tiny` are damaged; reinstall vidmem")
        return real(name)

    monkeypatch.setattr("vidmem.encoders.tiny.views.shipped", damaged)
    result = run("doctor", "-m", tmp_path / "none")
    assert result.exit_code == 4
    assert "encoder: the weights of `tiny` are damaged; reinstall vidmem" in result.stderr


def test_doctor_without_a_memory(checks: Any, tmp_path: Path) -> None:
    code, rows = checks("-m", tmp_path / "none")
    assert code == 0
    assert "none yet" in rows["memory"]["found"]
    (tmp_path / "file").touch()
    code, rows = checks("-m", tmp_path / "file" / "below")
    assert code == 4
    assert "is a file" in rows["memory"]["remedy"]


def test_doctor_tells_what_is_broken(checks: Any, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(spec: str) -> None:
        raise ModelError("the weights are damaged; reinstall vidmem")

    def import_module(name: str) -> Any:
        if name == "faiss":
            raise ImportError("libgomp.so.1 is missing")
        return importlib.import_module(name)

    monkeypatch.setattr("vidmem.encoders.load", load)
    monkeypatch.setattr(doctor_command, "import_module", import_module)
    monkeypatch.setattr(doctor_command, "CODECS", ("h264", "nosuchcodec"))
    code, rows = checks("-m", tmp_path / "none")
    assert code == 4
    broken = {name: row["remedy"] for name, row in rows.items() if not row["ok"]}
    assert broken.keys() == {"faiss-cpu", "codec nosuchcodec", "encoder"}
    assert broken["encoder"] == "the weights are damaged; reinstall vidmem"
    plain = run("doctor", "-m", tmp_path / "none")
    assert "faiss-cpu: pip install --force-reinstall faiss-cpu" in plain.stderr


def test_doctor_sees_a_damaged_memory(checks: Any, copy: Path) -> None:
    database = next(copy.glob("*.sqlite"))
    database.write_bytes(b"x" * 5000)
    code, rows = checks("-m", copy)
    assert code == 4
    assert "damaged" in rows["memory"]["remedy"]
