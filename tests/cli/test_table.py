"""Tables: nothing is lost, no line is too long, no word is broken."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from vidmem.cli.table import GAP, MIN_NAME, cells, is_path, layout, shortened, wrapped

NAMES = st.text("abcde_-", min_size=1, max_size=20)
WORDS = st.text("abcdefgh,;", min_size=1, max_size=12)
TEXTS = st.lists(WORDS, min_size=1, max_size=8).map(" ".join)
NUMBERS = st.integers(-999, 99_999).map(str)
PATHS = st.lists(NAMES, min_size=1, max_size=7).map(lambda parts: "/" + "/".join(parts) + ".mp4")
WIDTHS = st.integers(40, 140)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    kinds = draw(st.lists(st.sampled_from([TEXTS, NUMBERS, PATHS]), min_size=1, max_size=6))
    head = [draw(st.text("KLMNOP", min_size=1, max_size=12)) for _ in kinds]
    rows = draw(st.lists(st.tuples(*kinds).map(list), min_size=1, max_size=6))
    return [head, *rows]


@given(tables(), WIDTHS)
def test_no_line_is_too_long_and_no_word_is_broken(rows: list[list[str]], width: int) -> None:
    lines = layout(rows, width)
    assert max(map(len, lines)) <= width or any(
        len({cell for cell in column if is_path(cell)}) > 1 for column in zip(*rows, strict=True)
    )  # paths that must stay different may be wider
    shown = set(" ".join(lines).split())
    for cell in (cell for row in rows[1:] for cell in row if not is_path(cell)):
        assert shown.issuperset(cell.split())
    assert shown.issuperset(rows[0])


@given(tables())
def test_without_a_width_all_of_it_is_there(rows: list[list[str]]) -> None:
    lines = layout(rows, None)
    assert len(lines) == len(rows)
    for row, line in zip(rows, lines, strict=True):
        place = 0
        for cell in row:
            place = line.index(cell, place) + len(cell)


@given(st.lists(PATHS, min_size=1, max_size=8), st.integers(MIN_NAME, 60))
@example(["/d/d_____.mp4", "/____/d_____.mp4", "/____/d/d_____.mp4"], 16)
def test_shortened_paths_tell_the_paths_apart(paths: list[str], width: int) -> None:
    short = shortened(paths, width)
    assert [paths.index(path) for path in paths] == [short.index(form) for form in short]
    for path, form in zip(paths, short, strict=True):
        *pieces, tail = form.split("…")
        assert path.endswith(tail)
        assert all(piece in path for piece in pieces)
        assert len(form) <= max(width, len(path))
    if len(set(paths)) == 1:
        assert all(len(form) <= width for form in short)


def test_how_paths_are_shortened() -> None:
    walk, other = "/home/ann/videos/2026/kitchen/walk.mp4", "/home/ann/videos/2026/garden/walk.mp4"
    assert shortened([walk], 38) == [walk]
    assert shortened([walk], 26) == ["/home/…/kitchen/walk.mp4"]
    assert shortened([walk], 18) == ["/home/…/walk.mp4"]
    assert shortened([walk], 15) == ["walk.mp4"]
    assert shortened([walk, other], 18) == ["…/kitchen/walk.mp4", "…/garden/walk.mp4"]
    assert shortened(["/v/a_very_long_name_of_a_film.mp4"], 20) == ["a_very_lon…_film.mp4"]
    alike = ["/v/a_very_long_name_1_of_a_film.mp4", "/v/a_very_long_name_2_of_a_film.mp4"]
    assert shortened(alike, 20) == ["a_very_long_name_1_of_a_film.mp4", "a_very_long_name_2_of_a_film.mp4"]
    assert shortened(["/data/logs/run.mcap#/cam/front"], 22) == ["run.mcap#/cam/front"]


def test_numbers_end_in_one_column() -> None:
    rows = [("frames", "size", "at", "name"), ("7", "1.5 kB", "0:07.5", "1a"), ("120", "-", "1:00:07.5", "b")]
    assert layout(rows, 80) == [
        "frames    size         at  name",
        "     7  1.5 kB     0:07.5  1a",
        "   120       -  1:00:07.5  b",
    ]


def test_a_table_that_cannot_fit_becomes_blocks() -> None:
    rows = [("name", "knows"), ("tiny", "many everyday names " * 6), ("clip", "any phrase")]
    lines = layout(rows, 30)
    assert lines[0] == "name   tiny"
    assert lines[1].startswith("knows  many everyday")
    assert lines[-3:] == ["", "name   clip", "knows  any phrase"]


def test_blocks_tell_paths_apart() -> None:
    rows = [("source", "notes"), *((f"/home/ann/{room}/walk.mp4", "many words " * 9) for room in ("garden", "kitchen"))]
    lines = layout(rows, 30)
    assert [line.split()[-1] for line in lines if ".mp4" in line] == ["…/garden/walk.mp4", "…/kitchen/walk.mp4"]


def test_facts_have_no_header_and_long_words_lose_their_middle() -> None:
    lines = layout([("", ""), ("weights", "0123456789abcdef" * 5), ("in", "/a/b/c/d/e/f/g/h/walk.mp4")], 30)
    assert lines == ["weights  0123456789…6789abcdef", "in       /a/…/e/f/g/h/walk.mp4"]
    assert layout([("", ""), ("weights", "ab" * 50)], None) == ["weights  " + "ab" * 50]


def test_wide_letters_take_two_columns() -> None:
    assert (cells("ab"), cells("杯子"), cells("e\u0301")) == (2, 4, 1)
    lines = layout([("name", "n"), ("杯子", "1"), ("cup", "22")], 80)
    assert [cells(line) for line in lines] == [cells(lines[0])] * 3


@given(TEXTS, st.integers(12, 60))
def test_wrapped_text_is_the_same_words(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert " ".join(lines) == text
    assert all(len(line) <= width for line in lines)
    assert GAP not in text
