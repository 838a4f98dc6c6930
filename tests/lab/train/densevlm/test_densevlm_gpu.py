"""DenseVLM's training on a GPU: as on the CPU, in bfloat16, and with moments of 8 bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dense_making as making
import pytest
import torch
from encoders import clip_folder

from lab.train.densevlm.config import TrainConfig
from lab.train.densevlm.data import Squares, collate, find_pictures
from lab.train.densevlm.loop import Pair, fit, make_pair
from lab.train.densevlm.step import step_loss
from lab.train.densevlm.towers import open_model
from lab.train.logs import FILE, read
from needs import needs, needs_gpu

pytestmark = pytest.mark.gpu


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    needs_gpu()
    clip_folder.required()
    student, teacher = making.models(tmp_path)
    return f"local-dir:{student}", f"local-dir:{teacher}"


def pair_on(device: str, folders: tuple[str, str], config: TrainConfig) -> Pair:
    student, teacher = open_model("student", folders[0]), open_model("teacher", folders[1])
    return make_pair(student, teacher, making.NAMES, ("a {}.",), config, torch.device(device))


def test_a_step_is_that_of_the_cpu(folders: tuple[str, str], tmp_path: Path) -> None:
    squares = Squares(find_pictures([making.pictures(tmp_path / "set")]), 48, 0)
    batch = collate([squares[(n, n)] for n in range(4)])
    config = replace(making.SMALL, tau=0.1)
    losses, weights = [], []
    for device in ("cpu", "cuda"):
        pair = pair_on(device, folders, config)
        loss, _ = step_loss(pair.student, pair.teacher, batch.to(torch.device(device)), 3, config)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        weights.append(pair.student_model.model.visual.proj.grad.cpu())
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["adamw", "adamw8bit"])
def test_training_learns_and_resumes(folders: tuple[str, str], tmp_path: Path, optimizer: str) -> None:
    if optimizer == "adamw8bit":
        needs("bitsandbytes")
    found = find_pictures([making.pictures(tmp_path / "set")])
    config = replace(making.SMALL, steps=40, log_every=10, checkpoint_every=20, precision="bf16")
    config = replace(config, optimizer=optimizer)  # type: ignore[arg-type]
    rows: list[dict[str, float]] = []

    class Crash(Exception):
        pass

    def stop(step: int, row: object) -> None:
        rows.append(dict(row))  # type: ignore[call-overload]
        if step == 30:
            raise Crash

    with pytest.raises(Crash):
        fit(pair_on("cuda", folders, config), making.NAMES, found, config, tmp_path / "out", report=stop)
    assert rows[0]["gigabytes"] > 0
    fit(pair_on("cuda", folders, config), making.NAMES, found, config, tmp_path / "out", resume=True)
    logged = read(tmp_path / "out" / FILE)
    assert [row["step"] for row in logged] == [10, 20, 30, 40]
    assert logged[-1]["loss"] < logged[0]["loss"]
