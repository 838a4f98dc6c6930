"""The table of `vidmem eval supermemory`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .report import Method, Table
from .supermemory_files import MemoryQuestion
from .supermemory_metrics import FIRST, abstention, retrieval

COLUMNS = (
    *(f"hit@{k}" for k in FIRST),
    *(f"recall@{k}" for k in FIRST),
    *(f"IoU@{k}" for k in FIRST),
    "abstention",
    "balanced",
    "AUROC",
)
NOTE = (
    "Not the benchmark's own metrics: vidmem finds evidence and does not write answers. All figures are percent. "
    "hit@k: one of the first k windows overlaps the evidence. abstention: answered if and only if it can be answered."
)


def groups(questions: Sequence[MemoryQuestion]) -> dict[str, list[MemoryQuestion]]:
    """All questions, those whose evidence can be seen and those that cannot be answered, and those of each skill."""
    out = {"all": list(questions)}
    out["evidence seen"] = [one for one in questions if one.seen or not one.answerable]
    for skill in sorted({one.skill for one in questions}):
        out[skill] = [one for one in questions if one.skill == skill]
    return out


def memory_table(
    title: str, method: str, questions: Sequence[MemoryQuestion], results: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], Table]:
    """The figures of each group as plain data, and the table."""
    document, rows = {}, []
    for name, members in groups(questions).items():
        found, abstained = retrieval(members, results), abstention(members, results)
        document[name] = {"retrieval": asdict(found), "abstention": asdict(abstained)}
        shares: list[float | None] = [each[k] for each in (found.hit, found.recall, found.iou) for k in FIRST]
        if not found.questions:
            shares = [None] * len(shares)
        shares += [abstained.accuracy, abstained.balanced, abstained.auroc]
        figures = {
            column: None if share is None else 100 * share for column, share in zip(COLUMNS, shares, strict=True)
        }
        rows.append(Method(f"{method}, {name}", figures))
    return document, Table(title, COLUMNS, rows, notes=(NOTE,))
