"""The table of `vidmem eval reasonseg`: TextRegion's, which has LISA's numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .report import Method, Table

COLUMNS = tuple(f"{part} {figure}" for part in ("short", "long", "overall") for figure in ("gIoU", "cIoU"))
_SOURCE = "arXiv 2505.23769, Table 3"
_PUBLISHED = {
    "LISA, LLaVA1.5-7B": (47.1, 48.5, 49.2, 48.9, 48.7, 48.8),
    "OVSeg": (18.0, 15.5, 28.7, 22.5, 26.1, 20.8),
    "X-Decoder": (20.4, 11.6, 22.2, 17.5, 21.7, 16.3),
    "SEEM": (20.1, 11.5, 25.6, 20.8, 24.3, 18.7),
    "Grounded-SAM": (17.8, 10.8, 22.4, 18.6, 21.3, 16.4),
    "Trident": (19.9, 12.9, 24.5, 23.1, 23.3, 20.0),
    "TextRegion": (21.6, 15.6, 26.4, 24.1, 25.2, 21.6),
    "OVSeg, questions answered by LLaVA": (24.2, 18.7, 44.6, 37.1, 39.7, 31.8),
    "Trident, questions answered by LLaVA": (23.0, 24.2, 43.3, 42.5, 38.4, 39.2),
    "TextRegion, questions answered by LLaVA": (28.5, 30.6, 47.2, 45.3, 42.7, 42.4),
}


def reason_table(title: str, method: str, figures: Mapping[str, float | None], notes: Sequence[str]) -> Table:
    """Our figures, in percent, beside published ones on the test split."""
    ours = {name: None if value is None else 100 * value for name, value in figures.items()}
    published = [Method(name, dict(zip(COLUMNS, values, strict=True)), _SOURCE) for name, values in _PUBLISHED.items()]
    return Table(
        title, COLUMNS, [Method(method, ours)], published, ["Published figures are of the test split.", *notes]
    )
