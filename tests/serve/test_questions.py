"""Questions over HTTP: answers, "not found", and what is refused."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from .conftest import Serve

BASE = "/api/v1"


def get(client: TestClient, path: str, **parameters: Any) -> Any:
    answer = client.get(BASE + path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client: TestClient, path: str, status: int, kind: str, **parameters: Any) -> str:
    answer = client.get(BASE + path, params=parameters)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    assert answer.json()["error"]["kind"] == kind
    message: str = answer.json()["error"]["message"]
    return message


def test_what_was_seen_last(client: TestClient, walk: Path) -> None:
    found = get(client, "/where", text="red", source=1)
    assert (found["found"], found["total"], found["query"]["sources"]) == (True, 2, [str(walk)])
    (sighting,) = found["sightings"]
    assert (sighting["source_id"], sighting["start_s"], sighting["end_s"]) == (1, 8.0, 10.8)
    assert len(get(client, "/where", text="red", source=1, top="all")["sightings"]) == 2
    assert len(get(client, "/where", text="red", top=2)["sightings"]) == 2


def test_not_found_is_an_answer_with_near_misses(client: TestClient) -> None:
    missed = get(client, "/where", text="yellow")
    assert (missed["found"], missed["sightings"], missed["likelier"]) == (False, [], None)
    assert 1 <= len(missed["near_misses"]) <= 3


def test_conditions(client: TestClient) -> None:
    assert get(client, "/where", text="red", before="5s", source=1)["sightings"][0]["end_s"] == 2.8
    assert get(client, "/where", text="red", near=["green", "blue"], source=[1, 2], top="all")["query"]["near"] == [
        "green",
        "blue",
    ]
    assert get(client, "/where", text="red", near="green", within="0.5s", apart=9, source=1)["found"]
    assert not get(client, "/where", text="red", near="yellow")["found"]


def test_a_timeline_has_all_sightings_of_each_thing(client: TestClient) -> None:
    (thing,) = get(client, "/timeline", text="red", source=1)["things"]
    assert [s["start_s"] for s in thing["sightings"]] == [8.0, 0.0]
    assert get(client, "/timeline", text="yellow", alike=1) == {
        "found": False,
        "things": [],
        "exact": True,
        "shards": None,
    }


def test_long_answers_are_bounded_and_say_so(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from vidmem.serve.api import questions

    monkeypatch.setattr(questions, "MAX_SIGHTINGS", 2)
    short = get(client, "/where", text="red", top="all")
    assert (len(short["sightings"]), short["total"]) == (2, 3)
    assert "these are the newest 2 sightings; ask with `before` for older ones" in short["notes"]
    monkeypatch.setattr(questions, "MAX_TRACKS", 2)
    told = refused(client, "/timeline", 400, "usage", text="red")
    assert told.startswith("3 tracks match, and one answer has up to 2; ask for a shorter time, or give `source`")
    assert get(client, "/timeline", text="green")["found"]


def test_pages_of_things_are_one_list(client: TestClient) -> None:
    whole = get(client, "/things")
    assert (whole["found"], whole["total"], len(whole["things"])) == (True, 3, 3)
    parts = [get(client, "/things", top=1, offset=i)["things"] for i in range(4)]
    assert [thing for part in parts for thing in part] == whole["things"]
    newest = get(client, "/things", newest=1)["things"]
    assert sorted(t["name"] for t in newest) == sorted(t["name"] for t in whole["things"])


def test_all_sightings_of_a_thing_from_its_tracks(client: TestClient) -> None:
    for thing in get(client, "/things")["things"]:
        found = get(client, "/sightings", tracks=",".join(map(str, thing["tracks"])))["sightings"]
        assert len(found) == thing["sightings"]
        assert found[0]["id"] == thing["last"]["id"]
        assert sorted(t for s in found for t in s["tracks"]) == thing["tracks"]
    assert get(client, "/sightings", tracks="99999") == {"sightings": []}


def test_a_question_about_one_photo_of_many(client: TestClient, photos: Path) -> None:
    found = get(client, "/haystack", question="the image with the red: is there a blue?")
    assert (found["answer"], found["image"], found["source_id"]) == ("yes", str(photos / "both.png"), 2)
    assert get(client, "/haystack", anchor="green", target="blue")["answer"] == "no"
    assert get(client, "/haystack", anchor="yellow", target="blue")["answer"] == "not found"


def test_names_for_a_typeahead(client: TestClient) -> None:
    names = [one["name"] for one in get(client, "/names", prefix="r")["names"]]
    assert names == ["red", "brown", "green"]
    assert len(get(client, "/names", limit=3)["names"]) == 3


def test_a_picture_that_was_sent(client: TestClient) -> None:
    crop = client.get(f"{BASE}/crops/1/1000000000.jpg", params={"box": "8,32,40,64"}).content
    sent = client.post(f"{BASE}/pictures", content=crop).json()
    assert (sent["width"], sent["height"]) == (42, 42)
    assert client.post(f"{BASE}/pictures", content=crop).json() == sent
    found = get(client, "/where", picture=sent["picture"], source=1)
    assert (found["found"], found["query"]["image"]) == (True, sent["picture"])
    assert found["sightings"][0]["tracks"]
    assert "send it to /pictures again" in refused(client, "/where", 404, "not_found", picture="a" * 32)


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [(b"", 400, "usage"), (b"not a picture", 415, "media"), (b"\xff" * (21 << 20), 413, "too_large")],
)
def test_a_picture_that_is_none_is_refused(client: TestClient, body: bytes, status: int, kind: str) -> None:
    answer = client.post(f"{BASE}/pictures", content=body)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (status, kind)


def test_the_thing_in_a_box(client: TestClient, walk: Path) -> None:
    found = get(client, "/where", crop="1@1s:8,32,32,32", source=1)
    assert found["query"]["crop"] == {"source": str(walk), "t_ns": "1000000000", "box": [8.0, 32.0, 40.0, 64.0]}
    assert found["found"]


@pytest.mark.parametrize(
    ("path", "parameters", "told"),
    [
        ("/where", {}, "ask for something: a text, `picture` or `crop`"),
        ("/where", {"text": ""}, "the text is empty"),
        ("/where", {"text": "red", "threshold": "x"}, "`threshold` is a score"),
        ("/where", {"text": "red", "threshold": "nan"}, "`threshold` is a score"),
        ("/where", {"text": "red", "min_probability": 2}, "`min_probability` is a probability, between 0 and 1"),
        ("/where", {"text": "red", "min_probability": 0.5, "threshold": 0.5}, "two tests; give one of them"),
        ("/where", {"text": "red", "top": 0}, "`top` is a whole number from 1 up"),
        ("/where", {"text": "red", "top": 1001}, "`top` is a whole number up to 1000, or all"),
        ("/where", {"text": "red", "top": "many"}, "`top` is a whole number from 1 up"),
        ("/where", {"text": "red", "after": "soon"}, "is not a time"),
        ("/where", {"text": "red", "within": "x"}, "is not a time"),
        ("/where", {"text": "red", "apart": -1}, "`apart` is a number of 0 or more"),
        ("/where", {"text": "red", "source": "walk.mp4"}, "`source` is the id of a source, a number"),
        ("/where", {"text": "red", "source": "../../etc/passwd"}, "`source` is the id of a source"),
        ("/where", {"crop": "1@1s:8,32,32"}, "`crop` is VIDEO@TIME:X,Y,W,H"),
        ("/where", {"crop": "walk.mp4@1s:8,32,32,32"}, "`source` is the id of a source"),
        ("/where", {"text": ["red", "blue"]}, "`text` is given 2 times; give it once"),
        ("/where", {"text": "red", "colour": "1"}, "there is no parameter 'colour'; there are: text, picture"),
        ("/where", {"text": "red\0"}, "null character"),
        ("/timeline", {"text": "red", "alike": "maybe"}, "`alike` is 1 or 0"),
        ("/things", {"top": "all"}, "`top` is a whole number"),
        ("/things", {"top": 1001}, "`top` is a whole number up to 1000"),
        ("/things", {"offset": -1}, "`offset` is a whole number from 0 up"),
        ("/things", {"min_probability": 0.5}, "not calibrated; leave `min_probability` out"),
        ("/sightings", {}, "`tracks` is missing"),
        ("/sightings", {"tracks": "1,x"}, "`tracks` is ids of tracks"),
        ("/sightings", {"tracks": ",".join(["1"] * 2001)}, "`tracks` is up to 2000 ids"),
        ("/haystack", {}, "give a `question`, or `anchor` and `target`"),
        ("/haystack", {"anchor": "red"}, "`anchor` and `target` go together"),
        ("/haystack", {"question": "what?"}, "the question cannot be split"),
        ("/haystack", {"anchor": "red", "target": "blue", "rule": "mine"}, "there is no rule 'mine'"),
        ("/names", {"limit": "x"}, "`limit` is a whole number"),
        ("/stats", {"x": 1}, "there is no parameter 'x'; there are none here"),
    ],
)
def test_wrong_parameters(client: TestClient, path: str, parameters: dict[str, Any], told: str) -> None:
    assert told in refused(client, path, 400, "usage", **parameters)


def test_a_question_that_costs_as_much_as_many_is_refused(client: TestClient) -> None:
    for path in ("/where", "/timeline"):
        answer = client.get(BASE + path, params={"text": "red", "near": ["blue"] * 9})
        assert (answer.status_code, answer.json()["error"]["kind"]) == (400, "usage")
        assert "up to 8 times" in answer.json()["error"]["message"]
        assert client.get(BASE + path, params={"text": "red", "near": ["blue"] * 8}).status_code == 200


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted there")
def test_a_memory_that_is_deleted_or_replaced_answers_nothing(serving: Serve, indexed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(indexed, folder)
    client = serving(folder)
    paths = ("/where?text=red", "/things", "/sources", "/frames/1/1000000000.jpg", "/videos/1", "/events")
    assert {client.get(BASE + path).status_code for path in paths[:-1]} == {200}
    shutil.rmtree(folder)
    for again in range(2):
        for path in paths:
            answer = client.get(BASE + path)
            assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "store"), path
        if not again:
            shutil.copytree(indexed, folder)  # another memory, as far as anyone knows


def test_a_source_that_is_not_there(client: TestClient) -> None:
    for path in ("/sources/9", "/sources/9/things"):
        assert refused(client, path, 404, "not_found") == "no source has the id 9"
    assert refused(client, "/where", 404, "not_found", text="red", source=9) == "no source has the id 9"


def test_an_unknown_address_and_method(client: TestClient) -> None:
    assert refused(client, "/nothing", 404, "not_found") == "there is nothing at this address"
    answer = client.delete(f"{BASE}/where")
    assert (answer.status_code, answer.json()["error"]["kind"]) == (405, "usage")
    assert "GET" in answer.headers["allow"]
