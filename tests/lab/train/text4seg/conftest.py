"""Tiny models, each made once, and four records about four pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import talking
from vlm import tiny_models

from needs import needs


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that returns the folder of a layout with a tokenizer; do not write into it."""
    folders: dict[tuple[str, str], Path] = {}

    def folder(layout: str = "llava", tokenizer: str = "bytes") -> Path:
        tiny_models.required()
        needs("peft")
        key = layout, tokenizer
        if key not in folders:
            made = tiny_models.build(layout, tmp_path_factory.mktemp(layout), tokenizer=tokenizer)
            folders[key] = talking.louder(made)
        return folders[key]

    return folder


@pytest.fixture
def local(tiny: Callable[..., Path]) -> Any:
    """The tiny LLaVA, loaded anew: adapters change a model."""
    from vidmem.vlm.local import load

    return load(tiny(), "cpu")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four records in data.jsonl, with their pictures."""
    return talking.data(tmp_path_factory.mktemp("data"))
