"""The table of `vidmem eval dense`: DenseVLM's, with its numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .dense import DenseReport
from .report import Method, Table

SOURCE = "arXiv 2412.06244, Table 13"
COLUMNS = {
    "Boxes top 1": "boxes_top1",
    "Boxes top 5": "boxes_top5",
    "Masks-T top 1": "masks_thing_top1",
    "Masks-T top 5": "masks_thing_top5",
    "Masks-S top 1": "masks_stuff_top1",
    "Masks-S top 5": "masks_stuff_top5",
}
_PUBLISHED = {
    "COCO": {
        "OpenCLIP ViT-B/16": (49.8, 74.3, 51.9, 72.2, 29.2, 54.9),
        "CLIPSelf ViT-B/16": (67.6, 87.8, 64.4, 81.2, 44.5, 77.1),
        "DenseVLM ViT-B/16": (73.4, 90.5, 71.0, 84.8, 45.6, 77.8),
        "DenseVLM ViT-L/14": (75.2, 91.8, 73.3, 87.1, 45.5, 78.1),
    },
    "ADE20K": {
        "OpenCLIP ViT-B/16": (28.4, 54.1, 29.6, 53.4, 37.9, 66.6),
        "CLIPSelf ViT-B/16": (43.4, 76.0, 44.0, 71.1, 50.7, 82.1),
        "DenseVLM ViT-B/16": (51.3, 82.2, 52.1, 78.0, 57.8, 85.5),
        "DenseVLM ViT-L/14": (54.5, 85.0, 55.6, 82.1, 58.1, 86.4),
    },
}


def dense_table(title: str, method: str, report: DenseReport) -> Table:
    """Our figures in percent, and published ones for COCO and ADE20K."""
    figures = report.figures()
    shares = {column: figures[name] for column, name in COLUMNS.items()}
    ours = {column: None if share is None else 100 * share for column, share in shares.items()}
    published = [
        Method(f"{name}, {data}", dict(zip(COLUMNS, values, strict=True)), SOURCE)
        for data, rows in _PUBLISHED.items()
        for name, values in rows.items()
    ]
    return Table(title, tuple(COLUMNS), [Method(method, ours)], published)


def document(report: DenseReport) -> dict[str, Any]:
    """The whole report as plain data."""
    return asdict(report)
