"""Asking by words, pictures and boxes, and what the answer shows: each flow as a person goes through it."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from needs import needs

from .server import Server
from .watched import Watched, until
from .worlds import HOSTILE_FILM, WALK

sync = needs("playwright.sync_api")
expect = sync.expect

DRAWN = """() => {
  const canvas = document.querySelector('.stage-boxes');
  const { data, width, height } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let [x0, y0, x1, y1] = [1e9, 1e9, -1, -1];
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const i = 4 * (y * width + x);
    if (data[i] > 230 && data[i + 1] > 50 && data[i + 1] < 110 && data[i + 3] > 200) {
      x0 = Math.min(x0, x); x1 = Math.max(x1, x); y0 = Math.min(y0, y); y1 = Math.max(y1, y);
    }
  }
  return x1 < 0 ? null : [x0 / width, y0 / height, x1 / width, y1 / height];
}"""
"""The box that is drawn over the picture, as shares of the canvas."""


def ask(page: Any, served: Server, **question: str) -> None:
    """Open the answer to a question by its address."""
    page.goto(f"{served.url}/#/search?" + "&".join(f"{name}={quote(value)}" for name, value in question.items()))
    expect(page.locator("main h1:visible").first).to_be_visible()


def api(served: Server, path: str) -> Any:
    return json.loads(served.get(f"/api/v1{path}"))


def field(page: Any) -> Any:
    return page.get_by_role("combobox", name="What to look for")


def when(page: Any) -> Any:
    return page.locator("h1.words-when")


def test_words_are_answered_with_the_picture_when_and_where(page: Any, served: Server) -> None:
    page.goto(served.url)
    expect(page).to_have_title("vidmem")
    field(page).fill("spider web")
    field(page).press("Enter")
    expect(when(page)).to_have_text(re.compile("20 Mar"))
    expect(page.locator(".words-where")).to_contain_text(f"into {WALK}")
    expect(page.locator(".words-sure")).to_contain_text("sure")
    expect(page.locator(".stage")).to_have_class(re.compile("is-there"))
    expect(page).to_have_title("spider web · vidmem")
    assert page.url.endswith("#/search?text=spider+web")
    (best,) = api(served, "/where?text=spider+web")["sightings"]
    minutes, seconds = divmod(int(best["start_s"]), 60)
    expect(page.locator(".words-where")).to_contain_text(f"{minutes}:{seconds:02d} into")
    box = until(page, f"({DRAWN})()")
    source = api(served, f"/sources/{best['source_id']}")
    wanted = [v / (source["width"] if i % 2 == 0 else source["height"]) for i, v in enumerate(best["box"])]
    assert box == pytest.approx(wanted, abs=0.02)


def test_names_are_suggested_while_typing(page: Any, served: Server) -> None:
    page.goto(served.url)
    field(page).press_sequentially("spider w")
    names = page.get_by_role("option")
    expect(names.first).to_contain_text("spider web")
    field(page).press("ArrowDown")
    expect(names.first).to_have_attribute("aria-selected", "true")
    assert field(page).get_attribute("aria-activedescendant") == names.first.get_attribute("id")
    field(page).press("Enter")
    expect(when(page)).to_be_visible()
    expect(page.get_by_role("listbox")).to_be_hidden()
    assert "text=spider+web" in page.url


def a_picture(page: Any, served: Server) -> str:
    """The address of a picture of the cat of the film."""
    near = api(served, "/where?text=cat&top=all")["sightings"]
    cat = next(s for s in near if HOSTILE_FILM in s["source"])
    x0, y0, x1, y1 = cat["box"]
    return f"/api/v1/crops/{cat['source_id']}/{cat['frame_ns']}.jpg?box={x0},{y0},{x1},{y1}"


GIVE = """async ([address, how]) => {
  const blob = await (await fetch(address)).blob();
  const data = new DataTransfer();
  data.items.add(new File([blob], 'cat.jpg', {type: 'image/jpeg'}));
  const event = how === 'paste' ? new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true})
    : null;
  if (event) document.body.dispatchEvent(event);
  else for (const name of ['dragenter', 'dragover', 'drop']) {
    document.body.dispatchEvent(new DragEvent(name, {dataTransfer: data, bubbles: true, cancelable: true}));
  }
}"""


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(page: Any, served: Server, how: str) -> None:
    page.goto(served.url)
    expect(field(page)).to_be_visible()
    page.evaluate(GIVE, [a_picture(page, served), how])
    expect(page.locator(".ask-part-name")).to_have_text("picture")
    expect(when(page)).to_be_visible()
    picture = re.search(r"picture=([0-9a-f]+)", page.url)
    assert picture
    found = api(served, f"/where?picture={picture[1]}&top=all")
    assert found["found"]
    rows = page.locator(".sightings [data-sighting]")
    expect(rows).to_have_count(len(found["sightings"])) if len(found["sightings"]) > 1 else None
    assert any(HOSTILE_FILM in s["source"] or "chelsea" in (s["picture"] or "") for s in found["sightings"])
    page.get_by_role("button", name="Remove the picture").click()
    expect(page.locator(".ask-part")).to_have_count(0)


def test_words_and_a_picture_together(page: Any, served: Server) -> None:
    page.goto(served.url)
    expect(field(page)).to_be_visible()
    page.evaluate(GIVE, [a_picture(page, served), "drop"])
    expect(page.locator(".ask-part-name")).to_have_text("picture")
    field(page).fill("cat")
    field(page).press("Enter")
    expect(page.locator(".words-sure, .notfound").first).to_be_visible()
    assert "text=cat" in page.url
    assert "picture=" in page.url


def test_what_is_no_picture_is_refused_in_words(watched: Watched, served: Server) -> None:
    watched.allow("415|400")
    page = watched.page
    page.goto(served.url)
    expect(field(page)).to_be_visible()
    page.evaluate("""() => { const data = new DataTransfer();
      data.items.add(new File(['no picture'], 'x.png', {type: 'image/png'}));
      document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})); }""")
    expect(page.locator(".toast")).to_contain_text("picture")
    assert "picture=" not in page.url


def test_a_box_is_drawn_on_the_paused_frame(page: Any, served: Server) -> None:
    ask(page, served, text="set square")
    page.get_by_role("button", name="Box search").click()
    layer = page.get_by_role("group", name=re.compile("Box to search for"))
    place = layer.bounding_box()
    page.mouse.move(place["x"] + place["width"] * 0.3, place["y"] + place["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] * 0.6, place["y"] + place["height"] * 0.7, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Search for this").click()
    expect(page.locator(".ask-part-name")).to_have_text("box")
    expect(page.locator(".words, .notfound").first).to_be_visible()
    crop = re.search(r"crop=([^&]+)", page.url)
    assert crop
    source, _, rest = re.sub("%3A", ":", re.sub("%40", "@", re.sub("%2C", ",", crop[1]))).partition("@")
    x, y, w, h = map(int, rest.partition(":")[2].split(","))
    assert int(source) == api(served, "/where?text=set+square")["sightings"][0]["source_id"]
    assert [x / 1280, y / 720, w / 1280, h / 720] == pytest.approx([0.3, 0.3, 0.3, 0.4], abs=0.02)


def test_a_box_is_moved_and_searched_by_keys(page: Any, served: Server) -> None:
    ask(page, served, text="set square")
    page.locator("main").focus()
    page.keyboard.press("b")
    expect(page.get_by_role("group", name=re.compile("Box to search for"))).to_be_focused()
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(page.locator(".ask-part-name")).to_have_text("box")
    assert "crop=" in page.url


def test_conditions_narrow_the_answer_and_are_taken_away(page: Any, served: Server) -> None:
    ask(page, served, text="cat")
    page.locator("main").focus()
    page.keyboard.press("c")
    film = next(s for s in api(served, "/sources")["sources"] if HOSTILE_FILM in s["source"])
    page.get_by_label("Sources", exact=True).select_option(str(film["id"]))
    expect(page.locator(".words-where")).to_contain_text(HOSTILE_FILM)
    assert f"source={film['id']}" in page.url
    page.get_by_label("Near", exact=True).fill("violin")
    page.get_by_label("Near", exact=True).press("Enter")
    expect(page.locator(".notfound h1")).to_contain_text("was not found")
    expect(page.locator(".without")).to_contain_text("Without them it was seen")
    page.get_by_role("link", name="Ask without conditions").click()
    expect(when(page)).to_be_visible()
    assert "near=" not in page.url


def test_dates_and_probability_are_conditions_too(page: Any, served: Server) -> None:
    ask(page, served, text="cat", before="2026-03-01")
    expect(when(page)).to_contain_text("Feb")
    ask(page, served, text="cat", min_probability="0.95")
    expect(page.locator(".notfound .words-where")).to_contain_text("at least 95 % sure")


def test_a_click_on_the_timeline_seeks(page: Any, served: Server) -> None:
    ask(page, served, text="spider web")
    lanes = page.get_by_role("slider", name="Things over time")
    until(page, "document.querySelector('.lanes.is-there')")
    place = lanes.bounding_box()
    label, right = 150, 12
    x = label + 0.5 * (place["width"] - label - right)
    lanes.click(position={"x": x, "y": 40})
    expect(page.locator(".player-bar")).to_contain_text(re.compile(r"0:(19|20)\.\d / 0:40"))
    shown = "document.querySelector('video.stage-media')"
    until(page, f"{shown} && !{shown}.seeking && Math.abs({shown}.currentTime - 20) < 1")
    lanes.press("End")
    expect(page.locator(".player-bar")).to_contain_text(re.compile(r"0:(39|40)\.\d / 0:40"))
    lanes.press("Home")
    expect(page.locator(".player-bar")).to_contain_text("0:00.0 / 0:40")
    for _ in range(5):  # a seek may overtake another
        lanes.press("End")
        lanes.press("Home")
    until(page, f"!{shown}.seeking && {shown}.currentTime < .1")
    expect(page.locator(".player-bar")).to_contain_text("0:00.0 / 0:40")


def test_the_box_follows_the_thing_while_the_video_plays(page: Any, served: Server) -> None:
    (best,) = api(served, "/where?text=spider+web")["sightings"]
    tracks = ",".join(map(str, best["tracks"]))
    boxes = api(
        served,
        f"/sources/{best['source_id']}/boxes?tracks={tracks}&start_ns={best['start_ns']}&end_ns={best['end_ns']}",
    )
    assert len(boxes["frames"]) > 3
    ask(page, served, text="spider web")
    page.locator(".stage-play").click()
    # A track has a box every half second; what is drawn lies between the boxes before and after.
    seen = 0
    for _ in range(400):
        clock, box = page.evaluate(
            f"[document.querySelector('.player-bar').textContent.match(/(\\d+):([\\d.]+) \\//), ({DRAWN})()]"
        )
        t = int(clock[1]) * 60 + float(clock[2])
        near = [f["boxes"][0]["box"] for f in boxes["frames"] if abs(f["t_s"] - t) <= 0.7]
        if box and len(near) > 1 and page.evaluate("!document.querySelector('video')?.paused"):
            low = [min(b[i] for b in near) / (1280, 720)[i % 2] - 0.03 for i in range(4)]
            high = [max(b[i] for b in near) / (1280, 720)[i % 2] + 0.03 for i in range(4)]
            assert all(a <= v <= b for a, v, b in zip(low, box, high, strict=True)), (t, box, low, high)
            seen += 1
        if seen >= 3:
            break
        page.wait_for_timeout(100)
    assert seen >= 3, "no box was drawn while the video played"
    page.keyboard.press("Space")
    until(page, "document.querySelector('video').paused")


def test_earlier_sightings_are_listed_and_play(page: Any, served: Server) -> None:
    found = api(served, "/where?text=cat&top=all")["sightings"]
    ask(page, served, text="cat")
    rows = page.locator(".sightings [data-sighting]")
    expect(rows).to_have_count(len(found))
    assert rows.evaluate_all("all => all.map(row => row.dataset.sighting)") == [s["id"] for s in found]
    older = next(i for i, s in enumerate(found) if s["source"] != found[0]["source"] and s["picture"] is None)
    rows.nth(older).click()
    expect(page.locator(".words-over")).to_have_text("Seen before")
    expect(page.locator(".words-where")).to_contain_text(HOSTILE_FILM)
    expect(rows.nth(older)).to_have_attribute("aria-current", "true")
    assert f"id={found[older]['id']}" in page.url
    page.go_back()
    expect(page.locator(".words-over")).to_have_text("Last seen")


def test_an_older_one_that_is_likelier_is_said(page: Any, served: Server) -> None:
    assert api(served, "/where?text=cat")["likelier"], "the world has lost its likelier cat"
    ask(page, served, text="cat")
    section = page.locator(".likelier")
    expect(section).to_contain_text("An older one is likelier")
    section.get_by_role("link").click()
    expect(page.locator(".words-over")).to_contain_text("Likelier")


def test_not_found_says_why_and_shows_what_is_nearest(page: Any, served: Server) -> None:
    ask(page, served, text="violin")
    expect(page.locator("main h1:visible").first).to_have_text("“violin” was not found")
    expect(page.locator(".notfound .words-where")).to_contain_text("An answer has to be at least 50 % sure")
    misses = page.locator(".misses [data-sighting]")
    expect(misses).to_have_count(len(api(served, "/where?text=violin")["near_misses"]))
    sure = [int(text.strip(" %<>")) for text in page.locator(".miss b").all_inner_texts()]
    assert sure == sorted(sure, reverse=True)
    misses.first.click()
    expect(page.locator(".words-over")).to_have_text("A near miss")
    assert page.locator("h1:visible").all_inner_texts() == ["“violin” was not found"]


def test_space_plays_wherever_it_would_only_scroll(page: Any, served: Server) -> None:
    ask(page, served, text="cat")
    expect(page.locator(".stage")).to_have_class(re.compile("is-there"))
    places = page.locator(".sightings a"), page.get_by_role("slider", name="Things over time"), page.locator(".scrub")
    playing = False
    for place in places:
        place.first.focus()
        before = page.evaluate("scrollY")
        page.keyboard.press("Space")
        playing = not playing
        name = "Pause" if playing else "Play"
        expect(page.locator(".player-bar").get_by_role("button", name=name, exact=True)).to_be_visible()
        assert page.evaluate("scrollY") == before


def test_on_a_narrow_screen_the_keyboard_goes_from_top_to_bottom(open_page: Any, served: Server) -> None:
    page = open_page(viewport={"width": 390, "height": 844}).page
    ask(page, served, text="cat")
    until(page, "document.querySelector('.lanes.is-there')")
    tops = """() => [...document.querySelectorAll('.answer :is(.stage, .words, .actions, .lanes, .others)')]
        .map(one => Math.round(one.getBoundingClientRect().top))"""
    assert page.evaluate(tops) == sorted(page.evaluate(tops))
    assert page.locator(".show > .answer-words").count() == 1
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(page.locator(".answer-side > .answer-words")).to_be_visible()


def test_a_word_that_is_not_known_is_not_called_not_found(watched: Watched, served: Server) -> None:
    watched.allow(r"400 \(Bad Request\)")
    page = watched.page
    ask(page, served, text="spidr web")
    expect(page.locator("main h1:visible").first).to_contain_text("I don't know the word")
    expect(page.locator(".notfound")).to_contain_text("not the same as not found")
    page.get_by_role("button", name="spider", exact=False).first.click()
    expect(page.locator(".words, .notfound h1").first).to_be_visible()
    assert "spidr" not in page.url


def test_everything_is_reached_by_keys_alone(page: Any, served: Server) -> None:
    page.goto(served.url)
    expect(page.locator("main h1")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("/")
    expect(field(page)).to_be_focused()
    page.keyboard.type("cat")
    page.keyboard.press("Enter")
    expect(when(page)).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator(".words-over")).not_to_have_text("Last seen")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("Next sighting")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("Escape")
    for key, heading in (("2", "Things"), ("3", "Sources"), ("4", "Photos")):
        page.keyboard.press(key)
        expect(page.get_by_role("heading", level=1, name=heading)).to_be_visible()
    page.keyboard.press("1")
    expect(field(page)).to_be_visible()


def test_letters_can_be_switched_off(page: Any, served: Server) -> None:
    page.goto(f"{served.url}/#/sources")
    page.keyboard.press("?")
    page.get_by_label("Keys of one letter or sign are on").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.reload()
    expect(page.get_by_role("heading", level=1, name="Sources")).to_be_visible()
    page.keyboard.press("2")
    expect(page.get_by_role("heading", level=1, name="Sources")).to_be_visible()


def test_reload_and_back_keep_the_question(page: Any, served: Server) -> None:
    ask(page, served, text="cat", before="2026-03-01")
    words = page.locator(".words").inner_text()
    page.reload()
    expect(page.locator(".words")).to_have_text(words, use_inner_text=True)
    expect(field(page)).to_have_value("cat")
    field(page).fill("panda")
    field(page).press("Enter")
    expect(page).to_have_title("panda · vidmem")
    page.go_back()
    expect(page).to_have_title("cat · vidmem")
    expect(page.locator(".words")).to_have_text(words, use_inner_text=True)
    page.go_forward()
    expect(page).to_have_title("panda · vidmem")


def test_frame_clip_and_json_are_saved(page: Any, served: Server) -> None:
    ask(page, served, text="spider web")
    for name, start in (("Frame", b"\xff\xd8"), ("JSON", b"{")):
        with page.expect_download() as saved:
            page.get_by_role("link", name=name, exact=True).click()
        with open(saved.value.path(), "rb") as file:
            assert file.read(2).startswith(start)
    clip = page.get_by_role("link", name="Clip", exact=True).get_attribute("href")
    assert served.get("/" + clip)[4:8] == b"ftyp"


def test_the_answer_is_that_of_the_api(page: Any, served: Server) -> None:
    for text in ("panda", "scissors", "person"):
        ask(page, served, text=text)
        found = [s["id"] for s in api(served, f"/where?text={text}&top=40")["sightings"]]
        assert found
        expect(page).to_have_title(f"{text} · vidmem")
        rows = "[...document.querySelectorAll('.sightings [data-sighting]')]"
        wanted = json.dumps(found if len(found) > 1 else [], separators=(",", ":"))
        until(page, f"JSON.stringify({rows}.map(row => row.dataset.sighting)) === {json.dumps(wanted)}")
