"""The loop: that a model learns its answers by heart, that a resumed training is an uninterrupted one, and failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import talking
import torch
from vlm import tiny_models

from lab.train import checkpoint, logs
from lab.train.text4seg.chat import Chat, Example
from lab.train.text4seg.config import LoraSettings, TrainConfig
from lab.train.text4seg.held_out import measure, write
from lab.train.text4seg.loop import SKIPPED, Encoded, fit, update
from lab.train.text4seg.model import adapt, save_merged, trained
from lab.train.text4seg.packing import padded
from lab.train.text4seg.records import Records
from needs import needs
from vidmem.errors import MediaError, ModelError, UsageError
from vidmem.vlm.local import LocalModel, load

Folder = Callable[..., Path]


def run(
    local: LocalModel, data: Path, out: Path, config: TrainConfig, *, packed: bool = True, **more: Any
) -> tuple[Any, Chat]:
    """Train; return the adapted model and its chat."""
    records = Records([data])
    chat = Chat(local, records.most_turns)
    model, parts = adapt(local, config.lora, config.seed)
    fit(local, model, parts, records, chat, config, out, packed=packed, tensorboard=False, **more)
    return model, chat


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tokens of each record once, for speed."""
    known: dict[int, Any] = {}
    get = Encoded.__getitem__

    def item(self: Encoded, key: tuple[int, int]) -> Any:
        if key[1] not in known:
            known[key[1]] = get(self, key)
        return known[key[1]]

    monkeypatch.setattr(Encoded, "__getitem__", item)


@pytest.mark.slow
@pytest.mark.usefixtures("remembered")
@pytest.mark.parametrize("layout", tiny_models.LAYOUTS)
def test_a_model_learns_four_answers_by_heart(layout: str, tiny: Folder, data: Path, tmp_path: Path) -> None:
    """One question and four pictures: the answers differ, so the pictures, labels and ends must all be right."""
    local = load(tiny(layout), "cpu")
    steps = 150 if layout == "internvl" else 100
    lora = LoraSettings(rank=16, alpha=32, dropout=0)
    config = replace(talking.SMALL, steps=steps, lr=5e-3, lora=lora, log_every=25, checkpoint_every=steps)
    model, chat = run(local, data, tmp_path, config)
    rows = logs.read(tmp_path / logs.FILE)
    assert rows[0]["loss"] > 1
    assert rows[-1]["loss"] < 0.1
    records = Records([data])
    for n in range(4):
        assert write(model, local, chat, records[n], 80) == (talking.answer(n), True)
    figures = measure(model, local, records, chat, max_length=256)
    assert figures.loss < 0.1
    assert (figures.records, figures.masks, figures.ended) == (4, 4, 1)
    assert (figures.strict, figures.exact, figures.ciou, figures.giou) == (1, 1, 1, 1)


