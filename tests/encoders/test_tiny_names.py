"""What `tiny` knows by name, and how it reads what is no name of its."""

from __future__ import annotations

import fakes
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.synthetic.drawings import things
from vidmem.encoders import load_text
from vidmem.encoders.base import Reading
from vidmem.encoders.tiny import names
from vidmem.encoders.tiny.text import TinyText
from vidmem.encoders.vocabulary import first_lines, notes, read, try_reading
from vidmem.errors import UnknownWordError, UsageError
from vidmem.query.labels import load_labels

TEXT = load_text("tiny")
assert isinstance(TEXT, TinyText)


@pytest.mark.parametrize(
    "phrase",
    [
        "dog",
        "Dogs",
        "my keys",
        "coffee mug",
        "TV",
        "t-shirt",
        "the T Shirts",
        "ice cream",
        "hot dog",
        "knives",
        "orange",
        "orange juice",
        "Piñata",
        "cup of coffee",
        "tooth brush",
        "screwdrivers",
        "sneaker",
    ],
)
def test_names_are_read_as_they_are(phrase: str) -> None:
    assert TEXT.reading(phrase) == Reading(phrase)


def test_every_listed_name_is_read_as_it_is() -> None:
    """And so are the things of the synthetic walks and COCO's, on which the calibration rests."""
    drawn = [name for thing in things() for name in (thing.name, *thing.synonyms)]
    for name in (*TEXT.names(), *drawn, *load_labels("coco").names):
        assert TEXT.reading(name) == Reading(name)
        TEXT.encode_text([name])


@pytest.mark.parametrize(
    ("phrase", "read_as", "note"),
    [
        ("my red kettle", "kettle", "'red' is not understood; read as 'kettle'"),
        ("not a dog", "dog", "'not' is not understood; read as 'dog'"),
        ("3 cups", "cups", "'3' is not understood; read as 'cups'"),
        ("big black bear", "black bear", "'big' is not understood; read as 'black bear'"),
        ("a fluffy dog", "dog", "'fluffy' is not understood; read as 'dog'"),
        ("where did I see my keys", "keys", "'did' and 'see' are not understood; read as 'keys'"),
        ("tshirt", "t-shirt", "read as 't-shirt'"),
        ("dog cat", "dog cat", "`tiny` has no name 'dog cat'; read as one thing between 'dog' and 'cat'"),
        (
            "cup on a red table",
            "cup table",
            "'red' is not understood; `tiny` has no name 'cup table'; read as one thing between 'cup' and 'table'",
        ),
        ("sleeve", "sleeve", "'sleeve' is none of the names that `tiny` was taught; an answer is a guess"),
    ],
)
def test_what_is_read_otherwise_is_told(phrase: str, read_as: str, note: str) -> None:
    reading = TEXT.reading(phrase)
    assert (reading.read_as, reading.unknown) == (read_as, "")
    assert reading.note == note
    TEXT.encode_text([reading.read_as])


@pytest.mark.parametrize(
    ("phrase", "word", "near"),
    [
        ("dgo", "dgo", "dog"),
        ("my red dgo", "dgo", "dog"),
        ("dgo cat", "dgo", "dog"),
        ("umbrela", "umbrela", "umbrella"),
        ("bottel", "bottel", "bottle"),
        ("Hund", "hund", "hound"),
        ("red мяч", "мяч", ""),
        ("x", "x", "ox"),
        ("zzz" * 50, "zzz" * 50, ""),
    ],
)
def test_a_word_that_it_does_not_know(phrase: str, word: str, near: str) -> None:
    reading = TEXT.reading(phrase)
    assert (reading.read_as, reading.unknown, reading.near[:1]) == ("", word, (near,) if near else ())
    with pytest.raises(UnknownWordError, match="I don't know the word") as error:
        read(TEXT, [phrase])
    assert (error.value.word, error.value.exit_code) == (word, 2)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("phrase", ["red", "the", "42", "not", "two big red"])
def test_what_names_no_thing_is_no_question(phrase: str) -> None:
    with pytest.raises(UnknownWordError, match=f"'{phrase}' names no thing; "):
        read(TEXT, [phrase])


def test_without_a_word_the_table_says_so() -> None:
    for phrase in ("", "🔑", "?!"):
        assert TEXT.reading(phrase) == Reading(phrase)
        with pytest.raises(UsageError, match="no English word"):
            TEXT.encode_text([phrase])


@given(st.text(max_size=60) | st.lists(st.sampled_from(["dog", "red", "not", "on", "cat", "dgo", "7"])).map(" ".join))
def test_every_phrase_has_a_reading(phrase: str) -> None:
    """Read, or refused with a word; what is read has a vector or no word at all."""
    reading = TEXT.reading(phrase)
    assert "\n" not in reading.note
    if reading.unknown:
        assert reading.read_as == ""
        return
    assert TEXT.reading(reading.read_as).read_as == reading.read_as  # read again it is the same
    if any(c.isascii() and c.isalnum() for c in phrase):
        assert TEXT.encode_text([reading.read_as]).shape == (1, 128)


@pytest.mark.parametrize("phrase", ["red dog " * 16, "d" * 201, "red dog " * 15_000, "dog cat " * 15_000])
def test_what_is_too_long_is_refused_at_once(phrase: str) -> None:
    with pytest.raises(UsageError, match=r"\.\.\.' is too long; name a thing in no more than 30 words") as error:
        read(TEXT, ["dog", phrase])
    assert len(str(error.value)) < 150
    assert read(TEXT, ["red dog " * 15])[0].read_as


def test_reading_takes_time_by_the_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twice the words no more than twice as many names are looked up, where nobody refuses them."""
    asked: list[int] = []
    real = names.name_of
    monkeypatch.setattr(names, "name_of", lambda words: asked.append(len(words)) or real(words))

    def looked(count: int) -> int:
        asked.clear()
        TEXT.reading("dog cat " * count)
        return sum(asked)

    assert looked(200) <= 2.5 * looked(100)


def test_several_are_refused_in_one() -> None:
    with pytest.raises(UnknownWordError, match=r"I don't know the words 'dgo', 'botle'; near: dog, bottle"):
        read(TEXT, ["dgo", "cup", "botle"])
    guessed = read(TEXT, ["dgo", "cup"], guess=True)
    assert [one.read_as for one in guessed] == ["dgo", "cup"]
    assert notes(["dgo", "cup"], guessed) == ["'dgo': not known, an answer is a guess"]
    assert first_lines(list("abcdefgh")) == [*"abcde", "and 3 more like these"]


def test_an_encoder_without_a_list_reads_all() -> None:
    assert try_reading(fakes.Colours(), "a dgo") == Reading("a dgo")


def test_names_tell_what_they_stand_for() -> None:
    names = TEXT.names()
    assert (names["mug"], names["cup"], names["academic robe"]) == ("cup", "", "academic gown")


def test_what_any_encoder_refuses() -> None:
    """One that reads any phrase cuts a long one itself, up to a length."""
    assert try_reading(fakes.Colours(), "cup " * 500) == Reading("cup " * 500)
    with pytest.raises(UsageError, match="is too long; name a thing in no more than 2000 letters"):
        try_reading(fakes.Colours(), "d" * 2001)
