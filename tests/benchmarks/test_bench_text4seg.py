"""The bound of a grid on a made archive of photographs: figures, tables, and what is skipped."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import text4seg_bound

SQUARE = [[0, 0, 32, 0, 32, 24, 0, 24]]  # a quarter of the photo
DOT = [[50, 40, 56, 40, 56, 46, 50, 46]]


def archive(folder: Path) -> None:
    """photos.tar with one photo of coco_cc, a box without an outline, and a photo of another source."""
    photo = io.BytesIO()
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(photo, "JPEG")
    annotation: dict[str, Any] = {"image_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 0}
    document = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "ball"}],
        "annotations": [
            {**annotation, "category_id": 1, "segmentation": SQUARE},
            {**annotation, "category_id": 2, "segmentation": DOT},
            {**annotation, "category_id": 2},
        ],
    }
    with tarfile.open(folder / "photos.tar", "w") as tar:
        for name in ("coco_cc", "other"):
            for path, data in (
                (f"photos/{name}.json", json.dumps(document).encode()),
                ("photos/images/a.jpg", photo.getvalue()),
            ):
                info = tarfile.TarInfo(path)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def run(out: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", ["bound", "--out", str(out), "--data", str(data)])
    monkeypatch.setattr(text4seg_bound, "clip_tokens", lambda: None)
    assert text4seg_bound.main() == 0
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def test_figures_and_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(tmp_path)
    result = run(tmp_path / "out.json", tmp_path, monkeypatch)
    assert set(result["bounds"]) == {"photos", "large", "pictures"}  # no clips there
    assert result["sets"]["photos"].startswith("2 outlines")
    assert result["sets"]["large"].startswith("1 of them")
    grids = [row["grid"] for row in result["bounds"]["photos"]]
    assert grids == [[g, g] for g in (16, 24, 32, 64)]
    large = result["bounds"]["large"][0]
    assert large["ciou"] > 0.9  # PIL fills the border of an outline, too
    assert (large["masks"], large["cost"]["full"]["runs"], large["cost"]["full"]["tokens"]) == (1, 256, None)
    assert result["bounds"]["pictures"][0]["miou"] is not None
    tables = (tmp_path / "out.md").read_text()
    for text in ("## photos: 2 outlines", "| 16 | R-RLE |", "| 16 | I-RLE |", "| 64 | full | ", "583"):
        assert text in tables


def test_without_data_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(tmp_path / "out.json", tmp_path, monkeypatch)
    assert "no photos in" in result["skipped"]
