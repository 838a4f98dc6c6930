"""The tables of `vidmem eval ovss`: TextRegion's columns, with the numbers of four papers."""

from __future__ import annotations

from .ovss_run import Score
from .report import Method, Table

COLUMNS = {
    "voc21": "VOC21",
    "context60": "Context60",
    "coco-object": "Object",
    "voc20": "VOC20",
    "context59": "Context59",
    "coco-stuff": "Stuff",
    "cityscapes": "City",
    "ade20k": "ADE",
}
"""Headings by the name of the data set."""

_TREN, _TEXTREGION = "arXiv 2604.18573, Table 2", "arXiv 2505.23769, Table 1"
_GEM, _TEXT4SEG = "arXiv 2312.00878, Table 2", "arXiv 2410.09855, Table 5"

_NO: float | None = None
_PUBLISHED: tuple[tuple[str, str, tuple[float | None, ...]], ...] = (
    ("CLIP ViT-L", _TREN, (_NO, _NO, _NO, _NO, _NO, _NO, 11.5, 6.0)),
    ("DINOv3 dino.txt ViT-L", _TREN, (_NO, _NO, _NO, _NO, _NO, _NO, 36.9, 24.7)),
    ("T-REN ViT-L", _TREN, (_NO, _NO, _NO, _NO, _NO, _NO, 52.7, 30.6)),
    ("T-REN+ ViT-L, more pixels", _TREN, (_NO, _NO, _NO, _NO, _NO, _NO, 58.7, 32.0)),
    ("RADSeg+ with SAM", _TREN, (_NO, _NO, _NO, _NO, _NO, _NO, 45.8, 29.9)),
    ("MaskCLIP ViT-B/16", _TEXTREGION, (43.4, 23.3, 20.6, 74.9, 26.4, 16.7, 24.9, 11.9)),
    ("SCLIP ViT-B/16", _TEXTREGION, (59.1, 30.4, 30.5, 80.4, 34.2, 22.4, 32.2, 16.1)),
    ("ProxyCLIP ViT-B/16", _TEXTREGION, (61.3, 35.3, 37.5, 80.3, 39.1, 26.5, 38.1, 20.2)),
    ("Trident ViT-B/16 with SAM", _TEXTREGION, (67.1, 38.6, 41.1, 84.5, 42.2, 28.3, 42.9, 21.9)),
    ("TextRegion ViT-B/16 with SAM2", _TEXTREGION, (70.9, 39.1, 41.1, 84.4, 43.2, 28.7, 42.8, 22.8)),
    ("TextRegion ViT-H/14 with SAM2", _TEXTREGION, (73.1, 41.2, 40.6, 89.5, 46.1, 31.2, 47.0, 27.3)),
    ("CLIP ViT-B/16", _GEM, (10.4, _NO, _NO, _NO, 7.7, _NO, _NO, 1.7)),
    ("GEM, CLIP ViT-B/16", _GEM, (46.2, _NO, _NO, _NO, 32.6, _NO, _NO, 15.7)),
    ("GEM, MetaCLIP ViT-B/16", _GEM, (46.8, _NO, _NO, _NO, 34.5, _NO, _NO, 17.1)),
    ("Text4Seg LLaVA-1.5-7B", _TEXT4SEG, (_NO, _NO, _NO, 76.5, 52.5, _NO, _NO, 16.5)),
)


def ovss_tables(title: str, method: str, data: str, found: Score, notes: list[str]) -> list[Table]:
    """Our mIoU in the column of its data set beside published ones, and our other figures; all in percent.

    Args:
        title: Of both tables.
        method: Our row.
        data: Name of the data set.
        found: The score.
        notes: Sentences below the first table.
    """
    published = [
        Method(name, dict(zip(COLUMNS.values(), values, strict=True)), source) for name, source, values in _PUBLISHED
    ]
    mine = {"mIoU": found.miou, "pixel accuracy": found.pixel_accuracy, "class accuracy": found.class_accuracy}
    shares = {column: 100 * value if value == value else None for column, value in mine.items()}
    return [
        Table(title, tuple(COLUMNS.values()), [Method(method, {COLUMNS[data]: shares["mIoU"]})], published, notes),
        Table(f"{title}: more figures", tuple(mine), [Method(method, shares)]),
    ]
