"""The report of an evaluation: its table and its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidmem.errors import MediaError
from vidmem.evaluation.report import MARKDOWN, REPORT, Method, Table, markdown, write_report

TABLE = Table(
    "A set, 2 pictures",
    ("mIoU", "VC8"),
    [Method("tiny", {"mIoU": 12.34, "VC8": None})],
    [Method("a | b", {"mIoU": 38.3}, "a paper, Table 2")],
    ["The protocol differs."],
)


def test_published_rows_stand_above_ours() -> None:
    assert markdown(TABLE).splitlines() == [
        "## A set, 2 pictures",
        "",
        "|  | mIoU | VC8 | source |",
        "| --- | ---: | ---: | --- |",
        "| a \\| b | 38.3 | - | a paper, Table 2 |",
        "| tiny | 12.3 | - | this run |",
        "",
        "The protocol differs.",
    ]


def test_both_files_are_written(tmp_path: Path) -> None:
    write_report(tmp_path, {"figures": {"mIoU": 0.1234}}, [TABLE])
    found = json.loads((tmp_path / REPORT).read_text())
    assert found["figures"] == {"mIoU": 0.1234}
    assert found["tables"][0]["ours"] == [{"method": "tiny", "figures": {"mIoU": 12.34, "VC8": None}, "source": None}]
    assert (tmp_path / MARKDOWN).read_text() == markdown(TABLE)
    assert sorted(path.name for path in tmp_path.iterdir()) == [REPORT, MARKDOWN]


def test_figures_of_nothing_are_null(tmp_path: Path) -> None:
    table = Table("A set", ("mIoU",), [Method("tiny", {"mIoU": float("nan")})])
    write_report(tmp_path, {"figures": {"mIoU": float("nan"), "rows": [(1, float("inf"))]}}, [table])

    def refused(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads((tmp_path / REPORT).read_text(), parse_constant=refused)
    assert found["figures"] == {"mIoU": None, "rows": [[1, None]]}
    assert found["tables"][0]["ours"][0]["figures"] == {"mIoU": None}
    assert "| tiny | - | this run |" in (tmp_path / MARKDOWN).read_text()


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="the report cannot be written"):
        write_report(tmp_path / "none", {}, [TABLE])
