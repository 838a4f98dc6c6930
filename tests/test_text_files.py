"""Text and JSON from outside: files only, of a bounded size, one kind of error."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem import text_files
from vidmem.errors import MediaError, ModelError, UsageError
from vidmem.text_files import csv_cells, is_plain_name, parse_json, read_bytes, read_json, read_json_lines, read_text


def test_text_is_read_with_and_without_a_mark(tmp_path: Path) -> None:
    for data in ("a\r\nü".encode(), "\ufeffa\r\nü".encode()):
        (tmp_path / "a").write_bytes(data)
        assert read_text(tmp_path / "a", "it cannot") == "a\r\nü"


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "zero", "loop", "nothing", ".", "a\0b", "\ud800"):
        with pytest.raises(MediaError, match=r"^the list cannot be read \(.+\); look again: "):
            read_text(tmp_path / name, "the list cannot", remedy="look again")


def test_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "_CHUNK", 1000)
    (tmp_path / "a").write_bytes(b"x" * (1 << 20))
    assert len(read_bytes(tmp_path / "a", "it cannot", limit=1 << 20)) == 1 << 20
    (tmp_path / "a").write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(MediaError, match=r"it cannot be read \(it is larger than 1 MB\)"):
        read_bytes(tmp_path / "a", "it cannot", limit=1 << 20)


def test_text_of_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"caf\xe9")
    with pytest.raises(ModelError, match=r"not UTF-8 text\); save it as such"):
        read_text(tmp_path / "a", "it cannot", error=ModelError)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a":' * 100_000, "9" * 5000, "{'a': 1}", "\xff"])
def test_other_texts_than_json_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").write_bytes(text.encode("latin-1"))
    with pytest.raises(MediaError, match=r"^it cannot be read \(not JSON: .+\); fetch it again: ") as caught:
        read_json(tmp_path / "a", "it cannot")
    assert ("(not JSON: it is nested too deeply)" in str(caught.value)) == (len(text) > 10_000)


def test_lines_of_json(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b'{"a": 1}\n\n[2]\r\n')
    assert read_json_lines(tmp_path / "a", "it cannot") == [{"a": 1}, [2]]
    (tmp_path / "a").write_bytes(b'{"a": 1}\n\n[2\n')
    with pytest.raises(MediaError, match=r"\(line 3 is not JSON: "):
        read_json_lines(tmp_path / "a", "it cannot")


def test_names_of_files() -> None:
    assert all(map(is_plain_name, ("a", "a b.mp4", "...", "чашка" * 20)))
    assert not any(map(is_plain_name, ("", ".", "..", "a/b", "a\\b", "a\0", "é" * 101)))


def test_cells_of_a_line() -> None:
    assert csv_cells(' cup ,"a,b", 1-2', "line 1") == ["cup", "a,b", "1-2"]
    assert csv_cells("a,b\tc", "line 1") == ["a,b", "c"]
    assert csv_cells("", "line 1") == []
    with pytest.raises(UsageError, match=r"^line 7 of q\.csv cannot be read \(field larger"):
        csv_cells('"' + "x" * 200_000 + '"', "line 7 of q.csv")


@given(st.binary(max_size=200) | st.text(max_size=50).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_json_or_refused(data: bytes) -> None:
    with suppress(ValueError):
        assert isinstance(parse_json(data), dict | list | str | int | float | None)


@given(st.text(max_size=100))
def test_any_line_has_cells_or_is_refused(line: str) -> None:
    with suppress(UsageError):
        assert all(cell == cell.strip() for cell in csv_cells(line, "the line"))


JSON: Any = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner))


@given(JSON)
def test_json_is_read_back(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value
