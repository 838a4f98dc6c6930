"""The settings: the paper's values, the schedule, and what makes no sense."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from lab.train.text4seg.config import LoraSettings, TrainConfig, steps_of
from vidmem.errors import UsageError


def test_the_defaults_are_those_of_table_7() -> None:
    config = TrainConfig(steps=100)
    assert (config.lr, config.weight_decay, config.betas, config.clip) == (2e-4, 0.0, (0.9, 0.95), 1.0)
    assert (config.warmup, config.batch) == (0.03, 128)
    assert (config.lora.rank, config.lora.alpha, config.lora.dropout, config.lora.connector) == (64, 128, 0.05, "lora")


def test_the_rate_rises_and_falls_linearly() -> None:
    config = TrainConfig(steps=1000)
    assert config.rate(0) == pytest.approx(2e-4 / 30)
    assert config.rate(29) == config.rate(30) == pytest.approx(2e-4)
    assert config.rate(515) == pytest.approx(1e-4)
    assert config.rate(999) == pytest.approx(2e-4 / 970)
    assert config.rate(1000) == 0
    assert TrainConfig(steps=1, warmup=0).rate(0) == pytest.approx(2e-4)


def test_steps_of_epochs() -> None:
    assert steps_of(800_000, 5, 128) == 31_250
    assert steps_of(129, 1, 128) == 2
    assert steps_of(3, 0.01, 128) == 1
    with pytest.raises(UsageError, match="`epochs` is a number above 0"):
        steps_of(10, 0, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pack": "maybe"}, "`pack` is one of auto, on, off"),
        ({"precision": "fp16"}, "`precision` is one of bf16, fp32"),
        ({"optimizer": "sgd"}, "`optimizer` is one of adamw, adamw8bit"),
        ({"lora": LoraSettings(connector="none")}, "`connector` is one of lora, full, frozen"),  # type: ignore[arg-type]
        ({"lora": LoraSettings(rank=0)}, "`rank` is at least 1"),
        ({"lora": LoraSettings(dropout=1)}, "`dropout` lies in"),
        ({"lora": LoraSettings(alpha=0)}, "`alpha` is a number above 0"),
        ({"steps": 0}, "`steps` is at least 1"),
        ({"batch": 0}, "`batch` is at least 1"),
        ({"rows": 0}, "`rows` is at least 1"),
        ({"max_length": 8}, "`max_length` is at least 16"),
        ({"lr": float("nan")}, "`lr` is a number above 0"),
        ({"warmup": 1.0}, "`warmup` lies in"),
        ({"weight_decay": -1}, "`weight_decay` is a number from 0"),
        ({"checkpoint_every": 7}, "multiple of `log_every`"),
    ],
)
def test_settings_that_make_no_sense_fail(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(TrainConfig(steps=10), **change)


def test_settings_as_plain_data() -> None:
    config = TrainConfig(steps=7, lora=LoraSettings(rank=8, connector="full"), pack="off")
    plain = config.as_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert (plain["lora"]["connector"], plain["pack"], plain["betas"]) == ("full", "off", [0.9, 0.95])


def test_steps_that_make_no_sense_fail() -> None:
    with pytest.raises(UsageError, match="`batch` is at least 1"):
        steps_of(4, 1, 0)
    with pytest.raises(UsageError, match="`epochs` of 1e\\+308 are more than"):
        steps_of(4, 1e308, 1)
    with pytest.raises(UsageError, match="`steps` is at most"):
        TrainConfig(steps=10**30)
