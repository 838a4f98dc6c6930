"""How answers and memories are displayed; displaying them never fails."""

from __future__ import annotations

import base64
import copy
import io
import pickle
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from encoders.fake import save, video, walk
from PIL import Image

from vidmem.errors import UsageError
from vidmem.indexer.progress import IndexProgress
from vidmem.memory import Memory
from vidmem.query.answers import Answer
from vidmem.query.documents import COLUMNS
from vidmem.records import Sighting
from vidmem.timecode import NS, relative_date

pytestmark = pytest.mark.usefixtures("default_fake")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return video(tmp_path_factory.mktemp("clip") / "a<b>.mp4", walk())


@pytest.fixture
def memory(tmp_path: Path, clip: Path) -> Iterator[Memory]:
    with Memory.open(tmp_path / "memory") as m:
        m.index(clip)
        yield m


def sheet(html: str) -> Image.Image | None:
    match = re.search(r'src="data:image/png;base64,([^"]+)"', html)
    return None if match is None else Image.open(io.BytesIO(base64.b64decode(match[1])))


def test_in_a_prompt(memory: Memory, tmp_path: Path) -> None:
    assert repr(memory) == f"<Memory {tmp_path / 'memory'}: 1 sources, 5 tracks>"
    answer = memory.where("blue")
    assert repr(answer) == "<Answer 'blue': 0:09.6 to 0:11.8 in a<b>.mp4; 1 of 2 sightings>"
    assert repr(answer[0]) == "<Sighting 0:09.6 to 0:11.8 in a<b>.mp4, score 1.000>"
    assert repr(memory.where("yellow")).startswith("<Answer 'yellow': not found; nearest: 0:")
    assert repr(Answer(())) == "<Answer to a question: not found>"
    likely = replace(answer[0], probability=0.5, picture="/p/thing.png")
    assert repr(likely) == "<Sighting thing.png, score 1.000, probability 0.50>"
    memory.close()
    assert repr(memory).endswith("memory: closed>")


def test_in_a_notebook(memory: Memory, clip: Path) -> None:
    answer = memory.where("blue", top=None)
    html = answer._repr_html_()
    shown = sheet(html)
    assert shown is not None
    assert shown.width <= 1000
    assert html.count("<tr>") == 3
    assert "a&lt;b&gt;.mp4" in html
    assert "a<b>" not in html
    missing = memory.where("yellow")._repr_html_()
    assert "not found; the nearest" in missing
    assert sheet(missing) is None
    assert "a&lt;b&gt;.mp4" in answer[0]._repr_html_()
    table = memory._repr_html_()
    assert "<td>0:12.0</td><td>60</td><td>done</td>" in table
    assert "a<b>" not in table


def test_photos_in_a_notebook() -> None:
    """A photo has a date and no time in a video; the date column is left out if no date is known."""
    photo = Sighting(
        "/p",
        40 * NS,
        40 * NS,
        0.5,
        0.5,
        None,
        40 * NS,
        (0, 0, 9, 9),
        picture="/p/cup.jpg",
        probability=0.7,
        recorded_ns=1_769_848_200 * NS,
        recorded_by="exif",
    )
    html = photo._repr_html_()
    assert "0:40" not in html
    assert "<th>when</th><th>from</th><th>to</th>" in html
    assert f"<td>{relative_date(photo.recorded_ns)}</td><td>-</td><td>-</td><td>0.500</td><td>0.70</td>" in html
    film = replace(photo, picture=None, recorded_ns=None)
    assert "<th>when</th>" not in film._repr_html_()
    assert "<td>0:40.0</td><td>0:40.0</td>" in film._repr_html_()
    both = Answer((photo, film), total=2)._repr_html_()
    assert "<td>-</td><td>0:40.0</td>" in both
    assert "likelier" not in both
    likelier = Answer((film,), likelier=replace(photo, probability=0.95))._repr_html_()
    assert likelier.index("likelier, but older") < likelier.index("<td>0.95</td>") < likelier.index("/p/cup.jpg")


def test_photos_have_no_length(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    save(tmp_path / "p" / "cup.png", {"blue": (32, 32)})
    with Memory.open(tmp_path / "memory") as m:
        m.index(tmp_path / "p")
        assert "<td>-</td><td>1</td><td>done</td>" in m._repr_html_()


def test_what_is_gone_is_left_out(tmp_path: Path) -> None:
    """The picture depends on the video and on the memory's folder, not on the open Memory."""
    path = video(tmp_path / "v.mp4", walk())
    with Memory.open(tmp_path / "memory") as m:
        m.index(path)
        answer = m.where("blue")
        moved = path.rename(tmp_path / "w.mp4")
        assert sheet(answer._repr_html_()) is None
        assert "<table>" in answer._repr_html_()
        moved.rename(path)
    assert sheet(answer._repr_html_()) is not None
    again = pickle.loads(pickle.dumps(answer))
    assert again == copy.deepcopy(answer) == answer
    (tmp_path / "memory").rename(tmp_path / "elsewhere")
    assert sheet(again._repr_html_()) is None
    assert m._repr_html_() == f"<p>Memory {tmp_path / 'memory'}: closed</p>"


def test_odd_answers_show_themselves() -> None:
    odd = Sighting("<script>\n", -5, 1 << 62, float("nan"), None, None, 0, (0, 0, 0, float("inf")), probability=-1.0)
    for query in ({}, {"text": "<b>", "image": 3, "crop": {}}):
        answer = Answer((odd,) * 30, query=query, notes=("<i>",))
        html = answer._repr_html_()
        assert "<script>" not in html
        assert "<i>" not in html
        assert "and 10 more" in html
        assert repr(answer)


def test_plain_data(memory: Memory) -> None:
    rows = memory.where("blue", top=None).to_dicts()
    assert [row["start_s"] for row in rows] == pytest.approx([9.6, 0])
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["start_ns"] == str(round(9.6 * NS))
    assert memory.where("yellow").to_dicts() == []


def test_a_table_of_pandas(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = memory.where("blue", top=None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"pandas is not installed; `pip install pandas`, or use to_dicts\(\)"):
        answer.to_pandas()

    class Pandas:
        @staticmethod
        def DataFrame(rows: Any, columns: Any) -> Any:
            return rows, columns

    monkeypatch.setitem(sys.modules, "pandas", Pandas)
    assert answer.to_pandas() == (answer.to_dicts(), list(COLUMNS))


def test_progress(tmp_path: Path, clip: Path) -> None:
    seen: list[IndexProgress] = []
    with Memory.open(tmp_path / "memory") as m:
        m.index(clip, progress=seen.append)
    assert {one.source for one in seen} == {str(clip)}
    assert {one.total_ns for one in seen} == {12 * NS}
    assert [one.frames for one in seen] == sorted(one.frames for one in seen)
    assert seen[-1].frames == 60
    assert seen[-1].done_ns > 11 * NS
