"""Command line, HTTP, MCP and the page give the same answer to the same question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from needs import needs, needs_browser
from vidmem.cli import app
from vidmem.memory import Memory

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from .conftest import Serve

needs("mcp")
BASE = "/api/v1"


class Doors:
    """One memory, and the ways to ask it. Each way takes a question as the command line has it, by name."""

    def __init__(self, folder: Path, client: TestClient) -> None:
        self.folder, self.client = folder, client
        with Memory.open(folder, read_only=True) as m:
            self.ids = {row.uri: row.id for row in m.sources()}

    def command_line(self, command: str, **asked: Any) -> Any:
        """The document of `vidmem COMMAND --json`."""
        words = [asked.pop("text")] if "text" in asked else []
        words += asked.pop("sources", []) if command == "things" else []
        options: list[str] = []
        for name, value in asked.items():
            flag = "--" + {"sources": "source"}.get(name, name).replace("_", "-")
            for one in value if isinstance(value, list) else [value]:
                options += [flag] if one is True else [flag, str(one)]
        result = CliRunner().invoke(app, [command, *words, *options, "--json", "--memory", str(self.folder)])
        assert result.exit_code in (0, 1), result.output
        return json.loads(result.stdout)

    def http(self, command: str, **asked: Any) -> Any:
        """The document of the API."""
        answer = self.client.get(f"{BASE}/{command}", params=self._parameters(asked))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def _parameters(self, asked: dict[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, value in asked.items():
            if name == "sources":
                out["source"] = [self.ids[one] for one in value]
            elif name == "image":
                sent = self.client.post(f"{BASE}/pictures", content=Path(value).read_bytes())
                out["picture"] = sent.json()["picture"]
            elif name == "crop":
                source, _, rest = value.rpartition("@")
                out["crop"] = f"{self.ids[source]}@{rest}"
            else:
                out[name] = {True: "1"}.get(value, value) if isinstance(value, bool) else value
        return out

    def agents(self, command: str, **asked: Any) -> Any:
        """The structured result of the tool."""
        from vidmem.serve.agents.desk import Desk
        from vidmem.serve.agents.server import build

        from .agents.talking import call, document

        if "sources" in asked:
            asked["source"] = asked.pop("sources")
        if command == "timeline":
            asked |= {"top": 50, "sightings": 50}
        if "crop" in asked:
            asked["like"] = asked.pop("crop")
        with Memory.open(self.folder, read_only=True) as memory:
            return document(call(build(Desk(memory)), command, picture=False, **asked))


@pytest.fixture
def doors(serving: Serve, indexed: Path) -> Doors:
    return Doors(indexed, serving(indexed))


QUESTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("where", {"text": "red"}),
    ("where", {"text": "red", "top": 3}),
    ("where", {"text": "yellow"}),
    ("where", {"text": "red", "sources": ["WALK"], "before": "5s"}),
    ("where", {"text": "red", "near": ["green"], "sources": ["WALK"]}),
    ("where", {"text": "red", "near": ["yellow"]}),
    ("where", {"crop": "WALK@1s:8,32,32,32"}),
    ("where", {"text": "red", "crop": "WALK@1s:8,32,32,32"}),
    ("timeline", {"text": "red"}),
    ("timeline", {"text": "yellow"}),
    ("timeline", {"text": "blue", "alike": True}),
    ("things", {"top": 2}),
    ("things", {"top": 12, "newest": True, "sources": ["WALK"]}),
    ("haystack", {"anchor": "red", "target": "blue"}),
    ("haystack", {"anchor": "green", "target": "blue"}),
    ("haystack", {"anchor": "yellow", "target": "blue"}),
)


def placed(value: Any, walk: Path) -> Any:
    """A question with WALK as the path of the video."""
    if isinstance(value, str):
        return value.replace("WALK", str(walk))
    return [placed(one, walk) for one in value] if isinstance(value, list) else value


def shared(document: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """`other` without what agents get besides: fields that the document of the command line does not have."""
    if isinstance(document, dict) and isinstance(other, dict):
        return {key: shared(document[key], other[key]) for key in document if key in other}
    if isinstance(document, list) and isinstance(other, list) and len(document) == len(other):
        return [shared(a, b) for a, b in zip(document, other, strict=True)]  # type: ignore[return-value]
    return other


@pytest.mark.parametrize(
    ("command", "question"),
    QUESTIONS,
    ids=[f"{command} {' '.join(map(str, q.values()))}"[:40] for command, q in QUESTIONS],
)
def test_three_doors_give_one_answer(doors: Doors, walk: Path, command: str, question: dict[str, Any]) -> None:
    asked = {name: placed(value, walk) for name, value in question.items()}
    told = doors.command_line(command, **dict(asked))
    assert doors.http(command, **dict(asked)) == told
    found = doors.agents(command, **dict(asked))
    assert set(told) <= set(found)
    assert shared(told, found) == told


def test_a_picture_gives_one_answer(doors: Doors, tmp_path: Path) -> None:
    picture = tmp_path / "red.jpg"
    picture.write_bytes(doors.client.get(f"{BASE}/crops/1/1000000000.jpg", params={"box": "8,32,40,64"}).content)
    told = doors.command_line("where", image=picture, top=2)
    found = doors.http("where", image=picture, top=2)
    assert told["found"]
    for document in (told, found):  # a file has a path, and a picture that was sent a name
        assert document["query"].pop("image")
    assert found == told


def test_a_wrong_question_is_told_alike(doors: Doors) -> None:
    for parameters, options in (
        ({"text": "red", "min_probability": "2"}, ["red", "--min-probability", "2"]),
        ({"text": "red", "after": "soon"}, ["red", "--after", "soon"]),
        ({"text": "red", "near": " "}, ["red", "--near", " "]),
        ({"text": "red", "apart": "-1"}, ["red", "--apart", "-1"]),
        ({}, []),
    ):
        told = CliRunner().invoke(app, ["where", *options, "--memory", str(doors.folder)])
        assert told.exit_code == 2
        answer = doors.client.get(f"{BASE}/where", params=parameters)
        assert answer.status_code == 400
        words = answer.json()["error"]["message"].replace("`picture` or `crop`", "--image or --crop")
        for name in ("min_probability", "after", "near", "apart"):
            words = words.replace(f"`{name}`", f"--{name.replace('_', '-')}")
        assert told.stderr.strip() == f"vidmem: {words}"


def test_the_page_shows_the_answer_of_the_api(indexed: Path) -> None:
    """The fourth door: the page asks the API, and what it shows is in the answer."""
    chromium = needs_browser()
    sync = needs("playwright.sync_api")
    from .test_running import Server

    told = {
        text: json.loads(
            CliRunner().invoke(app, ["where", text, "--top", "50", "--json", "--memory", str(indexed)]).stdout
        )
        for text in ("red", "yellow")
    }
    server = Server(indexed)
    try:
        with sync.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            for text, document in told.items():
                page = browser.new_page()
                with page.expect_response(lambda answer: "/api/v1/where?" in answer.url) as asked:
                    page.goto(f"http://127.0.0.1:{server.port}/#/search?text={text}")
                found = asked.value.json()
                same = ("found", "near_misses", "likelier", "total", "query", "notes")
                assert {key: found[key] for key in same} == {key: document[key] for key in same}
                count = len(found["sightings"])
                assert found["sightings"] == document["sightings"][:count]
                main = page.locator("main")
                if document["found"]:
                    main.get_by_text(Path(document["sightings"][0]["picture"]).name).first.wait_for()
                    rows = page.locator(".sightings-rows [data-sighting]")
                    shown = rows.evaluate_all("rows => rows.map(row => row.dataset.sighting)")
                    assert shown == [one["id"] for one in found["sightings"]]
                    for row, one in zip(rows.all_inner_texts(), found["sightings"], strict=True):
                        assert Path(one["picture"] or one["source"]).name in row
                else:
                    main.get_by_text("not found", exact=False).first.wait_for()
            browser.close()
    finally:
        server.stop()
