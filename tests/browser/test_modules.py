"""The modules that compute: words for times and dates, the address of a question, the box of a thing over time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .watched import Watched, until

PAGE = Path(__file__).parents[2] / "vidmem" / "serve" / "page"
HTML = '<!doctype html><html lang="en"><title>t</title><main><h1>t</h1></main>'
HOST = "http://127.0.0.1:1"


class Modules:
    """The modules in a page of their own."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def __call__(self, module: str, function: str, *given: Any) -> Any:
        """Call a function of a module with values that JSON has."""
        script = f"async (given) => (await import('/static/js/{module}')).{function}(...given)"
        return self.page.evaluate(script, list(given))


@pytest.fixture
def call(open_page: Callable[..., Watched]) -> Modules:
    watched = open_page(timezone_id="Europe/Berlin")

    def answer(route: Any) -> None:
        path = route.request.url.removeprefix(HOST).partition("?")[0]
        if path.startswith("/static/"):
            body = (PAGE / path.removeprefix("/static/")).read_text("utf-8")
            route.fulfill(body=body, content_type="text/javascript")
        elif path.startswith("/api/"):
            route.fulfill(
                body=json.dumps({"width": 100, "height": 100, "frames": FRAMES}), content_type="application/json"
            )
        else:
            route.fulfill(body=HTML, content_type="text/html")

    watched.page.route(f"{HOST}/**", answer)
    watched.page.goto(f"{HOST}/")

    return Modules(watched.page)


def test_times_in_a_video(call: Modules) -> None:
    seconds = [0, 12.96, 59.999, 62, 3723.4, -5]
    assert [call("format.js", "clock", s) for s in seconds] == ["0:00", "0:12", "0:59", "1:02", "1:02:03", "-0:05"]
    assert [call("format.js", "clock", s, True) for s in (59.96, 12.34, 3599.99)] == ["1:00.0", "0:12.3", "1:00:00.0"]


def test_lengths_of_time(call: Modules) -> None:
    seconds = [0, 0.2, 0.96, 4.4, 60, 125, 3600, 3780]
    words = ["0.1 s", "0.2 s", "1 s", "4 s", "1 min", "2 min 5 s", "1 h", "1 h 3 min"]
    assert [call("format.js", "span", s) for s in seconds] == words


def test_probabilities_never_read_as_certain_or_impossible(call: Modules) -> None:
    shares = [0, 0.004, 0.006, 0.915, 0.994, 0.996, 1]
    words = ["< 1 %", "< 1 %", "1 %", "92 %", "99 %", "> 99 %", "> 99 %"]
    assert [call("format.js", "percent", p) for p in shares] == words


def test_dates_by_the_clock_of_the_reader(call: Modules) -> None:
    """In Berlin, 23:30 in Greenwich is the next day."""
    days = [
        "2026-11-30T09:00:00Z",
        "2026-11-28T23:30:00Z",
        "2026-11-26T12:00:00Z",
        "2026-03-12T12:00:00Z",
        "2024-03-12T12:00:00Z",
    ]
    script = """async (days) => { const { day } = await import('/static/js/format.js');
      return days.map((d) => day(new Date(d), new Date('2026-11-30T10:00:00Z'))); }"""
    found = call.page.evaluate(script, days)
    assert found == ["Today", "Yesterday", "Thursday", "12 Mar", "12 Mar 2024"]
    assert call("format.js", "when", "2020-05-01T16:02:00Z", "container") == "1 May 2020 18:02"
    assert call("format.js", "when", "2020-05-01T16:02:00Z", "day") == "1 May 2020"
    assert call("format.js", "when", None) == call("format.js", "when", "no date") == ""


def test_names_of_sources(call: Modules) -> None:
    names = {
        "/a/b/film.mp4": "film.mp4",
        "C:\\v\\x.mp4": "x.mp4",
        "/l/run.mcap#/camera": "run.mcap # /camera",
        "/photos/": "photos",
        "/x/\u202egpj.exe.mp4": "gpj.exe.mp4",
        "/x/كلب.mkv": "\u2066كلب.mkv\u2069",
    }
    assert [call("format.js", "sourceName", path) for path in names] == list(names.values())


def test_a_question_comes_back_from_its_address(call: Modules) -> None:
    script = """async (question) => {
      const { readQuestion, parameters } = await import('/static/js/question.js');
      const { query } = await import('/static/js/api.js');
      return readQuestion(new URLSearchParams(query(parameters(question)))); }"""
    question = {
        **{"text": "cup & saucer = 100 %", "picture": "", "crop": "3@12ns:1,2,3,4", "source": ["2", "7"]},
        **{
            "after": "yesterday 18:00",
            "before": "",
            "near": ["a, b", "#?"],
            "within": "3s",
            "apart": "2",
            "min_probability": "0.8",
        },
    }
    assert call.page.evaluate(script, question) == question
    lonely = {**question, "near": []}
    back = call.page.evaluate(script, lonely)
    assert back == {**lonely, "within": "", "apart": ""}, "they say nothing without something to be near"


def test_a_box_in_an_address(call: Modules) -> None:
    crop = call("question.js", "cropOf", 3, "12000000001", [10.4, 20.6, 110.2, 20.7])
    assert crop == "3@12000000001ns:10,21,100,1"
    assert call("question.js", "readCrop", crop) == {"source": 3, "ns": "12000000001", "box": [10, 21, 110, 22]}
    assert call("question.js", "readCrop", "3@12s:1,2") is None


FRAMES = [
    {
        "t_ns": "1000000000",
        "t_s": 1.0,
        "boxes": [{"track": 1, "box": [0, 0, 10, 10]}, {"track": 2, "box": [50, 50, 90, 90]}],
    },
    {"t_ns": "1200000000", "t_s": 1.2, "boxes": [{"track": 1, "box": [10, 0, 20, 10]}]},
    {"t_ns": "5000000000", "t_s": 5.0, "boxes": [{"track": 2, "box": [0, 0, 40, 40]}]},
]
"""What the API gives in these tests: two tracks of one thing, out of view from 1.2 to 5 s."""


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (
            {"t": 1.0, "box": [0, 0, 10, 10]},
            [None, [0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], None, [0, 0, 40, 40], None],
        ),
        (None, [None, [50, 50, 90, 90], [30, 25, 55, 50], [10, 0, 20, 10], None, [0, 0, 40, 40], None]),
    ],
    ids=["of the track that the evidence shows", "the largest"],
)
def test_the_box_of_a_thing_over_time(call: Modules, evidence: Any, expected: list[Any]) -> None:
    page = call.page
    script = """async (evidence) => { const { TrackBoxes } = await import('/static/js/boxes.js');
      window.come = false;
      window.boxes = new TrackBoxes(7, [1, 2], () => { window.come = true; }, evidence);
      window.boxes.need(1); }"""
    page.evaluate(script, evidence)
    until(page, "window.come")
    times = [0.5, 1.0, 1.1, 1.2, 3.0, 5.0, 5.5]
    found = page.evaluate("(times) => times.map((t) => window.boxes.at(t))", times)
    assert found == [box if box is None else pytest.approx(box) for box in expected]


def test_where_a_letterboxed_picture_lies(call: Modules) -> None:
    assert call("overlay.js", "contained", 100, 100, 400, 200) == {"scale": 2, "x": 100, "y": 0, "w": 200, "h": 200}
    assert call("overlay.js", "contained", 1600, 900, 400, 400) == {
        "scale": 0.25,
        "x": 0,
        "y": 87.5,
        "w": 400,
        "h": 225,
    }
