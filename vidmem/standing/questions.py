"""Standing questions as people give them, and as vectors."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..encoders.vocabulary import notes, read
from ..errors import UsageError
from ..query import arguments
from ..query.asking import encoded, with_contrast
from ..query.picture import picture_token
from ..query.probable import curve_of
from ..query.query import Query
from ..query.question import Question
from ..store.standing import StandingRow

if TYPE_CHECKING:
    from ..query.arguments import Picture

PROBABILITY = 0.8
"""Minimum probability of a sighting that is told, where the question does not say: a question is asked thousands of
times, so it has to be surer than one that is asked once (`encoders.probability.MIN_PROBABILITY`)."""
MOST = 1000
"""The most questions of a session."""


@dataclass(frozen=True, slots=True, eq=False)
class StandingQuestion:
    """What to tell of: a text, a picture, or both.

    Attributes:
        text: A phrase.
        image: A picture of the thing, as in `Memory.where`.
        min_probability: Minimum probability; None for that of the session.
    """

    text: str | None = None
    image: Picture | None = None
    min_probability: float | None = None

    @property
    def name(self) -> str:
        """What events call it."""
        if self.text is not None:
            return self.text
        return Path(self.image).name if isinstance(self.image, str | os.PathLike) else "picture"


When: TypeAlias = "str | StandingQuestion | Iterable[str | StandingQuestion]"


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A standing question as vectors. name: for events. key: tells it from other questions, the same in each run."""

    name: str
    key: str
    question: Question


def questions_of(when: When) -> list[StandingQuestion]:
    """The questions in the argument `when`, checked. Raises UsageError."""
    given = [when] if isinstance(when, str | StandingQuestion) else arguments.each((when,))
    out = []
    for one in given:
        asked = StandingQuestion(one) if isinstance(one, str) else one
        arguments.made("when", asked, StandingQuestion, "a text, a StandingQuestion, or several")
        if asked.text is None and asked.image is None:
            raise UsageError("a standing question has a text, an `image`, or both")
        if asked.text is not None:
            arguments.phrase("when", asked.text, "name a thing, such as keys")
        share = arguments.share("min_probability", asked.min_probability)
        out.append(replace(asked, min_probability=share))
    return out


def with_stored(given: Sequence[StandingQuestion], stored: Sequence[StandingRow]) -> list[StandingQuestion]:
    """The given questions and those of the memory whose name is not among them."""
    names = {one.text for one in given if one.image is None}
    rows = [row for row in stored if row.text not in names]
    return [*given, *(StandingQuestion(row.text, min_probability=row.min_probability) for row in rows)]


def prepare(
    query: Query, asked: Sequence[StandingQuestion], min_probability: float | None
) -> tuple[list[Prepared], list[str]]:
    """The questions as vectors, each once, and notes on how they are read.

    Args:
        query: Of the memory.
        asked: The questions.
        min_probability: For questions without their own; None for PROBABILITY, or, with an encoder that is not
            calibrated, for its own tests.

    Raises:
        UnknownWordError: the encoder does not know a word.
        UsageError: a phrase or picture cannot be asked for, too many questions, or a probability and an encoder that is
            not calibrated.
        MediaError: a picture cannot be read.
    """
    if len(asked) > MOST:
        raise UsageError(f"{len(asked):,} standing questions are too many, at most {MOST:,}")
    texts = [one.text for one in asked if one.text is not None]
    readings = read(query.text_encoder, texts)
    vectors = encoded(query.text_encoder, [reading.read_as for reading in readings]) if readings else ()
    phrases = iter(with_contrast(query.text_encoder, np.asarray(vectors, np.float32)))
    calibration = query.calibration
    out: dict[str, Prepared] = {}
    for one in asked:
        phrase = next(phrases) if one.text is not None else None
        visual = None if one.image is None else picture_token(query.encoder, arguments.picture(one.image))
        wanted = min_probability if one.min_probability is None else one.min_probability
        if curve_of(calibration, phrase is not None, visual is not None) is not None:
            wanted = PROBABILITY if wanted is None else wanted
        elif wanted is not None:
            raise UsageError(
                f"`{query.spec}` is not calibrated for such questions, so `min_probability` has no meaning; "
                "`vidmem calibrate FILE` calibrates it for words, or leave it out to use the tests of the encoder"
            )
        question = Question(
            text=None if phrase is None else phrase.text,
            visual=visual,
            contrast=None if phrase is None else phrase.contrast,
            min_probability=wanted,
        )
        prepared = Prepared(one.name, _key(one, question), question)
        out.setdefault(prepared.key, prepared)
    return list(out.values()), notes(texts, readings)


def _key(asked: StandingQuestion, question: Question) -> str:
    digest = hashlib.sha256(repr((asked.text, question.min_probability)).encode("utf-8", "surrogatepass"))
    if question.visual is not None:
        digest.update(np.ascontiguousarray(question.visual, "<f4").tobytes())
    return digest.hexdigest()[:32]
