"""What an answer about a real clip or a film is worth, with made-up answers; and that the lists by eye are sound."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import film, naming, photos, real, real_present, real_sheet
from benchmarks.common import Described, described
from vidmem.query.answers import Thing
from vidmem.records import Sighting
from vidmem.timecode import NS

CLIPS = {
    "intel_bottle_detection.mp4": (640, 360, 39.86),
    "lerobot_follower_wrist_ep0.mp4": (640, 480, 25.84),
    "lerobot_umi_cup_in_the_wild_ep0.mp4": (224, 224, 40.0),
    "sam2_01_dog.mp4": (1280, 720, 9.65),
    "sam2_02_cups.mp4": (1280, 720, 10.01),
    "sam2_04_coffee.mp4": (1280, 720, 9.58),
    "torchcodec_nasa_13013.mp4": (480, 270, 13.02),
}
"""Width, height and seconds of each."""


class Answer(list):
    near_misses: tuple = ()

    @property
    def found(self) -> bool:
        return bool(self)

    @property
    def total(self) -> int:
        return len(self)


def sighting(start_s, end_s, clip="x.mp4", box=(0, 0, 10, 10), frame_s=None, score=0.9):
    at = start_s if frame_s is None else frame_s
    return Sighting(f"/a/{clip}", round(start_s * NS), round(end_s * NS), score, score, None, round(at * NS), box, (1,))


MOVING = real_present.Place(
    "dog", "x.mp4", ((0, 2), (5, 8)), False, False, ((0, 0, 0, 100, 100), (6, 200, 0, 300, 100))
)
STILL = real_present.Place("table", "y.mp4", ((0, 9),), True, True, ((0, 0, 0, 100, 100),))


@pytest.mark.parametrize(
    ("told", "worth"),
    [
        (sighting(5, 8, box=(210, 0, 300, 90)), "right"),
        (sighting(5, 8, box=(240, 40, 260, 60)), "right"),  # small, but its middle lies on the thing
        (sighting(5, 8, box=(250, 0, 450, 100)), "wrong place"),  # IoU .2, its middle beside
        (sighting(5, 8, box=(180, 0, 430, 100)), "right"),  # its middle beside, but IoU .4
        (sighting(5, 8, box=(0, 0, 100, 100)), "wrong place"),  # where it was long before
        (sighting(1, 6, box=(0, 0, 100, 100), frame_s=0.2), "right"),
        (sighting(2.5, 4.5, box=(0, 0, 100, 100)), "wrong time"),
        (sighting(5, 8, clip="z.mp4", box=(210, 0, 300, 90)), "wrong clip"),
        (sighting(5, 8, clip="y.mp4", box=(40, 40, 60, 60)), "wrong place"),  # what stands on the table is no table
        (sighting(8.5, 8.9, clip="y.mp4", box=(10, 10, 90, 90)), "right"),  # still: a box holds for all its time
    ],
)
def test_a_sighting_must_be_in_the_right_clip_at_the_right_time_and_place(told, worth):
    assert real_present.worth(told, (MOVING, STILL)) == worth


def test_the_newest_sighting_decides_and_the_best_is_told_beside():
    wrong, right = sighting(5, 8, clip="z.mp4", score=0.5), sighting(5, 8, box=(210, 0, 300, 90), score=0.8)
    row = real_present.judge(Answer([wrong, right]), (MOVING,))
    assert (row["right"], row["worth"], row["best_right"], row["sightings"]) == (False, "wrong clip", True, 2)
    assert real_present.judge(Answer([right, wrong]), (MOVING,))["right"]


def test_nothing_found_is_not_right_and_tells_its_near_miss():
    none = Answer()
    assert real_present.judge(none, (MOVING,)) == {"worth": "not found", "right": False, "near_miss": None}
    none.near_misses = (sighting(5, 8, box=(210, 0, 300, 90), score=0.3),)
    near = real_present.judge(none, (MOVING,))["near_miss"]
    assert near == {"worth": "right", "score": 0.3, "clip": "x.mp4"}


def test_boxes_hold_near_their_time():
    place = real_present.Place(
        "cup", "x.mp4", ((0, 9),), False, False, ((1, 1, 0, 2, 2), (1.2, 2, 0, 3, 2), (5, 5, 0, 6, 2))
    )
    assert place.boxes_at(1.1) == [(1, 0, 2, 2), (2, 0, 3, 2)]
    assert place.boxes_at(4) == [(5, 0, 6, 2)]  # none is near: the nearest


def test_people_are_counted_by_clip():
    def thing(*clips):
        return Thing(tuple(sighting(0, 1, clip=clip) for clip in clips), (1,))

    people = [{"clip": "a", "whole": True}, {"clip": "b", "whole": True}, {"clip": "arm", "whole": False}]
    told = [thing("a", "b"), thing("b"), thing("b"), thing("arm")]
    rows = {row["clip"]: row for row in real.count_people(told, people, ["a", "b", "arm", "nobody"])}
    assert [rows[c]["things"] for c in rows] == [1, 3, 1, 0]
    assert [rows[c]["right"] for c in rows] == [True, False, None, True]
    (missed,) = real.count_people([], people, ["a"])
    assert missed["right"] is False
    (seen_where_nobody_is,) = real.count_people([thing("nobody")], people, ["nobody"])
    assert seen_where_nobody_is["right"] is False


def test_summary_counts_each_half_and_what_is_absent_but_found():
    known = real_present.Facts((), {"fit": tuple("abcd"), "held": tuple("efgh")})
    name = {"half": "fit", "core": True, "right": True, "worth": "right", "best_right": True}
    result = {
        "index": [{"clip": "a"}, {"clip": "b", "error": "x"}],
        "queries": [
            {
                "whole": True,
                "picture": {"right": True},
                "crop": {"right": False},
                "both": {"right": True},
                "words": {"right": False},
            }
        ],
        "names": [name, name | {"half": "held", "core": False, "right": False, "worth": "not found"}],
        "absent_found": [{"name": "e", "half": "held"}],
        "people": [{"right": None, "things": 9}, {"right": False, "things": 7}],
    }
    out = real.summary(result, known)
    assert (out["failed_clips"], out["picture_right"], out["crop_right"], out["both_right"]) == (1, 1, 0, 1)
    assert (out["names"]["rate"], out["names"]["fit"]["rate"], out["names"]["held"]["rate"]) == (0.5, 1, 0)
    assert (out["names"]["core"]["n"], out["names"]["worth"]) == (1, {"not found": 1, "right": 1})
    assert (out["absent"]["n"], out["absent"]["rate"], out["absent"]["fit"]["rate"]) == (8, 1 / 8, 0)
    assert (out["people"]["n"], out["people"]["right"], out["people"]["most_things"]) == (1, 0, 7)


def inside(clip, box, t_s=None):
    width, height, seconds = CLIPS[clip]
    x0, y0, x1, y1 = box
    return 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height and (t_s is None or 0 <= t_s <= seconds)


def test_things_in_the_clips_are_sixty_with_a_name_of_the_list():
    objects = json.loads(photos.OBJECTS.read_text("utf-8"))["objects"]
    names = photos.lines("clip_names.txt")
    assert (len(objects), len(names), len(set(names))) == (60, 100, 100)
    assert {o["name"] for o in objects} <= set(names)
    assert all(inside(o["clip"], o["box"], o["t_s"]) for o in objects)
    assert max(Counter(o["name"] for o in objects).values()) <= 12


def test_names_present_and_absent_are_well_formed():
    known = real_present.facts()
    assert (len(known.names), sum(n.core for n in known.names)) == (34, 25)
    assert [len(known.half(half)) for half in real_present.HALVES] == [17, 17]
    assert [len(known.absent[half]) for half in real_present.HALVES] == [250, 250]
    assert len({*known.absent["fit"], *known.absent["held"]}) == 500
    there = {word for n in known.names for word in (n.name, *n.also)}
    unsure = set(json.loads(real_present.PRESENT.read_text("utf-8"))["unsure"])
    assert not (there | unsure) & {*known.absent["fit"], *known.absent["held"]}
    for place in {p for n in known.names for p in n.places}:
        assert all(inside(place.clip, box[1:], box[0]) for box in place.boxes), place.id
        assert all(0 <= a < b <= CLIPS[place.clip][2] for a, b in place.spans), place.id
        assert list(place.spans) == sorted(place.spans)
        assert all(place.boxes_at(a) for a, _ in place.spans)


def test_a_name_only_in_clips_that_are_missing_is_not_asked():
    names = {n.name for n in real_present.facts(["sam2_02_cups.mp4"]).names}
    assert "ball" in names
    assert "dog" not in names


def test_people_and_queries_lie_in_their_clips():
    for one in json.loads(real.PEOPLE.read_text("utf-8"))["people"]:
        assert inside(one["clip"], one["box"][1:], one["box"][0])
    queries = json.loads(real.QUERIES.read_text("utf-8"))["queries"]
    assert len(queries) == 24
    assert all(inside(q["clip"], q["box"], q["t_s"]) for q in queries)


# --- naming


def one_thing(name="cup", box=(0, 0, 10, 10)):
    return naming.Thing("x", lambda: Image.new("RGB", (20, 20)), box, name)


def said(*regions):
    boxes = np.array([box for box, _ in regions], np.float64).reshape(-1, 4)
    text = np.array([text for _, text in regions], np.float32).reshape(-1, 2)
    return Described(boxes, text, text)


TEXTS, NAMES = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32), ["cup", "plate", "bowl"]


def test_the_region_that_fits_best_is_named_however_unsure():
    row = naming.name_one(said(((0, 0, 9, 10), (0.1, 0.02)), ((5, 5, 20, 20), (0, 1))), one_thing(), TEXTS, NAMES)
    assert (row["rank"], row["iou"], row["said"][0], row["sure"]) == (0, 0.9, "cup", pytest.approx(0.102, abs=1e-3))
    other = naming.name_one(said(((0, 0, 9, 10), (0, 1))), one_thing(), TEXTS, NAMES)
    assert (other["rank"], other["said"][0]) == (2, "plate")


def test_no_region_and_no_name_count_as_wrong():
    for nothing in (said(), said(((0, 0, 10, 10), (0, 0)))):
        row = naming.name_one(nothing, one_thing(), TEXTS, NAMES)
        assert row["rank"] == len(NAMES)
    assert naming.rates([0, 3, 9])["top5"] == pytest.approx(0.6667)


def test_described_gives_back_each_picture_in_order():
    rng = np.random.default_rng(0)
    tone = [Image.fromarray(rng.integers(0, 255, (60 + 20 * k, 90, 3), np.uint8)) for k in range(2)]
    out = list(described([tone[0], tone[1], tone[0]], at_once=3))
    assert len(out) == 3
    assert out[0].text.shape == (len(out[0].boxes), 128)
    for one, picture in zip(out, (tone[0], tone[1], tone[0]), strict=True):
        assert (one.boxes >= -1).all()
        assert (one.boxes[:, 2] <= picture.width + 1).all()
        assert (one.boxes[:, 3] <= picture.height + 1).all()
    np.testing.assert_array_equal(out[0].text, out[2].text)
    assert len(out[0].boxes) > 0


# --- film


def test_a_film_shows_every_photograph_and_some_of_them_again():
    shots = film.script([(300, 200)] * 20)
    assert len(shots) == 20 + film.AGAIN
    assert {s.photo for s in shots[:20]} == set(range(20))
    assert all(shots[k].photo != shots[k + 1].photo for k in range(len(shots) - 1))
    for shot in shots:
        for x0, y0, x1, y1 in (shot.start, shot.end):
            assert 0 <= x0 < x1 <= 300.001
            assert 0 <= y0 < y1 <= 200.001
            assert (x1 - x0) / (y1 - y0) == pytest.approx(16 / 9)
    assert [s.start for s in shots] == [s.start for s in film.script([(300, 200)] * 20)]


def test_the_last_shot_of_a_thing_is_asked_for():
    shots = [film.Shot(k, (0, 0, 1, 1), (0, 0, 1, 1)) for k in (0, 1, 0)]
    spans = film.spans_of(shots, [0])
    assert [a for a, _ in spans] == [0, 6]
    assert film.newest(Answer([sighting(6, 8.9)]), spans)["right"]
    assert not film.newest(Answer([sighting(0, 2.9)]), spans)["right"]
    assert not film.newest(Answer([sighting(3, 5.9)]), spans)["right"]
    assert film.newest(Answer(), spans) == {"found": False, "right": False}


def test_the_nearest_track_by_name_must_be_in_a_shot_of_the_thing():
    texts, times = np.array([[0.9, 0], [0, 1], [0.5, 0]], np.float32), np.array([1.0, 4.0, 7.0])
    first = film.nearest(texts, times, np.array([1, 0], np.float32), [(0, 2.96)])
    assert (first["right"], first["rank"]) == (True, 0)
    other = film.nearest(texts, times, np.array([1, 0], np.float32), [(6, 8.96)])
    assert (other["right"], other["rank"]) == (False, 1)
    assert film.nearest(texts[:0], times[:0], np.array([1, 0], np.float32), [(0, 1)]) == {"right": False}


def test_the_film_has_twenty_photographs_of_nineteen_names_that_are_held_out():
    def photo(key, held=True):
        name = f"101_ObjectCategories/{key}.jpg"
        return photos.Photo("caltech", name, b"", (300, 200), [film_region(key.split("/")[0])], held)

    given = [photo("okapi/image_0001"), *(photo(key) for key in reversed(film.CHOSEN))]
    chosen = film.choose(given)
    assert [p.name.split("/", 1)[1] for p in chosen] == [f"{key}.jpg" for key in film.CHOSEN]
    assert (len(chosen), len({p.regions[0].name for p in chosen})) == (20, 19)
    with pytest.raises(ValueError, match="pizza"):
        film.choose([photo("pizza/image_0039", held=False)])


def film_region(name):
    from lab.photos import Region

    return Region((0, 0, 1, 1), name)


def test_a_film_is_written_and_reads_back(tmp_path: Path):
    shots = [film.Shot(0, (0, 0, 160, 90), (0, 0, 160, 90))]
    path = tmp_path / "films" / "x.mp4"
    film.make(path, shots, [Image.new("RGB", (160, 100), (200, 30, 30))])
    still = real_sheet.frame(path, 1.0)
    assert still.size == film.SIZE
    assert abs(np.asarray(still)[300, 600].astype(int) - (200, 30, 30)).max() < 12


def test_sheets_show_answer_and_truth():
    marks = [real_sheet.Mark((5, 5, 90, 90)), real_sheet.Mark((0, 0, 80, 80), true=True)]
    one = real_sheet.tile(Image.new("RGB", (100, 100)), marks, "cup", "right", True)
    colours = set(one.get_flattened_data() if hasattr(one, "get_flattened_data") else one.getdata())
    assert {real_sheet.RED, real_sheet.GREEN} <= colours
    assert real_sheet.grid([one] * 5).size == (4 * 400, 2 * 170)
