"""A fleet behind `Memory`, the command line, HTTP and MCP: one answer at all doors; what is down is said at each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fakes
import pytest
from fakes import photo, squares
from typer.testing import CliRunner

from needs import needs
from vidmem.cli import app
from vidmem.encoders import registry
from vidmem.errors import StoreError, UsageError
from vidmem.fleet.catalogue import Catalogue
from vidmem.fleet.sealing import seal
from vidmem.memory import Memory
from vidmem.query.documents import plain, where_document

for library in ("sqlalchemy", "starlette", "uvicorn", "pydantic", "httpx2", "mcp"):
    needs(library)

BASE = "/api/v1"
IDS = {"source_id", "tracks", "id", "exact", "shards"}


@dataclass(frozen=True)
class House:
    """A fleet of three shards, one memory of the same sources, and the video in the first shard."""

    fleet: str
    memory: Path
    shards: list[Path]
    walk: Path

    @property
    def catalogue(self) -> str:
        return self.fleet.removeprefix("fleet:")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with registry.registered(fakes.SPEC):
        walk = squares(tmp_path / "walk.mp4", [("red", 0, 2, 8), ("green", 1, 3, 60)], 4)
        run = squares(tmp_path / "run.mp4", [("red", 1, 2, 40), ("blue", 0, 3, 100)], 3)
        photo(tmp_path / "photos" / "a.png", "red", "blue")
        photo(tmp_path / "photos" / "b.png", "green")
        found = [walk, run, tmp_path / "photos"]
        catalogue = tmp_path / "house.catalogue"
        shards = []
        with Catalogue.open(catalogue, create=True) as opened:
            for number, source in enumerate(found):
                shards.append(at := tmp_path / f"{number}.memory")
                with Memory.open(at, encoder="colours") as m:
                    m.index(source)
                opened.add(seal(at), str(at))
        with Memory.open(tmp_path / "one.memory", encoder="colours") as m:
            m.index(found)
        yield House(f"fleet:{catalogue}", tmp_path / "one.memory", shards, walk)


def run(*words: str) -> tuple[int, Any, str]:
    """The exit code, the JSON and the messages of a command."""
    result = CliRunner().invoke(app, [*words, "--json"])
    return result.exit_code, json.loads(result.stdout or "null"), result.stderr


def bare(value: Any) -> Any:
    """A document without ids, which differ between a memory and a fleet."""
    if isinstance(value, dict):
        return {key: bare(inner) for key, inner in value.items() if key not in IDS}
    return [bare(inner) for inner in value] if isinstance(value, list) else value


QUESTIONS = (
    ("where", "red", "--all"),
    ("where", "yellow"),
    ("where", "red", "--near", "green"),
    ("where", "blue", "--source", "run.mp4", "--before", "2s"),
    ("timeline", "red"),
    ("things",),
    ("haystack", "--anchor", "red", "--target", "blue"),
    ("haystack", "--anchor", "yellow", "--target", "blue"),
)


@pytest.mark.parametrize("words", QUESTIONS, ids=" ".join)
def test_the_command_line_answers_as_for_one_memory(house: House, words: tuple[str, ...]) -> None:
    code, one, _ = run(*words, "--memory", str(house.memory))
    fleet_code, many, said = run(*words, "--memory", house.fleet)
    assert bare(many) == bare(one)
    assert fleet_code == code
    assert one["exact"] is many["exact"] is True
    assert one["shards"] is None
    assert many["shards"]["asked"] + many["shards"]["pruned"] == 3
    assert many["shards"]["down"] == []
    assert "may be missed" not in said


def test_all_doors_give_one_answer(house: House) -> None:
    with Memory.open(house.fleet) as m:
        answer = m.where("red", top=3)
        document = plain(where_document(answer))
        assert len(answer) == 3
        code, command, _ = run("where", "red", "--top", "3", "--memory", house.fleet)
        assert (code, command) == (0, document)
        with served(m) as client:
            found = client.get(f"{BASE}/where", params={"text": "red", "top": 3})
            assert found.status_code == 200
            assert found.json() == document
            for kind in ("timeline", "things"):
                theirs = client.get(f"{BASE}/{kind}", params={"text": "red"} if kind == "timeline" else {})
                words = ("timeline", "red") if kind == "timeline" else ("things", "--all")
                assert theirs.json() == run(*words, "--memory", house.fleet)[1]
        result = agents(m, "where", text="red", top=3)
        assert {key: result[key] for key in document} == document


def served(memory: Memory) -> Any:
    from starlette.testclient import TestClient

    from vidmem.serve.app import build
    from vidmem.serve.settings import Settings

    return TestClient(build(memory, Settings()), base_url="http://127.0.0.1:8765")


def agents(memory: Memory, tool: str, **asked: Any) -> Any:
    from serve.agents.talking import call, document

    from vidmem.serve.agents.desk import Desk
    from vidmem.serve.agents.server import build

    return document(call(build(Desk(memory)), tool, picture=False, **asked))


def test_pictures_frames_and_sources_by_the_ids_of_the_fleet(house: House, tmp_path: Path) -> None:
    with Memory.open(house.fleet) as m, served(m) as client:
        rows = client.get(f"{BASE}/sources").json()["sources"]
        assert [row["id"] for row in rows] == [number << 20 | 1 for number in (1, 2, 3)]
        for row in rows:
            assert client.get(f"{BASE}/sources/{row['id']}").status_code == 200
            if row["kind"] == "video":
                frame = client.get(f"{BASE}/frames/{row['id']}/1000000000.jpg")
                assert frame.status_code == 200, frame.text
                assert frame.headers["content-type"] == "image/jpeg"
        assert client.get(f"{BASE}/sources/9").status_code == 404
        seen = m.where("red")[0]
        assert m.picture(seen).size[0] > 100
        assert m.where(crop=(seen.source, seen.frame_ns, seen.box)).found
        assert [s.tracks for s in m.query.sightings(seen.tracks)]
        answer = m.where("red")
    answer[0:1]
    assert answer.album is not None
    assert answer.album(answer[0], "red").size[0] > 100  # the fleet is opened again
    code, _, _ = run("where", "red", "--save", str(tmp_path / "red.png"), "--memory", house.fleet)
    assert code == 0
    assert (tmp_path / "red.png").exists()
    code, rows, _ = run("parse", "walk.mp4", "--labels", "coco", "--memory", house.fleet)
    assert code in (0, 1, 2)


def test_what_is_down_is_said_at_every_door(house: House) -> None:
    gone = house.shards[0].with_suffix(".gone")
    with Memory.open(house.fleet) as m, served(m) as client:
        whole = client.get(f"{BASE}/where", params={"text": "green"}).json()
        assert whole["exact"] is True
        house.shards[0].rename(gone)
        for words in (("where", "green"), ("where", "yellow"), ("timeline", "green"), ("things",)):
            code, found, said = run(*words, "--memory", house.fleet)
            assert code == 3, words
            assert found["exact"] is False
            (down,) = found["shards"]["down"]
            assert (down["shard"], down["sources"]) == (1, [str(house.walk)])
            assert "may be missed" in said
            assert "walk.mp4" in said
        code, found, said = run("haystack", "--anchor", "red", "--target", "blue", "--memory", house.fleet)
        assert (code, found["exact"]) == (3, False)
        assert "may be missed" in said
        for path, asked in (("where", {"text": "green"}), ("timeline", {"text": "green"}), ("things", {})):
            answer = client.get(f"{BASE}/{path}", params=asked)
            assert answer.status_code == 200
            assert answer.json()["exact"] is False
            assert answer.json()["shards"]["down"][0]["shard"] == 1
        for tool, given in (("where", {"text": "green"}), ("timeline", {"text": "green"}), ("things", {})):
            result = agents(m, tool, **given)
            assert result["exact"] is False
            assert any("may be missed" in note for note in result["notes"])
        with pytest.raises(StoreError, match="shard 1 of the fleet cannot be read"):
            m.store.cuts(1 << 20 | 1)
        gone.rename(house.shards[0])
        assert client.get(f"{BASE}/where", params={"text": "green"}).json() == whole
        assert client.get(f"{BASE}/things").json()["exact"] is True
        assert run("where", "green", "--memory", house.fleet)[0] == 0


def test_things_that_were_found_while_all_was_up_are_found_again(house: House) -> None:
    gone = house.shards[0].with_suffix(".gone")
    with Memory.open(house.fleet) as m, served(m) as client:
        whole = client.get(f"{BASE}/things").json()
        assert whole["exact"] is True
        house.shards[0].rename(gone)
        first = client.get(f"{BASE}/things")  # it may say that a shard went down while it answered
        assert first.status_code in (200, 503)
        again = client.get(f"{BASE}/things")
        assert again.status_code == 200
        assert again.json()["exact"] is False
        assert again.json()["things"]
        gone.rename(house.shards[0])
        assert client.get(f"{BASE}/things").json() == whole


def test_a_watch_list_of_a_fleet(house: House, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("red\nyellow\n")
    code, rows, _ = run("watch-list", str(names), "--memory", house.fleet)
    assert code == 0
    assert [(row["name"], row["found"], row["exact"]) for row in rows] == [("red", True, True), ("yellow", False, True)]
    house.shards[2].rename(tmp_path / "gone")
    code, rows, said = run("watch-list", str(names), "--memory", house.fleet)
    assert code == 3
    assert all(row["exact"] is False and row["shards"]["down"][0]["shard"] == 3 for row in rows)
    assert "may be missed" in said


def test_a_new_shard_under_a_running_server(house: House, tmp_path: Path) -> None:
    late = squares(tmp_path / "late.mp4", [("yellow", 0, 2, 8)], 3)
    with Memory.open(tmp_path / "late.memory", encoder="colours") as m:
        m.index(late)
    sealed = seal(tmp_path / "late.memory")
    with Memory.open(house.fleet) as m, served(m) as client:
        assert client.get(f"{BASE}/where", params={"text": "yellow"}).json()["found"] is False
        before = client.get(f"{BASE}/server").json()["generation"]
        with Catalogue.open(house.catalogue) as catalogue:
            catalogue.add(sealed, str(tmp_path / "late.memory"))
        assert client.get(f"{BASE}/where", params={"text": "yellow"}).json()["found"] is True
        assert client.get(f"{BASE}/server").json()["generation"] > before
        assert len(client.get(f"{BASE}/sources").json()["sources"]) == 4
        assert any(thing.name == "yellow" for thing in m.things())


@pytest.mark.parametrize(
    "words",
    [
        *(("index", "WALK"), ("rm", "walk.mp4"), ("forget", "--before", "1d", "--yes"), ("compact",)),
        *(("recorded", "walk.mp4", "name"), ("reembed", "--encoder", "tiny")),
    ],
    ids=" ".join,
)
def test_commands_that_write_are_refused(house: House, words: tuple[str, ...]) -> None:
    given = [str(house.walk) if word == "WALK" else word for word in words]
    result = CliRunner().invoke(app, [*given, "--memory", house.fleet])
    assert result.exit_code == StoreError.exit_code, result.output
    assert "takes questions and no changes" in result.stderr


def test_ls_and_info_read_the_catalogue_alone(house: House) -> None:
    for shard in house.shards:
        shard.rename(shard.with_suffix(".gone"))
    code, rows, _ = run("ls", "--memory", house.fleet)
    assert code == 0
    assert [Path(row["source"]).name for row in rows] == ["walk.mp4", "run.mp4", "photos"]
    code, found, _ = run("info", "--memory", house.fleet)
    assert (code, found["sources"], found["encoder"]) == (0, 3, "colours")
    code, found, _ = run("info", "walk.mp4", "--memory", house.fleet)
    assert (code, Path(found["source"]).name) == (0, "walk.mp4")


def test_sources_and_names_are_completed(house: House) -> None:
    from vidmem.cli import completion

    assert completion._sources(house.fleet, "w") == ["walk.mp4"]
    assert completion._encoder_of(house.fleet) == "colours"


def test_addresses_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names its catalogue"):
        Memory.open("fleet:")
    with pytest.raises(StoreError, match="there is no catalogue here"):
        Memory.open(f"fleet:{tmp_path / 'none.catalogue'}")
    with Catalogue.open(tmp_path / "empty.catalogue", create=True):
        pass
    with pytest.raises(StoreError, match="the fleet has no shards"):
        Memory.open(f"fleet:{tmp_path / 'empty.catalogue'}")


def test_serving_a_fleet_for_writing_is_refused(house: House) -> None:
    from vidmem.serve.opening import open_memory

    with pytest.raises(StoreError, match="takes questions and no changes"):
        open_memory(house.fleet, allow_write=True)
    open_memory(house.fleet, allow_write=False).close()
