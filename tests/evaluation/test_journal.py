"""The journal of an evaluation: resuming, torn lines, other settings, two runs at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidmem.errors import LockedError, MediaError, UsageError
from vidmem.evaluation.journal import RESULTS, Journal
from vidmem.evaluation.run import Outcome, run_items, sha256

SETTINGS = {"benchmark": "x", "encoder": "tiny"}


def test_results_are_there_after_reopening(tmp_path: Path) -> None:
    with Journal(tmp_path / "run", SETTINGS) as journal:
        journal.add("a", {"hits": np.array([1, 2]), "share": np.float64(0.1)})
        journal.add("b", None)
        first = dict(journal.done)
    with Journal(tmp_path / "run", SETTINGS) as journal:
        assert journal.done == first == {"a": {"hits": [1, 2], "share": 0.1}, "b": None}
        assert list(journal.done) == ["a", "b"]


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_torn_last_line_is_dropped(tmp_path: Path, cut: int) -> None:
    with Journal(tmp_path, SETTINGS) as journal:
        journal.add("a", 1)
        journal.add("b", "a long enough result")
    path = tmp_path / RESULTS
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(tmp_path, SETTINGS) as journal:
        assert journal.done == {"a": 1}
        journal.add("b", 2)
    with Journal(tmp_path, SETTINGS) as journal:
        assert journal.done == {"a": 1, "b": 2}


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    Journal(tmp_path, SETTINGS).close()
    with pytest.raises(UsageError, match=r'another `encoder` \("tiny", now "clip"\)'):
        Journal(tmp_path, SETTINGS | {"encoder": "clip"})
    with pytest.raises(UsageError, match="another `limit`"):
        Journal(tmp_path, SETTINGS | {"limit": 3})
    with pytest.raises(UsageError, match="another `encoder`"):
        Journal(tmp_path, {"benchmark": "x"})


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with Journal(tmp_path, SETTINGS), pytest.raises(LockedError, match="another evaluation"):
        Journal(tmp_path, SETTINGS)
    Journal(tmp_path, SETTINGS).close()


@pytest.mark.parametrize("text", ["", "[]\n", "{}\n", '{"settings":1}\nnot json\n', "[" * 100_000 + "\n"])
def test_a_damaged_journal_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / RESULTS).write_text(text)
    with pytest.raises((MediaError, UsageError), match=r"journal|run"):
        Journal(tmp_path, SETTINGS)
    assert (tmp_path / RESULTS).read_text() == text


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    with Journal(tmp_path, SETTINGS) as journal:
        journal.add("a", 1)
        journal.add("b", 2)
    lines = (tmp_path / RESULTS).read_text().splitlines()
    (tmp_path / RESULTS).write_text("\n".join([lines[0], lines[1][:-1], lines[2]]) + "\n")
    with pytest.raises(MediaError, match="line 2 of the journal is damaged"):
        Journal(tmp_path, SETTINGS)


@pytest.mark.parametrize("change", [('"result":[1,2]', '"result":5'), ('"key":"a"', '"key":"b"'), ("1,2", "1,3")])
def test_a_line_that_is_still_json_is_damaged_all_the_same(tmp_path: Path, change: tuple[str, str]) -> None:
    with Journal(tmp_path, SETTINGS) as journal:
        journal.add("a", [1, 2])
        journal.add("c", [3])
    path = tmp_path / RESULTS
    whole = path.read_text()
    assert all(json.loads(line)["crc32"] for line in whole.splitlines())
    path.write_text(whole.replace(*change))
    with pytest.raises(MediaError, match="line 2 of the journal is damaged"):
        Journal(tmp_path, SETTINGS)
    path.write_text(whole.replace("tiny", "tidy"))
    with pytest.raises(MediaError, match="line 1 of the journal is damaged"):
        Journal(tmp_path, SETTINGS)


def test_an_item_is_done_again_when_its_files_change(tmp_path: Path) -> None:
    def files(name: str) -> list[Path]:
        return [tmp_path / name]

    def work(name: str) -> str:
        try:
            return (tmp_path / name).read_text()
        except OSError:
            raise MediaError("it is missing") from None

    def once() -> Outcome:
        with Journal(tmp_path / "run", SETTINGS) as journal:
            return run_items(journal, "ab", str, work, files=files)

    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    assert once() == Outcome({"a": "1", "b": "2"}, {})
    assert once() == Outcome({"a": "1", "b": "2"}, {})
    (tmp_path / "b").write_text("3")
    assert once() == Outcome({"a": "1", "b": "3"}, {}, ("b",))
    assert once() == Outcome({"a": "1", "b": "3"}, {})
    (tmp_path / "a").unlink()
    assert once() == Outcome({"b": "3"}, {"a": "it is missing"})
    (tmp_path / "a").write_text("1")
    assert once() == Outcome({"a": "1", "b": "3"}, {})


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="cannot be written"):
        Journal(tmp_path / "file", SETTINGS)


def test_items_are_done_once_and_damaged_ones_again(tmp_path: Path) -> None:
    broken, worked = {"b"}, []

    def work(item: str) -> str:
        worked.append(item)
        if item in broken:
            raise MediaError(f"{item} is damaged")
        return item * 2

    with Journal(tmp_path, SETTINGS) as journal:
        outcome = run_items(journal, "abc", str, work)
    assert (outcome.results, outcome.skipped) == ({"a": "aa", "c": "cc"}, {"b": "b is damaged"})
    broken.clear()
    with Journal(tmp_path, SETTINGS) as journal:
        outcome = run_items(journal, "abc", str, work)
    assert list(outcome.results.items()) == [("a", "aa"), ("b", "bb"), ("c", "cc")]
    assert not outcome.skipped
    assert worked == ["a", "b", "c", "b"]


def test_items_of_one_name_are_refused(tmp_path: Path) -> None:
    with Journal(tmp_path, SETTINGS) as journal, pytest.raises(MediaError, match="two items of one name"):
        run_items(journal, "aba", str, str)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=4), unique=True, max_size=6), st.integers(0, 6), st.integers(0, 200))
def test_an_interrupted_run_has_the_same_results(
    tmp_path_factory: pytest.TempPathFactory, items: list[str], stop: int, cut: int
) -> None:
    def work(item: str) -> dict[str, float]:
        if work.__dict__.get("left", 1 << 30) == 0:
            raise KeyboardInterrupt
        work.__dict__["left"] = work.__dict__.get("left", 1 << 30) - 1
        return {"share": len(item) / 3}

    folder = tmp_path_factory.mktemp("run")
    with Journal(folder / "whole", SETTINGS) as journal:
        whole = run_items(journal, items, str, work)
    work.__dict__["left"] = stop
    try:
        with Journal(folder / "parts", SETTINGS) as journal:
            run_items(journal, items, str, work)
    except KeyboardInterrupt:
        path = folder / "parts" / RESULTS
        first = path.read_bytes().index(b"\n") + 1
        path.write_bytes(path.read_bytes()[: max(first, path.stat().st_size - cut)])
    work.__dict__["left"] = 1 << 30
    with Journal(folder / "parts", SETTINGS) as journal:
        parts = run_items(journal, items, str, work)
    assert json.dumps(parts.results) == json.dumps(whole.results)


def test_the_hash_of_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot be read"):
        sha256(tmp_path / "none")
