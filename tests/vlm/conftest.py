"""Folders with tiny random models, each made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from vlm import tiny_models

TinyModel = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """A function that returns the folder of a layout and a tokenizer; do not write into it."""
    folders: dict[tuple[str, str], Path] = {}

    def folder(layout: str = "llava", tokenizer: str = "bytes") -> Path:
        tiny_models.required()
        key = layout, tokenizer
        if key not in folders:
            folders[key] = tiny_models.build(layout, tmp_path_factory.mktemp(layout), tokenizer=tokenizer)
        return folders[key]

    return folder
