"""Small things for the tests of the toy."""

from __future__ import annotations

import torch

from lab.train.text4seg_toy.loop import Config
from lab.train.text4seg_toy.model import ModelConfig, Writer
from lab.train.text4seg_toy.vision import Vision

SMALL = ModelConfig(width=16, layers=4, heads=2)
SHORT = Config(grid=4, steps=8, batch=8, warmup=2, every=4, dev=4, model=SMALL)


def vision() -> Vision:
    """An untaught vision side, always the same."""
    torch.manual_seed(1)
    return Vision(width=8).eval().requires_grad_(False)


def writer() -> Writer:
    """An untaught writer for 8 x 8 cells, always the same."""
    torch.manual_seed(2)
    return Writer(SMALL, 8).eval()
