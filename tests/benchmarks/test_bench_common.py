import argparse
import importlib
from pathlib import Path

import pytest

from benchmarks import common
from benchmarks.common import box_iou, parse_range, quantile, table, tiou, wilson, write_json

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_tiou_of_overlapping_touching_apart_and_equal_spans():
    assert tiou((0, 4), (2, 6)) == pytest.approx(2 / 6)
    assert tiou((0, 2), (2, 4)) == 0
    assert tiou((0, 1), (3, 4)) == 0
    assert tiou((1, 3), (1, 3)) == 1
    assert tiou((2, 2), (2, 2)) == 1
    assert tiou((2, 2), (0, 4)) == 0


def test_box_iou_of_overlapping_apart_and_empty_boxes():
    assert box_iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert box_iou((0, 0, 1, 1), (5, 5, 6, 6)) == 0
    assert box_iou((1, 1, 1, 1), (1, 1, 1, 1)) == 0


def test_ranges():
    assert list(parse_range("9000:9003")) == [9000, 9001, 9002]
    assert list(parse_range("7")) == [7]


@pytest.mark.parametrize("text", ["", "a:b", "3:", "-1:2"])
def test_ranges_fail(text):
    with pytest.raises(argparse.ArgumentTypeError):
        parse_range(text)


def test_wilson_holds_the_rate_and_is_within_bounds():
    low, high = wilson(8, 10)
    assert 0 < low < 0.8 < high < 1
    assert wilson(0, 5)[0] == 0
    assert wilson(0, 0) is None


def test_quantile():
    assert quantile([3, 1, 2], 0.5) == 2
    assert quantile([0, 10], 0.95) == pytest.approx(9.5)


def test_table_and_json(tmp_path):
    lines = table(["kind", "n"], [["a", 1], ["bcdef", None], ["x", 0.12345]]).splitlines()
    assert lines[0].split() == ["kind", "n"]
    assert lines[2].split() == ["bcdef", "-"]
    assert lines[3].split() == ["x", "0.123"]
    write_json(tmp_path / "deep" / "a.json", {"a": 1})
    assert (tmp_path / "deep" / "a.json").read_text() == '{\n  "a": 1\n}\n'
    assert len(list((tmp_path / "deep").iterdir())) == 1


@pytest.mark.parametrize("name", sorted(path.stem for path in BENCHMARKS.glob("[!_]*.py")))
def test_every_benchmark_can_be_imported(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")


def test_every_file_has_a_place_in_the_readme() -> None:
    folder = Path(common.__file__).parent
    text = (folder / "README.md").read_text("utf-8")
    for path in folder.glob("*.py"):
        assert path.name == "__init__.py" or f"`{path.stem}`" in text, path.name
