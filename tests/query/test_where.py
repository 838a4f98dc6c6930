"""`where` on a store: sightings with their evidence, newest first, and near misses when nothing counts as found."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seeing import axis, seen, source
from store.making import DT, DV, MODEL, add, info

from vidmem.encoders import Calibration
from vidmem.encoders.probability import Curve, Probabilities
from vidmem.query.answers import Answer
from vidmem.query.question import Phrase, Question
from vidmem.query.where import MUCH_LIKELIER, NEAR_MISSES, each, timeline, where
from vidmem.records import Float32, FrameRegions
from vidmem.store import Store, VectorCache
from vidmem.timecode import NS

CALIBRATION = Calibration(0.7, 0.0, 0.7, 0.6)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory", create=True) as store:
        store.set_model(MODEL)
        yield store


def ask(store: Store, top: int | None = None, *, calibration: Calibration = CALIBRATION, **question: Any) -> Answer:
    asked = Question(**{"text": axis(DT, 0), **question})
    return where(store, VectorCache(store), calibration, asked, top=top)


def spans(answer: Answer) -> list[tuple[str, float, float]]:
    return [(Path(s.source).name, s.start_s, s.end_s) for s in answer]


def test_a_sighting_joins_its_tracks_and_shows_the_best(store: Store) -> None:
    box = (10.0, 20.0, 30.0, 40.0)
    source(
        store,
        "a.mp4",
        [
            seen(0, 0, 1, 2, 0.5),
            seen(1, 1, 1, 9),
            seen(2, 0, 3, 6, best_box=box),
            seen(3, 0, 5, 7, 0.4),
        ],
    )
    answer = ask(store)
    (sighting,) = answer
    assert (sighting.start_s, sighting.end_s) == (1, 7)
    assert sighting.source == "/videos/a.mp4"
    assert sighting.score == sighting.text_score == pytest.approx(1, abs=1e-3)
    assert sighting.visual_score is None
    assert (sighting.frame_s, sighting.box) == (4.5, box)  # of the track that fits best
    assert [t.ordinal for t in store.tracks(sighting.tracks)] == [0, 2, 3]
    assert answer.found
    assert (answer.total, answer.near_misses) == (1, ())


def test_newest_first_by_order_of_adding(store: Store) -> None:
    source(store, "a.mp4", [seen(0, 0, 50, 60), seen(1, 0, 10, 12), seen(2, 0, 90, 99)])
    source(store, "b.mp4", [seen(0, 0, 5, 6)])
    expected = [("b.mp4", 5, 6), ("a.mp4", 90, 99), ("a.mp4", 50, 60), ("a.mp4", 10, 12)]
    assert spans(ask(store)) == expected
    for top in (1, 2, 9):
        answer = ask(store, top)
        assert spans(answer) == expected[:top]
        assert answer.total == 4


def test_newest_first_by_wall_clock_where_all_sources_have_one(store: Store) -> None:
    source(store, "late.mp4", [seen(0, 0, 5, 6)], start_ns=2000 * NS)
    source(store, "early.mp4", [seen(0, 0, 90, 99)], start_ns=1000 * NS)
    assert spans(ask(store)) == [("late.mp4", 5, 6), ("early.mp4", 90, 99)]
    source(store, "elsewhere.mp4", [seen(0, 1, 0, 1)])  # it shows another thing, so its time does not matter
    assert spans(ask(store)) == [("late.mp4", 5, 6), ("early.mp4", 90, 99)]
    source(store, "unknown.mp4", [seen(0, 0, 0, 1)])  # one has none: as they were added
    assert spans(ask(store)) == [("unknown.mp4", 0, 1), ("early.mp4", 90, 99), ("late.mp4", 5, 6)]


def test_picture_alone_and_both(store: Store) -> None:
    source(store, "a.mp4", [seen(0, 0, 1, 2), seen(1, 1, 10, 12)])
    answer = ask(store, text=None, visual=axis(DV, 1))
    assert spans(answer) == [("a.mp4", 10, 12)]
    assert answer[0].text_score is None
    assert answer[0].visual_score == answer[0].score
    both = ask(store, visual=axis(DV, 0, 0.3))
    assert spans(both) == [("a.mp4", 1, 2)]
    assert both[0].text_score is not None
    assert both[0].visual_score is not None
    assert both[0].score == pytest.approx(both[0].text_score * both[0].visual_score)
    assert not ask(store, visual=axis(DV, 1))  # the text says one thing, the picture another


def test_not_found_gives_the_nearest(store: Store) -> None:
    tracks = [seen(i, 1, 10 * i, 10 * i + 1, 0.1 * i) for i in range(6)]
    source(store, "a.mp4", tracks)
    answer = ask(store, text=axis(DT, 0, 0.9))
    assert not answer
    assert not answer.found
    assert len(answer) == answer.total == 0
    assert len(answer.near_misses) == NEAR_MISSES
    scores = [near.score for near in answer.near_misses]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] < CALIBRATION.text_threshold
    assert answer.near_misses[0].start_s == 50  # the one that leans most


def test_a_threshold_of_ones_own(store: Store) -> None:
    source(store, "a.mp4", [seen(0, 0, 1, 2, 1.0)])  # cosine .71
    assert ask(store, threshold=0.7)
    assert not ask(store, threshold=0.72)
    contrast = np.stack([axis(DT, DT - 1, 1)])
    strict = dataclasses.replace(CALIBRATION, contrast_probability=0.6)
    assert not ask(store, calibration=strict, contrast=contrast)
    assert ask(store, calibration=strict, contrast=contrast, threshold=0.7)


def test_an_empty_memory_finds_nothing(store: Store) -> None:
    answer = ask(store)
    assert not answer
    assert answer.near_misses == ()


BESIDE = dataclasses.replace(CALIBRATION, probability=Probabilities(visual=Curve(-4.0, 8.0, 0.0, 9, 9, 9, best=9.0)))
"""Half as like as the best one is not probable."""


def by_picture(store: Store, looks: Float32, top: int | None = None, **more: Any) -> Answer:
    return ask(store, top, calibration=BESIDE, text=None, visual=looks, **more)


def test_no_answer_hangs_on_what_was_filtered_out(store: Store) -> None:
    """The best of all is in a.mp4: asked of b.mp4 alone, the answer is the same as if a.mp4 was not there."""
    here, looks = source(store, "b.mp4", [seen(0, 0, 0, 9, 0.9)]), axis(DV, 0)
    alone = by_picture(store, looks, spans={here: (0, 99 * NS)})
    source(store, "a.mp4", [seen(0, 0, 0, 9)])
    assert [s.score for s in by_picture(store, looks)] == [pytest.approx(1, abs=1e-3)]
    beside = by_picture(store, looks, spans={here: (0, 99 * NS)})
    assert beside.found
    assert beside == alone


def test_nor_on_a_track_that_is_out_of_view_at_just_that_time(store: Store) -> None:
    """From 3 to 6 s the better one is hidden, though its span goes on: its frames say so."""
    row = store.begin_source(info())
    tracks = [seen(0, 0, 0, 9), seen(1, 0, 0, 9, 0.9)]
    frames = [
        FrameRegions(
            t * NS,
            np.array([1] if 2 < t < 7 else [0, 1], np.int64),
            np.array([[5, 5, 9, 9]] * (1 if 2 < t < 7 else 2), np.float32),
            np.ones((1 if 2 < t < 7 else 2, 2, 2), bool),
        )
        for t in range(10)
    ]
    add(store, row.id, tracks, frames, state="done")
    assert [store.tracks(s.tracks)[0].ordinal for s in by_picture(store, axis(DV, 0))] == [0]
    hidden = by_picture(store, axis(DV, 0), spans={row.id: (3 * NS, 6 * NS)})
    assert [store.tracks(s.tracks)[0].ordinal for s in hidden] == [1]


def test_near_misses_come_from_what_may_answer(store: Store) -> None:
    source(store, "a.mp4", [seen(0, 1, 0, 9)])
    here = source(store, "b.mp4", [seen(0, 2, 0, 9, 0.5), seen(1, 3, 20, 29, 0.2)])
    looks = axis(DV, 1, 0.5)
    every, some = by_picture(store, looks), by_picture(store, looks, spans={here: (0, 99 * NS)})
    assert every.found
    assert not some.found
    assert {Path(s.source).name for s in some.near_misses} == {"b.mp4"}
    scores = [s.score for s in some.near_misses]
    assert scores == sorted(scores, reverse=True)
    assert all(s.score == s.visual_score and s.text_score is None for s in some.near_misses)


def test_a_likelier_older_one_is_told(store: Store) -> None:
    source(store, "a.mp4", [seen(0, 0, 0, 9), seen(1, 0, 50, 59, 0.75)])
    answer = by_picture(store, axis(DV, 0), 1)
    assert (answer[0].start_s, answer.likelier and answer.likelier.start_s) == (50, 0)
    assert answer.likelier is not None
    assert answer.likelier.probability > answer[0].probability + 0.2  # type: ignore[operator]
    source(store, "b.mp4", [seen(0, 0, 0, 9)])
    assert by_picture(store, axis(DV, 0), 1).likelier is None  # the newest is as likely as any


def test_a_likelier_one_is_likelier_by_a_fifth_and_older(store: Store) -> None:
    """Probabilities of .5 + d and .5 by the score alone."""
    steep = Calibration(0.1, 0.0, 0.1, 0.1, probability=Probabilities(text=Curve(-4.0, 8.0, 0.0, 9, 9, 9)))
    leans = {score: float(np.sqrt(1 / score**2 - 1)) for score in (0.55, 0.6, 0.9)}
    source(
        store,
        "a.mp4",
        [seen(0, 0, 0, 9, leans[0.6]), dataclasses.replace(seen(1, 0, 50, 59, leans[0.55]), visual=axis(DV, 5))],
    )
    assert ask(store, 1, calibration=steep).likelier is None  # .69 and .60
    source(store, "b.mp4", [dataclasses.replace(seen(0, 0, 0, 9, leans[0.9]), visual=axis(DV, 6))])
    assert ask(store, 1, calibration=steep).likelier is None  # .96, but it is the newest
    source(store, "c.mp4", [dataclasses.replace(seen(0, 0, 0, 9, leans[0.6]), visual=axis(DV, 7))])
    answer = ask(store, 1, calibration=steep)
    assert answer.likelier is not None
    assert Path(answer.likelier.source).name == "b.mp4"
    assert MUCH_LIKELIER == 0.2


def test_a_source_removed_meanwhile_is_left_out(store: Store) -> None:
    gone = source(store, "a.mp4", [seen(0, 0, 1, 2)])
    source(store, "b.mp4", [seen(0, 0, 5, 6)])
    cache = VectorCache(store)
    store.remove_source(gone)
    assert spans(where(store, cache, CALIBRATION, Question(axis(DT, 0)), top=None)) == [("b.mp4", 5, 6)]


def test_an_answer_is_a_sequence(store: Store) -> None:
    source(store, "a.mp4", [seen(0, 0, 1, 2), seen(1, 0, 50, 60)])
    answer = ask(store)
    assert answer[0] in answer
    assert answer[:1] == answer.sightings[:1]
    assert list(reversed(answer)) == [answer[1], answer[0]]
    with pytest.raises(IndexError):
        answer[2]


def test_an_answer_is_hashable(store: Store) -> None:
    source(store, "a.mp4", [seen(0, 0, 0, 9)])
    assert hash(ask(store)) == hash(ask(store))


def test_with_nothing_searched_the_note_says_so(store: Store) -> None:
    a = source(store, "a.mp4", [seen(0, 0, 0, 9)])
    note = ("nothing was looked at in the times and places asked for",)
    assert ask(store, spans={}).notes == note
    assert ask(store, spans={a: (20 * NS, 30 * NS)}).notes == note
    assert ask(store, text=axis(DT, 5), spans={a: (0, 30 * NS)}).notes == ()  # looked at, not found
    assert ask(store, text=axis(DT, 5)).notes == ()


def test_one_sighting_is_given_unless_more_are_asked_for(store: Store) -> None:
    source(store, "a.mp4", [seen(0, 0, 0, 9), seen(1, 0, 50, 59)])
    cache, question = VectorCache(store), Question(axis(DT, 0))
    assert spans(where(store, cache, CALIBRATION, question)) == [("a.mp4", 50, 59)]
    (answer,) = each(store, cache, CALIBRATION, [question])
    assert spans(answer) == [("a.mp4", 50, 59)]
    assert answer.total == 2


def test_near_misses_are_one_for_each_thing_and_the_best_come_first(store: Store) -> None:
    source(
        store,
        "a.mp4",
        [seen(0, 1, 0, 9, 0.25), seen(1, 1, 30, 39, 0.5), seen(2, 1, 31, 38, 0.4), seen(3, 1, 60, 69, 0.1)],
    )
    answer = ask(store, text=axis(DT, 0, 0.9))
    assert [(s.start_s, s.end_s) for s in answer.near_misses] == [(30, 39), (0, 9), (60, 69)]
    assert answer.near_misses[0].text_score == pytest.approx(answer.near_misses[0].score)
    assert answer.total == 0


def side_by_side(store: Store, gap: float, name: str = "a.mp4", start_ns: int | None = None) -> int:
    """A thing of kind 0 and one of kind 1 with a gap between their boxes, which are 10 wide, in one frame at 5 s."""
    row = store.begin_source(dataclasses.replace(info(name, name), start_ns=start_ns))
    frames = [
        FrameRegions(
            5 * NS,
            np.arange(2),
            np.array([[0, 0, 10, 10], [10 + gap, 0, 20 + gap, 10]], np.float32),
            np.ones((2, 2, 2), bool),
        )
    ]
    add(store, row.id, [seen(0, 0, 5, 5), seen(1, 1, 5, 5)], frames, state="done")
    return row.id


def test_what_was_found_but_not_near_is_the_near_miss(store: Store) -> None:
    side_by_side(store, 11)
    source(store, "b.mp4", [seen(0, 0, 30, 39, 0.9)])  # cosine .74
    answer = ask(store, near=(Phrase(axis(DT, 1)),))
    assert not answer
    assert [(Path(s.source).name, s.start_s) for s in answer.near_misses] == [("a.mp4", 5), ("b.mp4", 30)]
    assert ask(store, near=(Phrase(axis(DT, 1)),), max_gap=1.1).total == 1


def test_other_things_are_looked_for_in_the_same_spans_with_their_contrast(store: Store) -> None:
    a = side_by_side(store, 5)
    assert ask(store, near=(Phrase(axis(DT, 1)),), spans={a: (5 * NS, 5 * NS)})
    assert not ask(store, near=(Phrase(axis(DT, 1)),), spans={a: (6 * NS, 9 * NS)})
    strict = dataclasses.replace(CALIBRATION, contrast_probability=0.6)
    near = Phrase(axis(DT, 1), axis(DT, 1)[None])  # as much as the contrast phrase
    assert not ask(store, near=(near,), calibration=strict)
    assert ask(store, near=(Phrase(axis(DT, 1), axis(DT, 2)[None]),), calibration=strict)


def test_many_questions_give_what_each_gives_alone(store: Store) -> None:
    a = source(store, "a.mp4", [seen(0, 0, 0, 9), seen(1, 1, 20, 29), seen(2, 0, 50, 59)])
    source(store, "b.mp4", [seen(0, 0, 0, 9, 0.5)])
    cache = VectorCache(store)
    words = [Question(axis(DT, 0), contrast=axis(DT, 2)[None]), Question(axis(DT, 5)), Question(axis(DT, 1))]
    within = [dataclasses.replace(question, spans={a: (0, 30 * NS)}) for question in words]
    pictures = [Question(visual=axis(DV, 1)), Question(axis(DT, 0))]
    for questions in (words, within, pictures):
        for top in (1, None):
            answers = each(store, cache, CALIBRATION, questions, top=top)
            for question, answer in zip(questions, answers, strict=True):
                alone = where(store, cache, CALIBRATION, question, top=top)
                assert (answer.sightings, answer.total) == (alone.sightings, alone.total)
                assert answer.near_misses == ()
    assert each(store, cache, CALIBRATION, []) == []


def test_many_questions_may_have_probabilities_of_their_own(store: Store) -> None:
    """.1 for cosines of .74, .5 from .75 on."""
    fitted = dataclasses.replace(CALIBRATION, probability=Probabilities(text=Curve(-7.5, 10.0, 0.0, 9, 9, 9)))
    source(store, "a.mp4", [seen(0, 0, 0, 9, 0.9), seen(1, 1, 20, 29, 0.9)])
    cache = VectorCache(store)
    limits = [(0.6, 0.3), (0.3, 0.6), (0.3, 0.3), (0.6, 0.6), (None, 0.3)]
    for first, second in limits:
        questions = [Question(axis(DT, i), min_probability=p) for i, p in enumerate((first, second))]
        answers = each(store, cache, fitted, questions)
        assert [bool(answer) for answer in answers] == [first == 0.3, second == 0.3]


def test_a_note_about_dates_is_on_what_was_found_alone(store: Store) -> None:
    source(store, "a.mp4", [seen(0, 0, 0, 9)], start_ns=NS)
    source(store, "b.mp4", [seen(0, 0, 0, 9), seen(1, 1, 0, 9)])
    cache = VectorCache(store)
    found, other, missed = each(
        store, cache, CALIBRATION, [Question(axis(DT, 0)), Question(axis(DT, 1)), Question(axis(DT, 5))]
    )
    assert "1 of 2 recordings has no date" in found.notes[0]
    assert other.notes == found.notes
    assert missed.notes == ()
    assert each(store, cache, CALIBRATION, [Question(axis(DT, 1))])[0].notes == ()


def test_a_timeline_gives_the_thing_seen_last_first(store: Store) -> None:
    source(store, "a.mp4", [seen(0, 0, 0, 9), seen(1, 0, 20, 29), seen(2, 0, 40, 49)])
    row = store.begin_source(info("b.mp4", "b.mp4"))
    other = [dataclasses.replace(seen(i, 0, *span), visual=axis(DV, 5)) for i, span in enumerate(((0, 9), (30, 39)))]
    add(store, row.id, other, state="done")
    cache = VectorCache(store)
    later, earlier = timeline(store, cache, CALIBRATION, Question(axis(DT, 0)))
    assert [s.start_s for s in later.sightings] == [30, 0]
    assert later.tracks == (4, 5)
    assert [s.start_s for s in earlier.sightings] == [40, 20, 0]
    assert earlier.tracks == (1, 2, 3)
    assert timeline(store, cache, CALIBRATION, Question(axis(DT, 9)), similar=True) == []


def test_a_timeline_of_what_was_removed_has_no_thing(store: Store) -> None:
    gone = source(store, "a.mp4", [seen(0, 0, 0, 9)])
    cache = VectorCache(store)
    store.remove_source(gone)
    assert timeline(store, cache, CALIBRATION, Question(axis(DT, 0))) == []


def test_what_looks_alike_is_added_with_its_own_scores_and_within_the_filters(store: Store) -> None:
    """Another view of the thing, which its name does not find: the text token lies elsewhere."""

    def view(ordinal: int, start: float, end: float) -> Any:
        return dataclasses.replace(seen(ordinal, 3, start, end), visual=axis(DV, 0))

    a = source(store, "a.mp4", [seen(0, 0, 0, 9), view(1, 20, 29)])
    b = source(store, "b.mp4", [view(0, 0, 9)])
    cache = VectorCache(store)
    (thing,) = timeline(store, cache, CALIBRATION, Question(axis(DT, 0)), similar=True)
    assert thing.tracks == (1, 2, 3)
    assert [s.score for s in thing.sightings] == [pytest.approx(x, abs=1e-3) for x in (0, 0, 1)]
    assert [s.text_score for s in thing.sightings] == [s.score for s in thing.sightings]
    assert [s.visual_score for s in thing.sightings] == [None] * 3
    (thing,) = timeline(
        store, cache, CALIBRATION, Question(axis(DT, 0), spans={a: (0, 25 * NS), b: (20 * NS, 30 * NS)}), similar=True
    )
    assert [(s.start_s, s.end_s) for s in thing.sightings] == [(0, 9)]  # no frame says that it was in view until 25
    (thing,) = timeline(store, cache, CALIBRATION, Question(axis(DT, 0), axis(DV, 0)), similar=True)
    assert [s.visual_score for s in thing.sightings] == [pytest.approx(1, abs=1e-3)] * 3


def test_what_looks_alike_has_a_probability_beside_the_best_that_was_found(store: Store) -> None:
    """1 / (1 + exp(2)) for half of the best score and 1 / 2 for the best, by the picture."""
    fitted = dataclasses.replace(
        CALIBRATION, same_thing=0.55, probability=Probabilities(visual=Curve(0.0, 0.0, 0.0, 9, 9, 9, best=4.0))
    )
    lean = float(np.sqrt(3))
    source(store, "a.mp4", [seen(0, 0, 0, 9), dataclasses.replace(seen(1, 5, 20, 29), visual=axis(DV, 0, lean / 1.3))])
    (thing,) = timeline(store, VectorCache(store), fitted, Question(visual=axis(DV, 0)), similar=True)
    later, earlier = thing.sightings
    assert later.visual_score == pytest.approx(1 / np.sqrt(1 + (lean / 1.3) ** 2), abs=1e-3)
    assert earlier.probability == pytest.approx(0.5)
    assert later.probability == pytest.approx(1 / (1 + np.exp(-4 * (later.score - 1))), abs=2e-3)


def test_what_looks_alike_must_be_near_the_other_things_too(store: Store) -> None:
    side_by_side(store, 5)
    row = store.begin_source(info("b.mp4", "b.mp4"))
    alike = dataclasses.replace(seen(0, 3, 0, 9), visual=axis(DV, 0))
    add(store, row.id, [alike], state="done")
    cache, near = VectorCache(store), (Phrase(axis(DT, 1)),)
    (thing,) = timeline(store, cache, CALIBRATION, Question(axis(DT, 0)), similar=True)
    assert thing.tracks == (1, 3)
    (thing,) = timeline(store, cache, CALIBRATION, Question(axis(DT, 0), near=near), similar=True)
    assert thing.tracks == (1,)


def test_a_probability_is_that_of_the_share_however_a_sighting_was_found(store: Store) -> None:
    """1 / (1 + exp(-x)) for the logit x of the share, at a temperature of 1: cosines of .9 and .44."""
    fitted = dataclasses.replace(
        CALIBRATION, temperature=1.0, probability=Probabilities(text=Curve(-1.0, 0.0, 2.0, 9, 9, 9))
    )
    text = np.zeros(DT, np.float32)
    text[:2] = 0.9, np.sqrt(1 - 0.9**2)
    source(store, "a.mp4", [dataclasses.replace(seen(0, 0, 0, 9), text=text)])
    cache, expected = VectorCache(store), pytest.approx(1 / (1 + np.exp(1 - 2 * (0.9 - text[1]))), abs=2e-3)
    question = Question(axis(DT, 0), contrast=axis(DT, 1)[None])
    answer = where(store, cache, fitted, question)
    assert [s.probability for s in answer.near_misses] == [expected]  # of .48
    by_score = dataclasses.replace(question, threshold=0.5)
    for found in (
        where(store, cache, fitted, by_score),
        timeline(store, cache, fitted, by_score)[0].sightings,
        where(store, cache, fitted, dataclasses.replace(question, min_probability=0.4)),
        each(store, cache, fitted, [dataclasses.replace(question, min_probability=0.4)])[0],
    ):
        assert [s.probability for s in found] == [expected]


def test_near_misses_are_cut_to_the_span(store: Store) -> None:
    row = store.begin_source(info())
    boxes, masks = np.array([[0, 0, 9, 9]], np.float32), np.ones((1, 2, 2), bool)
    frames = [FrameRegions(t * NS, np.array([0]), boxes, masks) for t in range(10)]
    add(store, row.id, [seen(0, 0, 0, 9)], frames, state="done")
    answer = ask(store, text=axis(DT, 5), spans={row.id: (3 * NS, 6 * NS)})
    assert [(s.start_s, s.end_s) for s in answer.near_misses] == [(3, 6)]


def test_two_things_that_were_last_seen_at_once_are_both_in_a_timeline(store: Store) -> None:
    other = dataclasses.replace(seen(1, 0, 0, 9), visual=axis(DV, 5))
    source(store, "a.mp4", [seen(0, 0, 0, 9), other])
    found = timeline(store, VectorCache(store), CALIBRATION, Question(axis(DT, 0)))
    assert [thing.tracks for thing in found] == [(1,), (2,)]
