"""From the arguments of a question, as people write them, to a `Question` of vectors and filters."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..encoders import Reading, TextEncoder
from ..encoders.vocabulary import first_names, ignored_note, read, try_reading
from ..encoders.vocabulary import notes as reading_notes
from ..errors import UnknownWordError, UsageError
from ..records import Box, Float32
from ..store import Store
from ..timecode import Moment
from . import arguments
from .filters import spans_of
from .question import Phrase, Question

if TYPE_CHECKING:
    from .arguments import Crop, Names, Picture, Sources, Time


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """The arguments of `Query.where`, checked and in one form each. crop: source, ns and box x0, y0, x1, y1."""

    text: str | None
    image: Picture | None
    crop: tuple[str, int, Box] | None
    threshold: float | None
    min_probability: float | None
    sources: list[str]
    after: Moment | None
    before: Moment | None
    near: list[str]
    within_ns: int
    max_gap: float

    @property
    def pictured(self) -> bool:
        """True if there is a picture to compare with."""
        return self.image is not None or self.crop is not None

    def as_dict(self, reading: Reading | None, unknown: UnknownWordError | None) -> dict[str, object]:
        """The request as `Answer.query` has it. reading, unknown: how the text was read, or why it was not."""
        query: dict[str, object] = {"text": self.text, "image": None, "crop": None}
        if reading is not None and reading.note:
            query["read_as"] = reading.read_as
        if unknown is not None:
            query["unknown"] = unknown.word
        if self.image is not None:
            query["image"] = str(self.image) if isinstance(self.image, str | os.PathLike) else "picture"
        if self.crop is not None:
            source, t_ns, box = self.crop
            query["crop"] = {"source": source, "t_ns": str(t_ns), "box": list(box)}
        if self.sources:
            query["sources"] = self.sources
        moments = (("after", self.after), ("before", self.before))
        query |= {name: moment.text for name, moment in moments if moment is not None}
        if self.min_probability is not None:
            query["min_probability"] = self.min_probability
        if self.near:
            query |= {"near": self.near, "within_ns": str(self.within_ns), "apart": self.max_gap}
        return query


def checked(
    text: str | None,
    image: Picture | None,
    crop: Crop | None,
    threshold: float | None,
    sources: Sources,
    after: Time | None,
    before: Time | None,
    near: Names,
    within: str,
    apart: float,
    min_probability: float | None,
) -> Request:
    """The request of these arguments of `Query.where`.

    Raises:
        UsageError: an argument cannot be what it stands for, nothing is asked for, or two arguments contradict each
            other.
    """
    if text is not None:
        arguments.phrase("text", text)
    if text is None and image is None and crop is None:
        raise UsageError("ask for something: a text, `image` or `crop`")
    if image is not None and crop is not None:
        raise UsageError("`image` and `crop` are two pictures; give one of them")
    threshold = arguments.share("threshold", threshold)
    min_probability = arguments.share("min_probability", min_probability)
    if min_probability is not None and threshold is not None:
        raise UsageError("`threshold` and `min_probability` are two tests; give one of them")
    return Request(
        text=text,
        image=image,
        max_gap=arguments.apart(apart),
        within_ns=arguments.within_ns(within),
        after=arguments.moment(after, "after"),
        before=arguments.moment(before, "before"),
        crop=None if crop is None else arguments.crop(crop),
        sources=arguments.paths("sources", sources),
        near=arguments.phrases("near", near),
        threshold=threshold,
        min_probability=min_probability,
    )


def question_of(
    request: Request, store: Store, encoder: TextEncoder, visual_of: Callable[[Request], Float32 | None]
) -> tuple[Question, dict[str, object], list[str]]:
    """The question as vectors and filters, as plain data, and notes on what is left out.

    Args:
        request: What is asked.
        store: The memory.
        encoder: Reads the words. They are read first, as the other side of the encoder may take seconds to load.
        visual_of: Gives the visual token `(Dv,)` of the request's picture, if it has one.

    Raises:
        UnknownWordError: the encoder does not know a word, and there is no picture, or the word is in `near`.
        UsageError: as `spans_of` and `visual_of`.
    """
    reading, unknown = _read(encoder, request)
    other_readings = read(encoder, request.near)
    visual = visual_of(request)
    text = contrast = None
    if reading is not None:
        text = encoder.encode_text([reading.read_as])[0]
        contrast = encoder.contrast(text)
    others = encoder.encode_text([other.read_as for other in other_readings]) if other_readings else ()
    near = tuple(Phrase(vector, encoder.contrast(vector)) for vector in others)
    spans, notes = spans_of(store, request.sources, request.after, request.before)
    question = Question(
        text=text,
        visual=visual,
        contrast=contrast,
        threshold=request.threshold,
        min_probability=request.min_probability,
        spans=spans,
        near=near,
        within_ns=request.within_ns,
        max_gap=request.max_gap,
    )
    read_notes = [reading.note] if reading is not None and reading.note else []
    if unknown is not None:
        read_notes = [ignored_note(unknown, "asked by the picture alone")]
    read_notes += reading_notes(request.near, other_readings)
    return question, request.as_dict(reading, unknown), [*read_notes, *notes]


def _read(encoder: TextEncoder, request: Request) -> tuple[Reading | None, UnknownWordError | None]:
    """How the text of the request is read, or the unknown word that it is left out for.

    Raises:
        UnknownWordError: there is an unknown word and no picture.
    """
    result = None if request.text is None else try_reading(encoder, request.text)
    if not isinstance(result, UnknownWordError):
        return result, None
    if not request.pictured:
        raise result
    return None, result


def phrases_of(encoder: TextEncoder, names: Sequence[str]) -> list[Phrase]:
    """The vectors of several phrases. Raises UsageError as `vectors_of`."""
    return with_contrast(encoder, vectors_of(encoder, names))


def with_contrast(encoder: TextEncoder, vectors: Float32) -> list[Phrase]:
    """Text vectors `(n, Dt)` with their contrast phrases."""
    return [Phrase(vector, encoder.contrast(vector)) for vector in vectors]


def vectors_of(encoder: TextEncoder, names: Sequence[str], *, templates: bool = False, guess: bool = False) -> Float32:
    """The text vectors `(n, Dt)` of names.

    Args:
        encoder: Encodes them.
        names: What to encode.
        templates: Put each name into many sentences, see encoders/templates.py.
        guess: Take words that the encoder does not know as they are.

    Raises:
        UnknownWordError: a word that the encoder does not know, without `guess`.
        UsageError: names that the encoder cannot read, or `templates` with an encoder that reads names alone.
    """
    return encoded(encoder, [reading.read_as for reading in read(encoder, names, guess=guess)], templates=templates)


def encoded(encoder: TextEncoder, names: Sequence[str], *, templates: bool = False) -> Float32:
    """As `vectors_of`, of names as the encoder reads them."""
    encode: Callable[[Sequence[str]], Float32] = encoder.encode_text
    if templates:
        if not encoder.has_templates:
            raise UsageError(f"`{encoder.info.name}` reads no sentences; leave `templates` out")
        encode = encoder.encode_names
    try:
        return encode(names)
    except UsageError:
        unread = first_names([repr(name[:40]) for name in names if not _can_encode(encode, name)])
        raise UsageError(f"`{encoder.info.name}` cannot read {unread}; leave them out or say them otherwise") from None


def _can_encode(encode: Callable[[Sequence[str]], Float32], name: str) -> bool:
    try:
        encode([name])
    except UsageError:
        return False
    return True
