"""python -m lab.train densevlm."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dense_making as making
import numpy as np
import pytest
import torch
from encoders import clip_folder
from safetensors.torch import load_file

from lab.train import checkpoint
from lab.train.__main__ import main
from lab.train.densevlm.command import duration, read_names
from lab.train.logs import Log
from vidmem.errors import MediaError, UsageError

Run = Callable[..., Any]
ROOT = Path(__file__).parents[4]
OPTIONS: tuple[object, ...] = (
    *("--size", 48, "--batch", 2, "--steps", 6, "--warmup", 2, "--lr", 1e-3, "--threshold", 0, "--prompts", "plain"),
    *("--precision", "fp32", "--log-every", 1, "--checkpoint-every", 1, "--workers", 0),
    *("--no-tensorboard", "--device", "cpu"),
)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `python -m lab.train densevlm` in this process; has exit_code, stdout, stderr."""

    def call(*args: object) -> Any:
        code = main(["densevlm", *map(str, args)])
        out = capsys.readouterr()
        return SimpleNamespace(exit_code=code, stdout=out.out, stderr=out.err)

    return call


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, pictures and names."""
    clip_folder.required()
    folder = tmp_path_factory.mktemp("place")
    making.models(folder)
    making.pictures(folder / "pictures")
    (folder / "things.txt").write_text("# ours\ncup\ndog\n\nchair\ncup\n")
    (folder / "stuff.txt").write_text("sky\ngrass\n")
    return folder


def given(place: Path, out: Path, *more: object) -> list[object]:
    models = ("--student", f"local-dir:{place / 'student'}", "--teacher", f"local-dir:{place / 'teacher'}")
    names = ("--things", place / "things.txt", "--stuff", place / "stuff.txt")
    return ["--data", place / "pictures", *models, *names, "--out", out, *OPTIONS, *more]


def test_train(run: Run, place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(*given(place, out))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == str(out / "model")
    lines = result.stderr.splitlines()
    assert "1 names are there more than once and count once, such as 'cup'" in lines
    assert "6 pictures, 3 things and 2 stuff, 6 steps on cpu; student 48 pixels, teacher 50" in result.stderr, (
        result.stderr
    )
    (last,) = [line for line in lines if line.startswith("step 6 of 6")]
    for part in ("loss ", "kept 1.00", "agree ", " pictures/s", "whole training "):
        assert part in last
    again = run(*given(place, out))
    assert again.exit_code == 2
    assert "continue it with --resume" in again.stderr
    assert run(*given(place, out, "--resume")).exit_code == 0

    from vidmem.encoders import load, load_text

    assert load_text(f"clip:local-dir:{out / 'model'}").encode_text(["a cup"]).shape == (1, 24)
    encoder = load(f"densevlm:local-dir:{out / 'model'},side=64", device="cpu")
    (regions,) = encoder.encode([np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)], 64, 48)
    assert regions.text.shape[1] == 24


@pytest.mark.slow
def test_a_killed_training_goes_on_where_it_was(run: Run, place: Path, tmp_path: Path) -> None:
    """SIGKILL after the third step, then --resume: the files of an uninterrupted training, bit for bit."""
    assert run(*given(place, tmp_path / "whole")).exit_code == 0
    command = [sys.executable, "-m", "lab.train", "densevlm", *map(str, given(place, tmp_path / "cut"))]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step 3 of 6"):
                process.send_signal(signal.SIGKILL)
                break
        process.stderr.read()
        assert process.wait() == -signal.SIGKILL
    assert (tmp_path / "cut" / checkpoint.FILE).exists()
    assert not (tmp_path / "cut" / "model").exists()
    assert run(*given(place, tmp_path / "cut", "--resume")).exit_code == 0
    for file in (checkpoint.FILE, f"model/{clip_folder.WEIGHTS}"):
        whole, cut = (load_file(tmp_path / name / file) for name in ("whole", "cut"))
        assert whole.keys() == cut.keys()
        assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert (tmp_path / "whole" / "log.jsonl").read_text() == (tmp_path / "cut" / "log.jsonl").read_text()


def test_damaged_pictures_are_named_once(run: Run, place: Path, tmp_path: Path) -> None:
    folder = making.pictures(tmp_path / "pictures")
    (folder / "0.png").write_bytes(b"none")
    result = run(*given(place, tmp_path / "out"), "--data", folder)
    assert result.exit_code == 3
    assert result.stdout.strip() == str(tmp_path / "out" / "model")
    named = [line for line in result.stderr.splitlines() if str(folder / "0.png") in line]
    assert len(named) == 1
    assert named[0].startswith("a picture cannot be read and is left out (cannot identify image file")
    assert "1 of 12 pictures could not be read" in result.stderr


def test_the_users_model_is_not_replaced(run: Run, place: Path, tmp_path: Path) -> None:
    base = tmp_path / "out" / "model"
    shutil.copytree(place / "student", base)
    before = {path.name: path.read_bytes() for path in base.iterdir()}
    result = run(*given(place, tmp_path / "out", "--student", f"local-dir:{base}"))
    assert result.exit_code == 2
    assert "the training would replace model, which is there already" in result.stderr
    assert {path.name: path.read_bytes() for path in base.iterdir()} == before
    assert run(*given(place, base, "--student", f"local-dir:{base}", "--steps", 1)).exit_code == 0  # beside its files


def test_a_full_disk_is_one_line(run: Run, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Log, step: int, values: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Log, "write", full)
    result = run(*given(place, tmp_path / "out"))
    assert result.exit_code == 4
    assert "the training cannot be written (No space left on device)" in result.stderr.splitlines()[-1]


def test_seeds_up_to_the_largest(run: Run, place: Path, tmp_path: Path) -> None:
    assert run(*given(place, tmp_path / "out", "--steps", 1, "--seed", 2**31 - 1)).exit_code == 0
    result = run(*given(place, tmp_path / "other", "--seed", 2**31))
    assert (result.exit_code, "--seed" in result.stderr) == (2, True)


def test_a_long_warm_up_is_said(run: Run, place: Path, tmp_path: Path) -> None:
    result = run(*given(place, tmp_path / "out", "--steps", 1, "--warmup", 1000))
    assert "the warm-up of 1000 steps is longer than the training of 1" in result.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--alignment", "free"), 2, "--alignment is one of decoupled, coupled, apart, reversed"),
        (("--thing-columns", "none"), 2, "--thing-columns is one of paper, code"),
        (("--resume",), 2, "no training to resume"),
        (("--device", "abacus"), 2, "abacus"),
        (("--names", "nowhere.txt"), 4, "nowhere.txt"),
        (("--things", "nowhere.txt"), 4, "nowhere.txt"),
        (("--prompts", "nowhere.txt"), 4, "nowhere.txt"),
        (("--data", "nowhere"), 4, "no such folder of pictures; check the path: nowhere"),
        (("--size", 50), 2, "50 pixels is no whole number of the student's patches of 8; choose 48 or 56"),
        (("--teacher", "local-dir:nowhere"), 4, "nowhere"),
        (("--optimizer", "adamw8bit"), 4, "the optimiser with 8 bits needs"),
    ],
)
def test_train_fails(run: Run, place: Path, tmp_path: Path, options: tuple[str, ...], code: int, message: str) -> None:
    result = run(*given(place, tmp_path / "out", *options))
    assert result.exit_code == code, result.stderr
    assert message in result.stderr
    assert len(result.stderr.splitlines()[-1].split("lab.train: ")) == 2
    assert not (tmp_path / "out" / "model").exists()


def test_names_on_both_sides_are_refused(run: Run, place: Path, tmp_path: Path) -> None:
    path = tmp_path / "more.txt"
    path.write_text("Sky\n")
    result = run(*given(place, tmp_path / "out", "--things", path))
    assert result.exit_code == 2
    assert "'Sky' is both a thing and stuff" in result.stderr
    result = run("--data", place, "--student", "x", "--teacher", "y", "--out", tmp_path / "out")
    assert (result.exit_code, "give --names, or --things and --stuff" in result.stderr) == (2, True)


def test_lists_of_names(tmp_path: Path) -> None:
    both = read_names(["coco", "ade20k"], [], [])
    assert (len(both), len(both.things)) == (210, 162)
    assert both.things[:2] == ("person", "bicycle")
    with pytest.raises(UsageError, match="'curtain' and 3 more is both a thing and stuff"):
        read_names(["ade20k", "vspw"], [], [])
    mine = tmp_path / "mine.txt"
    mine.write_text("kettle\nsteam\tstuff\na|b *2\tthing\n")
    names = read_names([str(mine)], [], [])
    assert (names.things, names.stuff) == (("kettle", "a|b *2"), ("steam",))
    mine.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MediaError, match=r"names cannot be read .*mine\.txt"):
        read_names([], [mine], [])


def test_provenance_has_no_paths_but_the_models(run: Run, place: Path, tmp_path: Path) -> None:
    assert run(*given(place, tmp_path / "out", "--steps", 1)).exit_code == 0
    told = json.loads((tmp_path / "out" / "model" / "densevlm.json").read_text())
    assert told["teacher_name"] == f"local-dir:{place / 'teacher'}"
    assert told["prompts"] == ["a photo of a {}."]
    assert len(told["student"]) == 64


def test_durations() -> None:
    assert [duration(h) for h in (4.2, 0.25, 0.01)] == ["4 h 12 min", "15 min", "36 s"]
