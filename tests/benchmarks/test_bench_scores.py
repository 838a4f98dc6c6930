"""What decides whether an answer was right, without videos."""

import json

import pytest

from benchmarks import calibrate_sets, lostfound, real, second_vendor, worlds
from lab.synthetic.queries import Query
from lab.synthetic.truth import Shown, Truth
from vidmem.records import Sighting
from vidmem.timecode import NS


def sighting(start_s, end_s, source="/a/x.mp4", frame_s=None, box=(0, 0, 10, 10), score=0.9):
    frame = start_s if frame_s is None else frame_s
    return Sighting(source, round(start_s * NS), round(end_s * NS), score, score, None, round(frame * NS), box, (1,))


def truth():
    cup = Shown("cup", 0, True, ((NS, 3 * NS), (10 * NS, 14 * NS)), 6 * NS, ((10 * NS, 0.0, 0.0, 10.0, 20.0),))
    return Truth(1, 100, 50, 30, 600, 20 * NS, (cup,), {"cup": 14 * NS})


def test_score_takes_the_newest_sighting_and_counts_the_others_as_any():
    query = Query("name", "cup", None, 0, "cup", 10 * NS, 14 * NS)
    row = lostfound.score(query, truth(), [sighting(10, 14), sighting(1, 3)])
    assert (row["right"], row["tiou"], row["spans_found"]) == (True, 1.0, 2)
    assert row["box_iou"] == pytest.approx(0.5)
    old = lostfound.score(query, truth(), [sighting(1, 3)])
    assert (old["right"], old["any"], old["found"]) == (False, True, True)
    none = lostfound.score(query, truth(), [])
    assert (none["right"], none["any"], none["found"]) == (False, False, False)


def test_summary_keeps_absent_words_and_pictures_apart():
    word = Query("absent", "drum", None, 3, "drum", None, None)
    picture = Query("absent", None, "pictures/x.png", 3, "drum", None, None)
    rows = [lostfound.score(word, truth(), []), lostfound.score(picture, truth(), [sighting(1, 2)])]
    kinds = lostfound.summary(rows)
    assert kinds["absent"]["rate"] == 0.5
    assert (kinds["absent_word"]["rate"], kinds["absent_picture"]["rate"]) == (0, 1)


def test_true_box_must_be_near_in_time():
    assert lostfound.true_box_iou(truth(), "cup", 10 * NS + NS // 10, (0, 0, 10, 20)) == 1
    assert lostfound.true_box_iou(truth(), "cup", 11 * NS, (0, 0, 10, 20)) is None
    assert lostfound.true_box_iou(truth(), "drum", 10 * NS, (0, 0, 10, 20)) is None


def test_household_phrases_are_nobodys_names():
    phrases = calibrate_sets.household()
    assert len(phrases) >= 40
    assert "passport" in phrases
    assert "umbrella" not in phrases


def test_real_verdict_wants_the_right_clip_and_the_last_span():
    class Answer(list):
        found, total, near_misses = True, 1, ()

    spans = [[0.0, 2.0], [5.0, 8.0]]
    assert real.verdict(Answer([sighting(5, 8)]), "x.mp4", spans)["right"]
    assert not real.verdict(Answer([sighting(5, 8)]), "y.mp4", spans)["right"]
    first_only = real.verdict(Answer([sighting(0, 2)]), "x.mp4", spans)
    assert (first_only["right"], first_only["best_right"]) == (False, True)


def test_real_queries_are_well_formed():
    queries = json.loads(real.QUERIES.read_text("utf-8"))["queries"]
    assert len(queries) >= 14
    for query in queries:
        x0, y0, x1, y1 = query["box"]
        assert 0 <= x0 < x1
        assert 0 <= y0 < y1
        assert all(a < b for a, b in query["spans"])
        assert query["spans"] == sorted(query["spans"])
        assert any(a <= query["t_s"] <= b for a, b in query["spans"])


def test_second_vendor_takes_only_what_is_named():
    keys = second_vendor.wanted_keys()
    assert second_vendor.is_wanted("package/img/twitter/64/1f511.png", keys)
    assert second_vendor.is_wanted("package/img/twitter/64/2602-fe0f.png", keys)
    assert not second_vendor.is_wanted("package/img/twitter/32/1f511.png", keys)
    assert not second_vendor.is_wanted("package/img/twitter/64/1f1e6-1f1e9.png", keys)
    assert not second_vendor.is_wanted("package/img/twitter/64/../../x.png", keys)


def test_worlds_have_their_places(tmp_path):
    assert worlds.place(tmp_path, None, 9000, 60.0) == tmp_path / "worlds/noto/9000-60"
    other = tmp_path / "twemoji"
    assert worlds.place(tmp_path, other, 1, 8.5, (320, 180, 15)) == tmp_path / "worlds/twemoji/1-8.5-320x180@15"
    assert worlds.kept(tmp_path) is None
