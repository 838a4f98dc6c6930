"""The table of `vidmem eval points`: GEM's, with its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from .points import PointScore
from .report import Method, Table

COLUMNS = ("p-mIoU", "p-mIoU per picture")
_SOURCE = "arXiv 2312.00878, Table 3"
_PUBLISHED = {
    "OVSeg": 22.5,
    "SegCLIP": 32.1,
    "GroupViT": 36.5,
    "CLIP": 27.6,
    "MaskCLIP": 42.0,
    "CLIPSurgery": 47.8,
    "GEM, CLIP": 50.9,
    "GEM, MetaCLIP": 51.9,
    "GroundingSAM": 53.3,
    "GEM with SAM, CLIP": 53.4,
    "GEM with SAM, MetaCLIP": 55.2,
}


def point_table(title: str, method: str, found: PointScore, notes: Sequence[str]) -> Table:
    """Our figures, in percent, beside published ones on the validation set."""
    ours = dict(zip(COLUMNS, (100 * found.per_class, 100 * found.per_image), strict=True))
    published = [Method(name, {COLUMNS[0]: value}, _SOURCE) for name, value in _PUBLISHED.items()]
    told = [
        "p-mIoU pools the points of a class over all pictures and takes the mean over classes; per picture, it is the "
        "mean over all pairs of picture and class. The paper does not say which of the two it reports.",
        *notes,
    ]
    return Table(title, COLUMNS, [Method(method, ours)], published, told)
