"""The views Things, Sources and Photos: each flow as a person goes through it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from needs import needs

from .server import Server
from .test_search import api
from .watched import Watched, until
from .worlds import DAMAGED, HOSTILE_FILM, HOSTILE_PHOTO, INTERRUPTED, WALK

expect = needs("playwright.sync_api").expect


def summary(page: Any) -> Any:
    """How many there are, under the heading of a view."""
    return page.locator(".summary:visible")


def cards(page: Any) -> Any:
    return page.locator(".virtual .card")


def test_things_with_a_sure_name_come_first(page: Any, served: Server) -> None:
    page.goto(f"{served.url}/#/things")
    found = api(served, "/things?named=1&top=60")
    expect(summary(page)).to_contain_text(f"{found['total']} things with a sure name")
    first = found["things"][0]
    expect(cards(page).first).to_contain_text(first["name"])
    expect(cards(page).first).to_contain_text(f"{round(first['probability'] * 100)} %")
    expect(cards(page).first.locator(".shot")).to_have_class(re.compile("is-there"))
    page.get_by_label("Unsure names too").check()
    total = api(served, "/things")["total"]
    expect(summary(page)).to_contain_text(f"{total} things")
    expect(page.locator(".card .guess").first).to_be_visible()
    assert "names=all" in page.url


def test_things_are_sorted_and_grouped(page: Any, served: Server) -> None:
    page.goto(f"{served.url}/#/things")
    page.get_by_role("radio", name="Newest").check(force=True)
    newest = api(served, "/things?named=1&newest=1&top=1")["things"][0]
    expect(cards(page).first).to_contain_text(newest["name"])
    page.get_by_role("radio", name="By name").check(force=True)
    names = api(served, "/things/names?named=1&top=100")
    expect(summary(page)).to_contain_text(f"{names['total']} names")
    several = next(one for one in names["names"] if one["things"] > 1)
    page.get_by_role("link", name=re.compile(f"^{several['name']} {several['things']} things")).click()
    expect(cards(page)).to_have_count(several["things"])
    expect(page.get_by_role("link", name="All names")).to_be_visible()
    page.go_back()
    expect(summary(page)).to_contain_text(f"{names['total']} names")


def test_things_are_filtered_by_name_and_source(page: Any, served: Server) -> None:
    page.goto(f"{served.url}/#/things")
    page.get_by_label("Filter by name").fill("spider")
    expect(cards(page)).to_have_count(api(served, "/things?named=1&name=spider")["total"])
    expect(cards(page).first).to_contain_text("spider web")
    page.reload()
    expect(page.get_by_label("Filter by name")).to_have_value("spider")
    expect(cards(page).first).to_contain_text("spider web")
    photos = next(s for s in api(served, "/sources")["sources"] if s["kind"] == "pictures")
    page.get_by_label("Source", exact=True).select_option(str(photos["id"]))
    expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    page.get_by_role("link", name="Show all things").click()
    expect(summary(page)).to_contain_text(str(api(served, "/things")["total"]))


def test_a_thing_plays_each_of_its_sightings(page: Any, served: Server) -> None:
    thing = next(t for t in api(served, "/things?named=1&top=60")["things"] if t["sightings"] > 2 and t["seen_s"])
    page.goto(f"{served.url}/#/things?name={thing['name'].replace(' ', '+')}")
    cards(page).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(f"^{thing['name']}$", re.I))
    expect(page.locator(".guesses li")).to_have_count(len(thing["guesses"]))
    sightings = api(served, "/sightings?tracks=" + ",".join(map(str, thing["tracks"])))["sightings"]
    rows = page.locator(".thing-others [data-sighting]")
    expect(rows).to_have_count(len(sightings))
    expect(page.locator(".stage")).to_have_class(re.compile("is-there"))
    expect(page.locator(".thing-others [aria-current=true]")).to_have_count(1)
    rows.last.click()
    expect(rows.last).to_have_attribute("aria-current", "true")
    start = sightings[-1]["frame_s"]
    expect(page.locator(".player-bar")).to_contain_text(f"{int(start // 60)}:{start % 60:04.1f} /")
    page.reload()
    expect(rows.last).to_have_attribute("aria-current", "true")
    page.get_by_role("link", name="All things").click()
    expect(cards(page).first).to_contain_text(thing["name"])


def test_back_from_a_thing_keeps_the_place_in_the_gallery(page: Any, served: Server) -> None:
    page.goto(f"{served.url}/#/things?names=all")
    expect(cards(page).first).to_be_visible()
    page.evaluate("scrollTo(0, 3000)")
    until(page, "scrollY === 3000 && history.state?.scroll === 3000 && !document.querySelector('.virtual-blank')")
    middle = page.evaluate("document.elementFromPoint(300, 400).closest('.card').getAttribute('href')")
    page.mouse.click(300, 400)
    expect(page.locator(".thing-words h1")).to_be_visible()
    page.go_back()
    until(page, "scrollY === 3000")
    until(page, f"document.elementFromPoint(300, 400)?.closest('.card')?.getAttribute('href') === {middle!r}")


def test_a_thing_that_is_gone(page: Any, served: Server) -> None:
    page.goto(f"{served.url}/#/things?thing=999999")
    expect(page.get_by_role("heading", name="This thing is not in the memory")).to_be_visible()


def test_sources_say_how_far_they_are(page: Any, served: Server) -> None:
    page.goto(f"{served.url}/#/sources")
    sources = api(served, "/sources")["sources"]
    expect(summary(page)).to_contain_text(f"{len(sources)} sources")
    expect(cards(page)).to_have_count(len(sources))
    interrupted = cards(page).filter(has_text=INTERRUPTED)
    expect(interrupted).to_contain_text("Interrupted")
    expect(interrupted.get_by_role("img", name=re.compile(r"indexed to \d+ %"))).to_be_visible()
    expect(cards(page).filter(has_text=DAMAGED)).to_contain_text(re.compile(r"\d damaged"))
    expect(cards(page).filter(has_text=WALK)).to_contain_text("0:40 · 1280 × 720")
    expect(cards(page).filter(has_text="8 photos")).to_contain_text("each with its own date")
    totals = page.locator(".totals")
    expect(totals).to_contain_text("Tracks" + f"{api(served, '/stats')['tracks']:,}")
    expect(page.get_by_label("Index a file or a folder")).to_have_count(0)


def test_one_source_with_all_that_is_known(page: Any, served: Server) -> None:
    page.goto(f"{served.url}/#/sources")
    cards(page).filter(has_text=INTERRUPTED).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(INTERRUPTED)
    facts = page.locator(".facts")
    expect(facts).to_contain_text("Interrupted")
    expect(facts).to_contain_text("22 Mar")
    expect(facts).to_contain_text("the date of the file")
    expect(page.locator(".command code")).to_contain_text("vidmem index ")
    page.get_by_role("link", name="All sources").click()
    cards(page).filter(has_text=WALK).click()
    page.get_by_role("link", name="Search in it").click()
    walk = next(s for s in api(served, "/sources")["sources"] if s["source"].endswith(WALK))
    found = api(served, f"/things?named=1&top=60&source={walk['id']}")
    there = {thing["name"] for thing in found["things"]}
    expect(page.get_by_role("button", name=f"Remove: in {WALK}")).to_be_visible()
    expect(page.locator(".tile b").first).to_be_visible()
    assert set(page.locator(".tile b").all_inner_texts()) <= there
    assert f"source={walk['id']}" in (page.locator("a.tile").first.get_attribute("href") or "")
    page.go_back()
    page.get_by_role("link", name="Things in it").click()
    expect(summary(page)).to_contain_text(str(api(served, f"/things?named=1&source={walk['id']}")["total"]))
    expect(page.get_by_label("Source", exact=True)).to_have_value(str(walk["id"]))


def test_a_source_is_watched_with_its_things_as_lanes(page: Any, served: Server) -> None:
    walk = next(s for s in api(served, "/sources")["sources"] if s["source"].endswith(WALK))
    page.goto(f"{served.url}/#/sources?source={walk['id']}")
    expect(page.locator(".stage")).to_have_class(re.compile("is-there"))
    until(page, "document.querySelector('.lanes.is-there')")
    page.locator("main").focus()
    page.keyboard.press("Space")
    until(page, "document.querySelector('video')?.currentTime > 0")
    until(page, "!document.querySelector('video').paused")
    page.keyboard.press("Space")
    until(page, "document.querySelector('video').paused")
    expect(page.get_by_role("button", name="Repeat this sighting")).to_have_count(0)
    lanes = page.get_by_role("slider", name="Things over time")
    lanes.focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="Search for this thing")).to_be_visible()
    page.keyboard.press("End")
    expect(page.locator(".player-clock")).to_contain_text("0:40.0 / 0:40.0")
    page.get_by_role("link", name="All sources").click()
    expect(page.locator("video")).to_have_count(0)


def test_photos_are_in_months(page: Any, served: Server) -> None:
    page.goto(f"{served.url}/#/photos")
    expect(summary(page)).to_contain_text("8 photos")
    heads = page.locator(".virtual-head")
    expect(heads).to_have_text(["March 2026", "February 2026", "January 2026"])
    photos = page.locator(".virtual .photo")
    expect(photos).to_have_count(8)
    expect(photos.first).to_have_attribute("aria-label", re.compile("^" + re.escape(HOSTILE_PHOTO)))
    photos.first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE_PHOTO)
    expect(page.locator(".facts")).to_contain_text("11 Mar")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", level=1)).to_have_text("astronaut-4s.jpg")
    expect(page.get_by_role("button", name="The photo before")).to_be_enabled()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE_PHOTO)
    page.keyboard.press("Escape")
    expect(photos).to_have_count(8)


def test_a_thing_in_a_photo_is_marked_and_searched_for(page: Any, served: Server) -> None:
    photo = api(served, "/photos")["photos"][0]
    details = api(served, f"/photos/{photo['source_id']}/{photo['frame_ns']}")
    named = [thing for thing in details["things"] if thing["named"]]
    page.goto(f"{served.url}/#/photos?photo={photo['source_id']}@{photo['frame_ns']}")
    chips = page.locator(".photo-things a")
    expect(chips).to_have_count(len(named))
    chips.first.hover()
    box, frame = page.locator(".boxed-box").bounding_box(), page.locator(".photo-large .shot").bounding_box()
    shares = [
        (box["x"] - frame["x"]) / frame["width"],
        (box["y"] - frame["y"]) / frame["height"],
        box["width"] / frame["width"],
        box["height"] / frame["height"],
    ]
    x0, y0, x1, y1 = named[0]["box"]
    wanted = [x0 / photo["width"], y0 / photo["height"], (x1 - x0) / photo["width"], (y1 - y0) / photo["height"]]
    assert all(abs(a - b) < 0.01 for a, b in zip(shares, wanted, strict=True)), (shares, wanted)
    chips.first.click()
    expect(page.locator(".ask-part-name")).to_have_text("box")


def test_a_question_about_one_photo_of_many(page: Any, served: Server) -> None:
    page.goto(f"{served.url}/#/photos")
    page.get_by_label("In the photo with the").fill("cup")
    page.get_by_label("is there a").fill("bowl with spoon")
    page.get_by_role("button", name="Ask", exact=True).click()
    found = api(served, "/haystack?anchor=cup&target=bowl+with+spoon")
    assert found["answer"] == "yes"
    answer = page.locator(".haystack")
    expect(answer.get_by_role("heading")).to_have_text("Yes: there is a bowl with spoon")
    expect(answer.locator(".boxed-box")).to_have_count(2)
    frame = answer.locator(".shot").bounding_box()
    for kind in ("anchor", "target"):
        box = answer.locator(f".boxed-box.is-{kind}").bounding_box()
        x0, y0, _, y1 = found[f"{kind}_box"]
        assert abs((box["x"] - frame["x"]) / frame["width"] - x0 / found["width"]) < 0.01
        assert abs(box["height"] / frame["height"] - (y1 - y0) / found["height"]) < 0.01
    expect(answer).to_contain_text(f"{found['pictures']} photos have a cup")
    page.reload()
    expect(answer.get_by_role("heading")).to_have_text("Yes: there is a bowl with spoon")
    answer.get_by_role("link").click()
    expect(page.locator(".photo-words")).to_be_visible()


def test_no_and_not_found_about_photos(watched: Watched, served: Server) -> None:
    watched.allow(r"400 \(Bad Request\)")
    page = watched.page
    page.goto(f"{served.url}/#/photos?anchor=cat&target=panda")
    expect(page.locator(".haystack h2")).to_have_text("No panda in it")
    expect(page.locator(".haystack .boxed-box")).to_have_count(1)
    page.goto(f"{served.url}/#/photos?anchor=elephant&target=cat")
    expect(page.locator(".haystack h2")).to_have_text("No photo with an elephant")
    expect(page.locator(".haystack-miss")).to_have_count(3)
    page.goto(f"{served.url}/#/photos?anchor=spidr&target=cat")
    expect(page.locator(".haystack")).to_contain_text("spidr")
    page.locator(".haystack").get_by_role("link", name="spider", exact=False).first.click()
    expect(page.locator(".haystack h2")).to_be_visible()


def test_empty_memories_tell_what_to_do(open_page: Callable[..., Watched], served_empty: Server) -> None:
    page = open_page().page
    for view, heading in (
        ("search", "Nothing is in this memory yet"),
        ("things", "Nothing was seen yet"),
        ("sources", "Nothing is indexed yet"),
        ("photos", "No photos yet"),
    ):
        page.goto(f"{served_empty.url}/#/{view}")
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        expect(page.locator(".command code")).to_contain_text("vidmem index")
        assert HOSTILE_FILM not in page.content()
