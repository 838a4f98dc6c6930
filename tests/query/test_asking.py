"""From the arguments of a question to vectors, filters and notes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from PIL import Image
from store.making import MODEL, add, info, track

from vidmem.encoders import Reading
from vidmem.errors import UnknownWordError, UsageError
from vidmem.query.asking import (
    Request,
    checked,
    encoded,
    phrases_of,
    question_of,
    vectors_of,
    with_contrast,
)
from vidmem.records import Float32
from vidmem.store import Store
from vidmem.timecode import NS, Moment


class Reader(fakes.Colours):
    """Reads `crimson` as `red`, and knows no `mauve`."""

    def reading(self, phrase: str) -> Reading:
        if phrase == "mauve":
            return Reading(phrase, unknown="mauve", near=("magenta",))
        return Reading("red", "read as `red`") if phrase == "crimson" else Reading(phrase)


class Templates(Reader):
    has_templates = True

    def encode_names(self, names: Sequence[str]) -> Float32:
        return -self.encode_text(names)


READER = Reader()
DEFAULTS: dict[str, Any] = {
    "text": None,
    "image": None,
    "crop": None,
    "threshold": None,
    "sources": None,
    "after": None,
    "before": None,
    "near": None,
    "within": "2s",
    "apart": 1.0,
    "min_probability": None,
}


def request(**given: Any) -> Request:
    return checked(**{**DEFAULTS, **given})


def nothing(_: Request) -> None:
    return None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "m", create=True) as opened:
        opened.set_model(MODEL)
        add(opened, opened.begin_source(info("a.mp4")).id, [track(0)], state="done")
        yield opened


def read_question(
    store: Store, encoder: Any = READER, visual_of: Callable[[Request], Float32 | None] = nothing, **given: Any
) -> Any:
    return question_of(request(**given), store, encoder, visual_of)


def test_each_argument_has_its_place() -> None:
    image = Image.new("RGB", (4, 4))
    found = request(
        text="red",
        image=image,
        threshold=0.25,
        sources="a.mp4",
        after="1s",
        before=datetime(2026, 1, 31, tzinfo=UTC),
        near=["blue", "green"],
        within="0.5s",
        apart=3,
    )
    assert (found.text, found.image, found.crop, found.threshold) == ("red", image, None, 0.25)
    assert found.min_probability is None
    assert (found.sources, found.near, found.within_ns, found.max_gap) == (["a.mp4"], ["blue", "green"], NS // 2, 3)
    assert found.after == Moment(NS, False, "1s")
    assert found.before == Moment(1_769_817_600 * NS, True, "2026-01-31T00:00:00+00:00")
    other = request(crop="a.mp4@2s:1,2,3,4", min_probability=0.75)
    assert (other.text, other.image, other.crop) == (None, None, ("a.mp4", 2 * NS, (1, 2, 4, 6)))
    assert (other.threshold, other.min_probability) == (None, 0.75)
    assert (other.sources, other.near, other.after, other.before) == ([], [], None, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "^ask for something: a text, `image` or `crop`$"),
        ({"text": " "}, "^the text is empty"),
        ({"text": 5}, "^`text` is a text; got 5"),
        ({"image": "a.jpg", "crop": "a.mp4@1s:1,2,3,4"}, "are two pictures"),
        ({"text": "red", "threshold": 0.1, "min_probability": 0.1}, "are two tests; give one of them"),
        ({"text": "red", "threshold": "x"}, "^`threshold` is "),
        ({"text": "red", "min_probability": 2}, "^`min_probability` is "),
        ({"text": "red", "apart": -1}, "^`apart` is "),
        ({"text": "red", "within": 5}, "^`within` is "),
        ({"text": "red", "after": 5}, "^`after` is "),
        ({"text": "red", "before": 5}, "^`before` is "),
        ({"text": "red", "near": 5}, "^`near` is "),
        ({"text": "red", "sources": 5}, "^`sources` is "),
        ({"crop": 5}, "^`crop` is "),
    ],
)
def test_what_makes_no_sense_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        request(**given)


def test_a_picture_or_a_box_makes_it_pictured() -> None:
    assert not request(text="red").pictured
    assert request(image="a.jpg").pictured
    assert request(crop="a.mp4@1s:1,2,3,4").pictured


def test_a_request_as_plain_data_has_what_was_given() -> None:
    assert request(text="red").as_dict(None, None) == {"text": "red", "image": None, "crop": None}
    assert request(text="red").as_dict(Reading("red"), None) == {"text": "red", "image": None, "crop": None}
    full = request(
        text="crimson",
        image=Path("a.jpg"),
        min_probability=0.5,
        sources=["a.mp4"],
        after="1s",
        before="0:09",
        near="blue",
        within="3s",
        apart=2,
    )
    assert full.as_dict(Reading("red", "a note"), None) == {
        "text": "crimson",
        "image": "a.jpg",
        "crop": None,
        "read_as": "red",
        "sources": ["a.mp4"],
        "after": "1s",
        "before": "0:09",
        "min_probability": 0.5,
        "near": ["blue"],
        "within_ns": "3000000000",
        "apart": 2,
    }
    drawn = request(text="mauve", image=np.zeros((2, 2, 3), np.uint8)).as_dict(None, UnknownWordError("mauve"))
    assert drawn == {"text": "mauve", "image": "picture", "crop": None, "unknown": "mauve"}
    boxed = request(crop="a.mp4@2s:1,2,3,4").as_dict(None, None)
    assert boxed["crop"] == {"source": "a.mp4", "t_ns": "2000000000", "box": [1, 2, 4, 6]}


def test_words_become_a_vector_with_its_contrast(store: Store) -> None:
    question, plain, notes = read_question(store, text="red", threshold=0.25, within="1s", apart=4)
    vector = READER.encode_text(["red"])[0]
    np.testing.assert_array_equal(question.text, vector)
    np.testing.assert_array_equal(question.contrast, READER.contrast(vector))
    assert question.contrast.shape == (7, 8)
    assert (question.visual, question.spans, question.near) == (None, None, ())
    assert (question.threshold, question.min_probability) == (0.25, None)
    assert (question.within_ns, question.max_gap) == (NS, 4)
    assert plain == {"text": "red", "image": None, "crop": None}
    assert notes == []


def test_other_things_are_phrases_in_the_order_given(store: Store) -> None:
    question, _, notes = read_question(store, text="red", near=["blue", "crimson"], min_probability=0.5)
    assert question.min_probability == 0.5
    vectors = READER.encode_text(["blue", "red"])
    for phrase, vector in zip(question.near, vectors, strict=True):
        np.testing.assert_array_equal(phrase.text, vector)
        np.testing.assert_array_equal(phrase.contrast, READER.contrast(vector))
    assert notes == ["'crimson': read as `red`"]


def test_what_is_read_otherwise_is_noted_first(store: Store) -> None:
    row = store.begin_source(dataclasses.replace(info("b.mp4", "b"), start_ns=NS, recorded_by="given"))
    add(store, row.id, [track(0)], state="done")
    question, plain, notes = read_question(store, text="crimson", near="crimson", after="1980-01-01")
    np.testing.assert_array_equal(question.text, READER.encode_text(["red"])[0])
    assert plain["read_as"] == "red"
    assert notes[:2] == ["read as `red`", "'crimson': read as `red`"]
    assert notes[2].startswith("1 of 2 sources do not know when they were recorded")
    assert set(question.spans) == {row.id}


def test_sources_and_times_become_spans(store: Store) -> None:
    question, _, _ = read_question(store, text="red", sources="a.mp4", after="1s", before="2s")
    assert question.spans == {1: (NS, 2 * NS - 1)}


def test_a_picture_alone_needs_no_words(store: Store) -> None:
    looks = np.ones(8, np.float32)
    seen: list[Request] = []

    def visual_of(one: Request) -> Float32:
        seen.append(one)
        return looks

    question, _, notes = read_question(store, visual_of=visual_of, image="a.jpg")
    assert question.visual is looks
    assert (question.text, question.contrast, notes) == (None, None, [])
    assert [one.image for one in seen] == ["a.jpg"]


def test_an_unknown_word_is_left_out_beside_a_picture(store: Store) -> None:
    looks = np.ones(8, np.float32)
    for picture in ({"image": "a.jpg"}, {"crop": "a.mp4@1s:1,2,3,4"}):
        question, plain, notes = read_question(store, visual_of=lambda _: looks, text="mauve", **picture)
        assert (question.text, question.contrast) == (None, None)
        assert question.visual is looks
        assert plain["unknown"] == "mauve"
        assert notes == ["I don't know the word 'mauve' (near: magenta); asked by the picture alone"]


def test_an_unknown_word_fails_before_the_picture_is_looked_at(store: Store) -> None:
    def fails(_: Request) -> None:
        raise AssertionError

    with pytest.raises(UnknownWordError, match="I don't know the word 'mauve'; near: magenta"):
        read_question(store, visual_of=fails, text="mauve")
    with pytest.raises(UnknownWordError, match="mauve"):
        read_question(store, visual_of=fails, image="a.jpg", near="mauve")


def test_names_become_phrases() -> None:
    phrases = phrases_of(READER, ["blue", "crimson"])
    vectors = vectors_of(READER, ["blue", "crimson"])
    np.testing.assert_array_equal(vectors, READER.encode_text(["blue", "red"]))
    for found in (phrases, with_contrast(READER, vectors)):
        assert len(found) == 2
        for phrase, vector in zip(found, vectors, strict=True):
            np.testing.assert_array_equal(phrase.text, vector)
            np.testing.assert_array_equal(phrase.contrast, READER.contrast(vector))


def test_unknown_names_fail_unless_a_guess_will_do() -> None:
    with pytest.raises(UnknownWordError, match="mauve"):
        vectors_of(READER, ["blue", "mauve"])
    with pytest.raises(UsageError, match=r"^`colours` cannot read 'mauve'; leave them out or say them otherwise$"):
        vectors_of(READER, ["blue", "mauve"], guess=True)


def test_names_that_cannot_be_read_are_listed_and_shortened() -> None:
    long = "z" * 50
    with pytest.raises(UsageError, match=f"cannot read 'x', '{'z' * 40}'; leave"):
        encoded(READER, ["blue", "x", long])


def test_templates_are_for_encoders_that_have_them() -> None:
    with pytest.raises(UsageError, match=r"^`colours` reads no sentences; leave `templates` out$"):
        encoded(READER, ["blue"], templates=True)
    encoder = Templates()
    blue = encoder.encode_text(["blue"])
    np.testing.assert_array_equal(encoded(encoder, ["blue"], templates=True), -blue)
    np.testing.assert_array_equal(vectors_of(encoder, ["blue"], templates=True), -blue)
    np.testing.assert_array_equal(vectors_of(encoder, ["blue"]), blue)
    with pytest.raises(UsageError, match="cannot read 'x';"):
        encoded(encoder, ["blue", "x"], templates=True)
