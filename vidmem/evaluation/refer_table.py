"""The tables of `vidmem eval refer`: Text4Seg's, with its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .masks import THRESHOLDS, Overlaps, ciou, giou, no_target, precision
from .referring import box_share, gathered
from .report import Method, Table

DATA_SETS = ("refcoco", "refcoco+", "refcocog", "grefcoco")
_SPLITS = {"refcoco": ("val", "testA", "testB"), "refcoco+": ("val", "testA", "testB"), "refcocog": ("val", "test")}
COLUMNS = tuple(f"{data} {split}" for data, splits in _SPLITS.items() for split in splits)
_SOURCE = "arXiv 2410.09855, Table {}"

_CIOU = {
    "LAVT": (72.7, 75.8, 68.8, 62.1, 68.4, 55.1, 61.2, 62.1),
    "LISA 7B": (74.9, 79.1, 72.3, 65.1, 70.8, 58.1, 67.9, 70.6),
    "GSVA 7B": (77.2, 78.9, 73.5, 65.9, 69.6, 59.8, 72.7, 73.3),
    "GLaMM 7B": (79.5, 83.2, 76.9, 72.6, 78.7, 64.6, 74.2, 74.9),
    "Text4Seg DeepseekVL-1.3B": (75.0, 78.6, 70.1, 68.4, 73.4, 60.0, 71.5, 71.7),
    "Text4Seg Qwen-VL-7B": (78.0, 80.9, 74.6, 71.6, 77.3, 66.0, 74.8, 74.7),
    "Text4Seg LLaVA-1.5-7B": (79.3, 81.9, 76.2, 72.1, 77.6, 66.1, 72.1, 73.9),
    "Text4Seg InternVL2-8B": (79.2, 81.7, 75.6, 72.8, 77.9, 66.5, 74.0, 75.3),
    "Text4Seg LLaVA-1.5-13B": (80.2, 82.7, 77.3, 73.7, 78.6, 67.6, 74.0, 75.1),
}
_BOXES = {
    "LISA 7B": (85.4, 88.8, 82.6, 74.2, 79.5, 68.4, 79.3, 80.4),
    "GSVA 7B": (86.3, 89.2, 83.8, 72.8, 78.8, 68.0, 81.6, 81.8),
    "Groma": (89.5, 92.1, 86.3, 83.9, 88.9, 78.1, 86.4, 87.0),
    "Text4Seg DeepseekVL-1.3B": (86.4, 90.3, 81.7, 80.5, 86.3, 72.3, 82.4, 82.7),
    "Text4Seg Qwen-VL-7B": (89.7, 93.0, 85.8, 84.6, 90.1, 78.6, 85.0, 85.1),
    "Text4Seg LLaVA-1.5-7B": (90.8, 93.7, 87.6, 84.7, 90.2, 79.0, 84.8, 85.0),
    "Text4Seg InternVL2-8B": (90.3, 93.4, 87.5, 85.2, 89.9, 79.5, 85.4, 85.4),
    "Text4Seg LLaVA-1.5-13B": (91.2, 94.3, 88.0, 85.7, 90.8, 80.1, 85.6, 85.5),
}
_TEXTREGION = {
    "Red Circle, CLIP ViT-L/14@336": (38.0, 45.3, 32.9, 43.9, 51.0, 37.1, 47.2, 47.3),
    "TextRegion, CLIP ViT-L/14@336": (48.7, 56.4, 40.8, 53.6, 60.8, 44.3, 55.8, 54.6),
}
_NO_PROPOSALS = "TextRegion's boxes are chosen among MAttNet's proposals; ours are those around the masks."
_GREFCOCO_COLUMNS = tuple(f"{split} {figure}" for split in ("val", "testA", "testB") for figure in ("gIoU", "cIoU"))
_GREFCOCO = {
    "LAVT": (58.4, 57.6, 65.9, 65.3, 55.8, 55.0),
    "ReLA": (63.6, 62.4, 70.0, 69.3, 61.0, 59.9),
    "LISA 7B": (61.6, 61.8, 66.3, 68.5, 58.8, 60.6),
    "GSVA 7B": (66.5, 63.3, 71.1, 69.9, 62.2, 60.5),
    "Text4Seg DeepseekVL-1.3B": (69.9, 63.2, 69.7, 67.5, 62.3, 59.8),
    "Text4Seg Qwen-VL-7B": (74.4, 68.1, 73.1, 71.5, 66.7, 65.3),
    "Text4Seg LLaVA-1.5-7B": (73.6, 67.9, 74.1, 72.8, 66.1, 64.8),
    "Text4Seg InternVL2-8B": (74.4, 69.1, 75.1, 73.8, 67.3, 66.6),
    "Text4Seg LLaVA-1.5-13B": (74.8, 69.8, 75.1, 74.3, 68.0, 67.1),
}


@dataclass(frozen=True, slots=True, eq=False)
class ReferScore:
    """Of one split.

    Attributes:
        counted: Pixels of all expressions.
        boxes: Acc@0.5 of the boxes around the masks; None without a target.
        notes: How many expressions had no answer, by the reason.
    """

    counted: Overlaps
    boxes: float | None
    notes: Mapping[str, int]

    def figures(self) -> dict[str, float | None]:
        """All figures, in [0, 1]; None for what cannot be said."""
        absent, present = no_target(self.counted)
        shares = {
            "cIoU": ciou(self.counted),
            "gIoU": giou(self.counted),
            **{f"P@{threshold}": precision(self.counted, threshold) for threshold in THRESHOLDS},
            "N-acc": absent,
            "T-acc": present,
        }
        return {name: None if math.isnan(value) else value for name, value in shares.items()} | {"Acc@0.5": self.boxes}


def refer_score(rows: Iterable[Sequence[Any]]) -> ReferScore:
    """Score the rows of expressions, as from `referring.picture_counts`."""
    kept = list(rows)
    notes: dict[str, int] = {}
    for row in kept:
        if row[4]:
            notes[row[4]] = notes.get(row[4], 0) + 1
    return ReferScore(gathered(kept), box_share(kept), notes)


def refer_tables(title: str, method: str, data: str, scores: Mapping[str, ReferScore], notes: list[str]) -> list[Table]:
    """Text4Seg's tables 1 and 3, or 2 for gRefCOCO, with ours; and all our figures. In percent.

    Args:
        title: Of the tables.
        method: Our row.
        data: One of DATA_SETS.
        scores: By the name of the split.
        notes: Sentences below the first table.
    """
    figures = {split: _percent(score.figures()) for split, score in scores.items()}
    if data == "grefcoco":
        shown = {f"{split} {name}": found[name] for split, found in figures.items() for name in ("gIoU", "cIoU")}
        first = [_table(f"{title}: gIoU and cIoU", _GREFCOCO_COLUMNS, method, shown, _GREFCOCO, 2, notes)]
    else:
        masks, boxes = (
            {f"{data} {split}": found[name] for split, found in figures.items()} for name in ("cIoU", "Acc@0.5")
        )
        second = _table(f"{title}: Acc@0.5 of boxes", COLUMNS, method, boxes, _BOXES, 3, [_NO_PROPOSALS])
        region = [
            Method(name, dict(zip(COLUMNS, values, strict=True)), "arXiv 2505.23769, Table 2")
            for name, values in _TEXTREGION.items()
        ]
        second = Table(second.title, second.columns, second.ours, [*region, *second.published], second.notes)
        first = [_table(f"{title}: cIoU", COLUMNS, method, masks, _CIOU, 1, notes), second]
    everything = Table(
        f"{title}: all figures",
        tuple(next(iter(figures.values()))),
        [Method(f"{method}, {split}", found) for split, found in figures.items()],
    )
    return [*first, everything]


def _table(
    title: str,
    columns: Sequence[str],
    method: str,
    ours: Mapping[str, float | None],
    published: Mapping[str, Sequence[float]],
    number: int,
    notes: Sequence[str],
) -> Table:
    rows = [
        Method(name, dict(zip(columns, values, strict=True)), _SOURCE.format(number))
        for name, values in published.items()
    ]
    shown = tuple(dict.fromkeys((*columns, *ours)))  # a split that the paper does not have has its own column
    return Table(title, shown, [Method(method, ours)], rows, notes)


def _percent(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else 100 * value for name, value in figures.items()}
