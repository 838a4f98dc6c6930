from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.errors import MediaError, UsageError
from vidmem.scale.manifest import Entry, entries, read_list


def _written(folder: Path, text: str, name: str = "list.txt") -> str:
    path = folder / name
    path.write_text(text, "utf-8")
    return str(path)


def test_lines_are_paths_beside_the_list(tmp_path: Path) -> None:
    path = _written(tmp_path, "\ufeffa.mp4\n\n# a remark\n  sub/*.mov \n/abs/c.mkv\nfile:///abs/d%20e.mp4\n")
    found = read_list(path)
    assert [(e.line, e.path) for e in found] == [
        (1, str(tmp_path / "a.mp4")),
        (4, str(tmp_path / "sub/*.mov")),
        (5, "/abs/c.mkv"),
        (6, "/abs/d e.mp4"),
    ]


def test_json_lines_say_topics_and_dates(tmp_path: Path) -> None:
    line = {"path": "run.mcap", "topics": ["/cam/*"], "recorded": "2026-01-31T08:30", "clock": "header"}
    (found,) = read_list(_written(tmp_path, json.dumps(line) + "\n", "a.jsonl"))
    assert found == Entry(str(tmp_path / "run.mcap"), 1, "2026-01-31T08:30", ("/cam/*",), "header")


def test_csv_has_a_header_and_cells_with_line_breaks(tmp_path: Path) -> None:
    text = 'topics,path,recorded\n"/cam/a\n/cam/b",run.mcap,\n,"x, y.mp4",name\n'
    found = read_list(_written(tmp_path, text, "a.csv"))
    assert [(e.line, Path(e.path).name, e.topics, e.recorded) for e in found] == [
        (2, "run.mcap", ("/cam/a", "/cam/b"), None),
        (4, "x, y.mp4", (), "name"),
    ]


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ('a.mp4\n{"path": 3}\n', "l.txt", "line 2: no path"),
        ('{"path": "a.mp4", "recorded": "noon-ish"}', "l.jsonl", "line 1: 'noon-ish' is not a date"),
        ('{"path": "a.mp4", "topic": "x"}', "l.jsonl", "line 1: no field 'topic'"),
        ('\n{"path": "a.mp4",}', "l.jsonl", "line 2: not JSON"),
        ('{"path": "a.mp4", "topics": [1]}', "l.jsonl", "line 1: `topics` is not a list of texts"),
        ('{"path": "a.mp4", "clock": "sun"}', "l.jsonl", "line 1: no clock 'sun'"),
        ("https://user:pw@host/a.mp4", "l.txt", "line 1: only files that all workers can open"),
        ("s3://bucket/a.mp4", "l.txt", "line 1: only files that all workers can open"),
        ("file://other/a.mp4", "l.txt", "line 1: the address of a file on another machine"),
        ("name\na.mp4\n", "l.csv", "line 1: the header of a CSV list needs one column `path`"),
        ("path,path\na.mp4,b.mp4\n", "l.csv", "line 1: the header of a CSV list needs one column `path`"),
        ('path\na.mp4\n"b.mp4\nc.mp4\n', "l.csv", "line 3: not CSV (unexpected end of data)"),
        ("path\n" + "a" * 200_000, "l.csv", "line 2: not CSV (field larger than field limit"),
        ('{"path": "a.mp4"}\n{"path": ' + "[" * 100_000, "l.jsonl", "line 2: not JSON of a list (nested too deep)"),
        ('[\n{"path": "a.mp4"}\n]\n', "l.json", "line 1: not JSON"),
        ('["a.mp4"]\n', "l.json", "line 1: no JSON object; write one on each line"),
        ("a.mp4\n", "l.ndjson", "line 1: not JSON"),
        ("path\na.mp4,b\n", "l.csv", "line 2: 2 cells under a header of 1"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, text: str, name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_list(_written(tmp_path, text, name))
    assert message in str(caught.value)
    assert "pw" not in str(caught.value)


def test_lines_end_where_editors_end_them(tmp_path: Path) -> None:
    text = "a\u2028b.mp4\r\nc\x0bd.mp4\re\x85f.mp4\n"
    found = read_list(_written(tmp_path, text))
    assert [(e.line, Path(e.path).name) for e in found] == [(1, "a\u2028b.mp4"), (2, "c\x0bd.mp4"), (3, "e\x85f.mp4")]


def test_all_mistakes_are_told_at_once_up_to_a_limit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"line 1: .*line 10: .*; and 2 more"):
        read_list(_written(tmp_path, '{"path": ""}\n' * 12))


def test_other_bytes_and_missing_lists(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_bytes(b"a.mp4\n\xff\n")
    with pytest.raises(UsageError, match="line 2 of the list is not UTF-8"):
        read_list(str(tmp_path / "l.txt"))
    with pytest.raises(MediaError, match="the list cannot be read"):
        read_list(str(tmp_path / "none.txt"))
    with pytest.raises(UsageError, match="nothing to index"):
        entries([_written(tmp_path, "# nothing\n")])


def test_what_is_no_list_is_an_input(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    listed = _written(tmp_path, "b.mp4\n")
    found = entries([tmp_path / "a.mp4", tmp_path, listed, str(tmp_path / "*.mp4")])
    assert [(e.line, e.path) for e in found] == [
        (0, str(tmp_path / "a.mp4")),
        (0, str(tmp_path)),
        (1, str(tmp_path / "b.mp4")),
        (0, str(tmp_path / "*.mp4")),
    ]


@given(st.text(max_size=200), st.sampled_from([".txt", ".csv", ".jsonl"]))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{name}"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        found = read_list(str(path))
    except UsageError:
        return
    assert all(entry.path.startswith("/") and entry.line > 0 for entry in found)
