"""The table of `vidmem eval dense`: DenseVLM's, with its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .dense import DenseReport
from .report import Method, Table

COLUMNS = {
    "Boxes top 1": "boxes_top1",
    "Boxes top 5": "boxes_top5",
    "Masks-T top 1": "masks_thing_top1",
    "Masks-T top 5": "masks_thing_top5",
    "Masks-S top 1": "masks_stuff_top1",
    "Masks-S top 5": "masks_stuff_top5",
}
_TABLE1, _TABLE13 = "arXiv 2412.06244, Table 1", "arXiv 2412.06244, Table 13"
_PUBLISHED = {
    "COCO": {
        "OpenCLIP": (49.8, 74.3, 51.9, 72.2, 29.2, 54.9),
        "DFN": (38.3, 65.0, 31.0, 57.0, 26.4, 54.9),
        "SigLIP": (39.9, 61.4, 40.4, 60.1, 30.3, 56.4),
        "EVA-CLIP": (44.3, 68.7, 44.7, 66.0, 26.2, 51.9),
        "RegionCLIP": (68.5, 89.5, 60.7, 84.3, 22.0, 53.5),
        "FineCLIP": (64.7, 86.1, 62.5, 80.9, 36.9, 70.3),
        "CLIPSelf": (69.1, 88.2, 66.7, 83.0, 41.7, 75.2),
        "DenseVLM": (72.3, 89.9, 70.1, 84.4, 44.9, 76.4),
    },
    "ADE20K": {
        "OpenCLIP": (28.4, 54.1, 29.6, 53.4, 37.9, 66.6),
        "DFN": (30.6, 57.9, 24.2, 49.9, 32.2, 57.7),
        "SigLIP": (25.9, 49.2, 27.3, 47.6, 34.5, 57.3),
        "EVA-CLIP": (33.0, 57.6, 33.9, 56.2, 36.2, 62.3),
        "RegionCLIP": (43.2, 72.2, 34.0, 62.6, 37.7, 68.6),
        "FineCLIP": (43.9, 71.2, 45.5, 68.6, 46.0, 74.8),
        "CLIPSelf": (48.1, 77.7, 47.5, 74.2, 53.7, 82.8),
        "DenseVLM": (51.0, 81.8, 49.3, 76.5, 57.0, 84.0),
    },
}
_LARGE = {
    "COCO": (75.2, 91.8, 73.3, 87.1, 45.5, 78.1),
    "ADE20K": (54.5, 85.0, 55.6, 82.1, 58.1, 86.4),
}
"""DenseVLM ViT-L/14, trained with more names."""


def dense_table(title: str, method: str, report: DenseReport, notes: Sequence[str] = ()) -> Table:
    """Our figures in percent, and published ones for COCO and ADE20K. notes: Sentences below."""
    figures = report.figures()
    shares = {column: figures[name] for column, name in COLUMNS.items()}
    ours = {column: None if share is None else 100 * share for column, share in shares.items()}
    published = []
    for data, rows in _PUBLISHED.items():
        published += [_method(f"{name}, {data}", values, _TABLE1) for name, values in rows.items()]
        published.append(_method(f"DenseVLM ViT-L/14, {data}", _LARGE[data], _TABLE13))
    return Table(title, tuple(COLUMNS), [Method(method, ours)], published, notes)


def _method(name: str, values: Sequence[float], source: str) -> Method:
    return Method(name, dict(zip(COLUMNS, values, strict=True)), source)


def document(report: DenseReport) -> dict[str, Any]:
    """The whole report as plain data."""
    return asdict(report)
