"""docs/models.md names every repository and file that vidmem fetches by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidmem.encoders.clip.encoder import wanted as clip_wanted
from vidmem.encoders.masks.sam2 import SIZES
from vidmem.encoders.masks.sam2 import wanted as sam2_wanted
from vidmem.encoders.registry import BUILT_IN

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_an_encoder_and_its_files_are_on_the_page(name: str) -> None:
    spec = BUILT_IN[name]
    if spec.name != "patches":  # a baseline with the files of tren
        assert f"`{name}`" in PAGE
    for wanted in spec.wanted("") if spec.wanted else ():
        assert wanted.repo in PAGE
        assert wanted.licence.split()[0] in PAGE
        for file in wanted.files:
            assert file.split("|")[0] in PAGE


def test_models_with_a_page_of_their_own_are_there() -> None:
    for size in SIZES:
        (wanted,) = sam2_wanted(size)
        assert wanted.repo in PAGE
        assert f"vidmem models pull sam2:{size}" in PAGE or size == "large"
    (wanted,) = clip_wanted("MobileCLIP2-S0/dfndr2b")
    assert wanted.repo in PAGE