def test_the_vision_encoder_and_the_base_stay_as_they_are(local: LocalModel, data: Path, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in local.model.named_parameters()}
    config = replace(talking.SMALL, steps=3, checkpoint_every=3)
    model, _ = run(local, data, tmp_path, config)
    after = {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): value
        for name, value in model.named_parameters()
        if "lora_" not in name
    }
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    changed = {name: value for name, value in trained(model).items() if "lora_B" in name and value.abs().max() > 0}
    assert not any("vision" in name for name in trained(model))
    for part in ("multi_modal_projector.linear_1", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj"):
        assert any(part in name for name in changed), part


def state(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / checkpoint.FILE)


def same(one: Path, two: Path) -> None:
    """Weights, moments and logs, bit for bit."""
    a, b = state(one), state(two)
    assert a.keys() == b.keys()
    assert any(name.endswith("exp_avg_sq") for name in a)
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert (one / logs.FILE).read_text() == (two / logs.FILE).read_text()


class Crash(Exception):
    pass


@pytest.mark.parametrize("packed", [True, False])
def test_a_resumed_training_is_an_uninterrupted_one(
    packed: bool, tiny: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, more epochs than one and records that are left out."""
    folder = talking.data(tmp_path / "data", 5)
    (folder / "3.png").unlink()
    config = replace(talking.SMALL, batch=3, lora=LoraSettings(rank=4, alpha=8, dropout=0.3))
    run(load(tiny(), "cpu"), folder, tmp_path / "whole", config, packed=packed)

    def stop(step: int, _: object) -> None:
        if step == 5:  # past the checkpoint of step 4
            raise Crash

    with pytest.raises(Crash):
        run(load(tiny(), "cpu"), folder, tmp_path / "cut", config, packed=packed, report=stop)
    torch.manual_seed(77)  # nothing hangs on the global state
    run(load(tiny(), "cpu"), folder, tmp_path / "cut", config, packed=packed, resume=True)
    same(tmp_path / "whole", tmp_path / "cut")
    other = replace(config, lora=replace(config.lora, dropout=0.0))
    run(load(tiny(), "cpu"), folder, tmp_path / "plain", other, packed=packed)
    assert any(not torch.equal(v, state(tmp_path / "plain")[n]) for n, v in state(tmp_path / "whole").items())


@pytest.mark.slow
def test_a_training_that_is_killed_resumes_exactly(tiny: Folder, data: Path, tmp_path: Path) -> None:
    """kill -9 somewhere in the third to fifth step, and then the rest."""
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    config = replace(talking.SMALL, steps=12, checkpoint_every=1)
    script = textwrap.dedent(f"""
        import sys, time
        sys.path[:0] = {[str(Path(__file__).parents[4]), str(Path(__file__).parents[3]), str(Path(__file__).parent)]!r}
        from dataclasses import replace
        from pathlib import Path
        import torch
        import talking, test_text4seg_loop as t
        torch.set_num_threads({torch.get_num_threads()})
        config = replace(talking.SMALL, steps=12, checkpoint_every=1)
        t.run(t.load({str(tiny())!r}, "cpu"), Path({str(data)!r}), Path({str(cut)!r}), config,
              report=lambda step, row: time.sleep(.1 if step < 5 else 600))
    """)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not (cut / checkpoint.FILE).exists() or len(logs.read(cut / logs.FILE)) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(logs.read(cut / logs.FILE)) < 12
    run(load(tiny(), "cpu"), data, cut, config, resume=True)
    run(load(tiny(), "cpu"), data, whole, config)
    same(whole, cut)


def test_workers_change_nothing(tiny: Folder, data: Path, tmp_path: Path) -> None:
    config = replace(talking.SMALL, steps=2)
    for workers in (0, 2):
        run(load(tiny(), "cpu"), data, tmp_path / str(workers), config, workers=workers)
    same(tmp_path / "0", tmp_path / "2")


def first_step(local: LocalModel, data: Path, tmp_path: Path, **changes: Any) -> tuple[float, dict[str, torch.Tensor]]:
    config = replace(
        talking.SMALL, steps=1, lr=1e-3, warmup=0, lora=replace(talking.SMALL.lora, dropout=0.0), checkpoint_every=1
    )
    packed = changes.pop("packed", True)
    model, _ = run(local, data, tmp_path, replace(config, **changes), packed=packed)
    return logs.read(tmp_path / logs.FILE)[0]["loss"], {n: v.detach().clone() for n, v in trained(model).items()}


def test_accumulation_packing_and_checkpointing_do_not_change_a_step(tiny: Folder, data: Path, tmp_path: Path) -> None:
    ways: list[dict[str, Any]] = [
        {"packed": False, "rows": 4},
        {"packed": False, "rows": 1},
        {"packed": True, "rows": 1},
        {"packed": True, "rows": 2, "max_length": 64},
        {"packed": True, "checkpointing": True},
    ]
    found = [first_step(load(tiny(), "cpu"), data, tmp_path / str(n), **way) for n, way in enumerate(ways)]
    for loss, weights in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-5)
        for name, value in weights.items():
            torch.testing.assert_close(value, found[0][1][name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("layout", tiny_models.LAYOUTS)
def test_activations_that_are_computed_twice_give_the_same_step(
    layout: str, tiny: Folder, data: Path, tmp_path: Path
) -> None:
    """With dropout, which must be drawn alike both times."""
    config = replace(talking.SMALL, steps=2, checkpointing=False)
    found = []
    for way in (False, True):
        model, _ = run(load(tiny(layout), "cpu"), data, tmp_path / str(way), replace(config, checkpointing=way))
        found.append(trained(model))
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("layout", tiny_models.LAYOUTS)
def test_a_whole_connector_beside_a_base_in_bf16(layout: str, tiny: Folder, data: Path, tmp_path: Path) -> None:
    lora = replace(talking.SMALL.lora, connector="full")
    config = replace(talking.SMALL, steps=3, lora=lora, precision="bf16", checkpoint_every=3)
    local = load(tiny(layout), "cpu", dtype=torch.bfloat16)
    model, _ = run(local, data, tmp_path / "out", config)
    assert all(value.dtype == torch.float32 for value in trained(model).values())
    losses = [row["loss"] for row in logs.read(tmp_path / "out" / logs.FILE)]
    assert losses[-1] < losses[0]
    save_merged(model, local, tmp_path / "merged")
    merged = load(tmp_path / "merged", "cpu", dtype=torch.bfloat16).model
    assert {value.dtype for value in merged.parameters()} == {torch.bfloat16}


def test_bf16_is_close_to_fp32(tiny: Folder, data: Path, tmp_path: Path) -> None:
    full, _ = first_step(load(tiny(), "cpu"), data, tmp_path / "fp32")
    half, weights = first_step(
        load(tiny(), "cpu", dtype=torch.bfloat16), data, tmp_path / "bf16", precision="bf16", packed=True
    )
    assert half == pytest.approx(full, rel=0.02)
    assert all(value.dtype == torch.float32 for value in weights.values())


def test_records_that_are_left_out_are_counted_and_named(local: LocalModel, tmp_path: Path) -> None:
    folder = talking.data(tmp_path / "data", 4)
    (folder / "1.png").write_bytes(b"damaged")
    long = talking.record(2, query="Where is the cup? " * 100)
    talking.write(folder / "data.jsonl", [talking.record(0), talking.record(1), long, talking.record(3)])
    config = replace(talking.SMALL, steps=4, log_every=2)
    seen: list[Any] = []
    records = Records([folder])
    chat = Chat(local)
    model, parts = adapt(local, config.lora, 0)
    left = fit(
        local, model, parts, records, chat, config, tmp_path / "out",
        packed=True, tensorboard=False, report=lambda step, row: seen.append(row),
    )  # fmt: skip
    assert left == 2
    assert [row["skipped"] for row in seen] == [4, 4]
    assert [row["records"] for row in seen] == [4, 4]
    lines = [json.loads(line) for line in (tmp_path / "out" / SKIPPED).read_text().splitlines()]
    assert sorted(line["record"] for line in lines) == [f"{folder / 'data.jsonl'}:{n}" for n in (2, 3)]
    reasons = " ".join(line["reason"] for line in lines)
    assert "the picture cannot be read" in reasons
    assert "tokens, more than 256" in reasons


def test_a_step_without_a_usable_record_changes_nothing(local: LocalModel, tmp_path: Path) -> None:
    folder = talking.data(tmp_path / "data", 3)
    for n in (0, 1):
        (folder / f"{n}.png").unlink()
    config = replace(talking.SMALL, steps=3, batch=1, log_every=1, checkpoint_every=3)
    run(local, folder, tmp_path / "out", config)
    rows = logs.read(tmp_path / "out" / logs.FILE)
    assert sorted(("loss" in row, row["skipped"]) for row in rows) == [(False, 1), (False, 1), (True, 0)]


@pytest.mark.parametrize("workers", [0, 1])
def test_data_that_vanishes_ends_the_training_in_one_line(workers: int, local: LocalModel, tmp_path: Path) -> None:
    folder = talking.data(tmp_path / "data", 4)
    records = Records([folder])
    chat = Chat(local)
    model, parts = adapt(local, talking.SMALL.lora, 0)
    (folder / "data.jsonl").unlink()
    with pytest.raises(MediaError) as caught:
        fit(
            local, model, parts, records, chat, talking.SMALL, tmp_path / "out",
            packed=True, workers=workers, tensorboard=False,
        )  # fmt: skip
    assert str(caught.value) == (
        f"the data cannot be read (No such file or directory); check the file: {folder / 'data.jsonl'}"
    )


def test_a_training_is_not_overwritten_or_mixed_with_another(tiny: Folder, data: Path, tmp_path: Path) -> None:
    config = replace(talking.SMALL, steps=2)
    with pytest.raises(UsageError, match="no training to resume"):
        run(load(tiny(), "cpu"), data, tmp_path, config, resume=True)
    run(load(tiny(), "cpu"), data, tmp_path, config)
    with pytest.raises(UsageError, match="`resume`"):
        run(load(tiny(), "cpu"), data, tmp_path, config)
    with pytest.raises(UsageError, match=r"lr \(0\.01, now 0\.02\)"):
        run(load(tiny(), "cpu"), data, tmp_path, replace(config, lr=0.02), resume=True)
    other = talking.data(tmp_path / "other", 3)
    with pytest.raises(UsageError, match=r"records \(4, now 3\), data \("):
        run(load(tiny(), "cpu"), other, tmp_path, config, resume=True)
    with pytest.raises(UsageError, match=r"model \(llava, now idefics3\), base \("):
        run(load(tiny("idefics3"), "cpu"), data, tmp_path, config, resume=True)


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(local: LocalModel, data: Path) -> None:
    model, _ = adapt(local, talking.SMALL.lora, 0)
    weights = trained(model)
    optimizer = torch.optim.AdamW(weights.values())
    example = Encoded(Records([data]), Chat(local), 256)[(0, 0)]
    assert isinstance(example, Example)
    local.model.lm_head.weight.data.fill_(float("nan"))
    before = {name: value.clone() for name, value in weights.items()}
    with pytest.raises(UsageError, match="loss of step 8 is not finite"):
        update(model, optimizer, [padded([example], 0)], talking.SMALL, 7, torch.device("cpu"))
    assert all(torch.equal(before[name], value) for name, value in weights.items())


def test_the_optimiser_with_8_bits_says_what_it_needs(
    local: LocalModel, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ModelError, match="pip install bitsandbytes"):
        run(local, data, tmp_path, replace(talking.SMALL, optimizer="adamw8bit"))


def test_logs_for_tensorboard(local: LocalModel, data: Path, tmp_path: Path) -> None:
    needs("tensorboardX")
    records = Records([data])
    model, parts = adapt(local, talking.SMALL.lora, 0)
    config = replace(talking.SMALL, steps=2)
    fit(local, model, parts, records, Chat(local), config, tmp_path, packed=True)
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"answer_tokens" in events.read_bytes()
    names = {"step", "loss", "norm", "answer_tokens", "records", "skipped", "full", "rate"}
    assert logs.read(tmp_path / logs.FILE)[0].keys() == names
