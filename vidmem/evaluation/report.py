"""The report of an evaluation: JSON, and a table in Markdown with published numbers beside ours.

RUN/report.json
RUN/report.md
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..export.files import replacing

REPORT, MARKDOWN = "report.json", "report.md"


@dataclass(frozen=True, slots=True)
class Method:
    """A row of a table.

    Attributes:
        name: Of the method.
        figures: By column; a column that is left out is not known.
        source: Where published figures stand, such as "arXiv 2604.18573, Table 2"; empty for our own.
    """

    name: str
    figures: Mapping[str, float | None]
    source: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Our figures and published ones, in the layout of the paper.

    Attributes:
        title: What was measured, on what, and of how many items.
        columns: Headings, in order.
        ours: Our rows.
        published: Rows of papers.
        notes: Sentences below the table: where the protocol differs, what was left out.
        digits: Decimals of figures.
    """

    title: str
    columns: Sequence[str]
    ours: Sequence[Method]
    published: Sequence[Method] = ()
    notes: Sequence[str] = field(default=())
    digits: int = 1

    def cells(self) -> list[tuple[str, ...]]:
        """The table as text, the headings first: method, figures, source. Unknown figures are a dash."""
        rows = [("", *self.columns, "source")]
        for method in (*self.published, *self.ours):
            figures = (self._figure(method.figures.get(column)) for column in self.columns)
            rows.append((method.name, *figures, method.source or "this run"))
        return rows

    def _figure(self, value: float | None) -> str:
        known = without_nan(value)
        return "-" if known is None else f"{known:.{self.digits}f}"

    def plain(self) -> dict[str, Any]:
        """The table as plain data."""
        return {
            "title": self.title,
            "columns": list(self.columns),
            "ours": [_row(method) for method in self.ours],
            "published": [_row(method) for method in self.published],
            "notes": list(self.notes),
        }


def _row(method: Method) -> dict[str, Any]:
    return {"method": method.name, "figures": without_nan(dict(method.figures)), "source": method.source or None}


def without_nan(value: Any) -> Any:
    """Plain data with None for each number that is not finite: JSON has none, and a figure of nothing is not known."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return value


def markdown(table: Table) -> str:
    """The table in Markdown, with its title and notes."""
    head, *rows = [[cell.replace("|", "\\|") for cell in row] for row in table.cells()]
    lines = [f"## {table.title}", "", _bars(head), _bars(["---", *["---:"] * len(table.columns), "---"])]
    lines += [_bars(row) for row in rows]
    return "\n".join([*lines, *(f"\n{note}" for note in table.notes)]) + "\n"


def _bars(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_report(folder: str | Path, document: Mapping[str, Any], tables: Sequence[Table]) -> None:
    """Write both files of a run. Each is complete or not there.

    Args:
        folder: Of the run.
        document: The figures in full, as plain data. The tables are added to the JSON under `tables`. Figures that are
            not finite become null.
        tables: The tables.

    Raises:
        MediaError: A file cannot be written.
    """
    full = without_nan({**document, "tables": [table.plain() for table in tables]})
    text = json.dumps(full, indent=1, allow_nan=False)
    pages = "\n".join(markdown(table) for table in tables)
    for name, content in ((REPORT, text + "\n"), (MARKDOWN, pages)):
        with replacing(str(Path(folder) / name), "the report") as part:
            Path(part).write_text(content, "utf-8")
