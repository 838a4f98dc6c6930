"""What galleries ask over HTTP: things by name, the names that there are, photos by date, one photo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .test_questions import get, refused

if TYPE_CHECKING:
    from starlette.testclient import TestClient


def called(found: Any) -> list[str]:
    return sorted(thing["name"] for thing in found["things"])


def test_things_are_chosen_by_name(client: TestClient) -> None:
    assert called(get(client, "/things", name="RE")) == ["green", "red"]
    assert called(get(client, "/things", called="red")) == ["red"]
    assert called(get(client, "/things", called="re")) == []
    assert get(client, "/things", name="violin") == {
        "found": False,
        "total": 0,
        "things": [],
        "notes": [],
        "exact": True,
        "shards": None,
    }


def test_things_are_chosen_by_how_sure_their_names_are(client: TestClient) -> None:
    every = get(client, "/things")["total"]
    assert get(client, "/things", named=1)["total"] + get(client, "/things", named=0)["total"] == every
    assert all(thing["named"] for thing in get(client, "/things", named=1)["things"])


def test_the_thing_of_a_track(client: TestClient) -> None:
    for thing in get(client, "/things")["things"]:
        for track in thing["tracks"]:
            assert get(client, "/things", track=track)["things"] == [thing]
    assert get(client, "/things", track=99_999)["total"] == 0


def test_pages_of_chosen_things_are_one_list(client: TestClient) -> None:
    whole = get(client, "/things", name="e")
    parts = [get(client, "/things", name="e", top=1, offset=i) for i in range(4)]
    assert {part["total"] for part in parts} == {whole["total"]}
    assert [thing for part in parts for thing in part["things"]] == whole["things"]


def test_the_names_of_things(client: TestClient) -> None:
    found = get(client, "/things/names")
    assert (found["total"], sorted(n["name"] for n in found["names"])) == (3, ["blue", "green", "red"])
    for name in found["names"]:
        things = get(client, "/things", called=name["name"])
        assert name["things"] == things["total"]
        assert name["seen_s"] == pytest.approx(sum(thing["seen_s"] for thing in things["things"]))
        assert name["best"] == [thing["best"] for thing in things["things"][:3]]
    assert [n["name"] for n in get(client, "/things/names", top=1, offset=1)["names"]] == [found["names"][1]["name"]]
    assert get(client, "/things/names", source=1, after="7s", name="r")["total"] == 2


def test_photos_are_sorted_by_date(client: TestClient, photos: Path) -> None:
    found = get(client, "/photos")
    assert found["total"] == 3 == sum(month["photos"] for month in found["months"])
    dates = [photo["recorded"] for photo in found["photos"]]
    assert dates == sorted(dates, reverse=True)
    assert {Path(photo["image"]).name for photo in found["photos"]} == {"both.png", "green.png", "empty.png"}
    assert all(photo["paths"] == [photo["image"]] for photo in found["photos"])
    assert get(client, "/photos", top=1, offset=2)["photos"] == found["photos"][2:]
    assert get(client, "/photos", source=1) == {"total": 0, "months": [], "photos": []}


def test_a_photo_has_its_things(client: TestClient) -> None:
    by_name = {Path(photo["image"]).name: photo for photo in get(client, "/photos")["photos"]}
    details = {name: get(client, f"/photos/2/{photo['frame_ns']}") for name, photo in by_name.items()}
    assert {name: sorted(t["name"] for t in one["things"]) for name, one in details.items()} == {
        "both.png": ["blue", "red"],
        "green.png": ["green"],
        "empty.png": [],
    }
    both = details["both.png"]
    assert {key: both[key] for key in by_name["both.png"]} == by_name["both.png"]
    red = next(thing for thing in both["things"] if thing["name"] == "red")
    assert red["named"]
    assert red["box"] == pytest.approx([8, 32, 40, 64], abs=9)


def test_a_box_in_a_photo_finds_what_looks_like_it(client: TestClient) -> None:
    photo = next(p for p in get(client, "/photos")["photos"] if p["image"].endswith("both.png"))
    for x, colour in ((8, "red"), (48, "blue")):
        found = get(client, "/where", crop=f"2@{photo['frame_ns']}ns:{x},32,32,32", top="all")["sightings"]
        ids = {s["id"] for s in get(client, "/where", text=colour, top="all")["sightings"]}
        assert {s["id"] for s in found} == ids
    assert "beyond the frame" in refused(client, "/where", 400, "usage", crop=f"2@{photo['frame_ns']}ns:8,32,900,32")
    assert "no photo" in refused(client, "/where", 400, "usage", crop="2@5ns:8,32,32,32")


def test_a_photo_that_is_not_there(client: TestClient) -> None:
    assert "no photo" in refused(client, "/photos/2/12345", 404, "not_found")
    assert "no photo" in refused(client, "/photos/1/0", 404, "not_found")
    refused(client, "/photos/99/0", 404, "not_found")
    refused(client, "/things", 400, "usage", track="x")
    refused(client, "/things", 400, "usage", named="perhaps")
