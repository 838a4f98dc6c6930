"""The names of a data set as an encoder reads them. Names that it does not know are counted, not left out.

A class whose name is unknown is never predicted, so all of its pixels, regions or questions are missed. The mean over
classes still includes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..encoders.base import TextEncoder
from ..encoders.vocabulary import try_reading
from ..errors import UnknownWordError, UsageError
from ..query.grounding import Phrases
from ..query.parse import UNLABELLED, Labels
from ..records import Float32
from .panoptic import plain_name


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """The classes of a data set for one encoder.

    Attributes:
        names: All names, as the data set has them.
        words: The same names as words.
        rows: `(K,)` int64, indices of the names that the encoder knows, ascending.
        vectors: Their unit vectors `(K, Dt)`.
        phrases: The same, with what competes with each if that was wanted.
        first: Number of the class of the first name.
    """

    names: tuple[str, ...]
    words: tuple[str, ...]
    rows: NDArray[np.int64]
    vectors: Float32
    phrases: Phrases
    first: int = 0

    def __len__(self) -> int:
        return len(self.names)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names that the encoder does not know."""
        known = set(self.rows.tolist())
        return tuple(name for i, name in enumerate(self.names) if i not in known)

    def numbered(self, labels: Labels) -> Labels:
        """Labels that are indices into `rows`, or UNLABELLED, as numbers of classes."""
        return np.asarray(np.append(self.rows + self.first, UNLABELLED)[labels], np.int32)


def read_phrase(encoder: TextEncoder, phrase: str) -> tuple[str, Float32] | None:
    """What the encoder reads for a phrase, and its unit vector `(Dt,)`; None when it does not know a word of it, or the
    phrase is too long."""
    text = _reading(encoder, phrase)
    if text is None:
        return None
    try:
        return text, encoder.encode_text([text])[0]
    except UsageError:
        return None


def read_classes(
    encoder: TextEncoder,
    names: Sequence[str],
    words: Sequence[str] | None = None,
    *,
    templates: bool = True,
    first: int = 0,
    distinct: bool = True,
    contrasts: bool = False,
) -> Classes:
    """Read the names of a data set.

    Args:
        encoder: Reads them.
        names: As the data set has them.
        words: The same as words; by default `plain_name` of each.
        templates: Put each name into many sentences, if the encoder does that (80 for `tren`, as in T-REN's code).
        first: Number of the first class; 1 where 0 is a background without a name.
        distinct: The classes compete with each other, so that no two may have the same name.
        contrasts: Also find what competes with each name, for the encoder's test; large for many names.

    Raises:
        UsageError: Two names are the same words, or the encoder knows none of them.
    """
    words = tuple(plain_name(name) for name in names) if words is None else tuple(words)
    if distinct and len(set(words)) < len(words):
        twice = next(word for word in words if words.count(word) > 1)
        raise UsageError(f"two classes have the name {twice!r}; each needs a name of its own")
    rows: list[int] = []
    known: list[str] = []
    parts: list[Float32] = []
    for start in range(0, len(words), _BATCH):
        batch = _known(encoder, list(enumerate(words))[start : start + _BATCH])
        rows += [row for row, _, _ in batch]
        known += [text for _, text, _ in batch]
        parts += [vector for _, _, vector in batch]
    if not rows:
        raise UsageError(f"{encoder.info.name!r} knows none of the {len(words)} names; use another encoder")
    vectors = np.stack(parts)
    rivals = [encoder.contrast_for(*pair) for pair in zip(known, vectors, strict=True)] if contrasts else []
    if templates and encoder.has_templates:
        vectors = encoder.encode_names(known)
    return Classes(tuple(names), words, np.array(rows, np.int64), vectors, Phrases(vectors, rivals), first)


_BATCH = 256
"""Names that are encoded at once."""


def _known(encoder: TextEncoder, words: Sequence[tuple[int, str]]) -> list[tuple[int, str, Float32]]:
    """Of numbered words those that the encoder knows: number, what it reads, and the vector."""
    read = [(row, text) for row, word in words if (text := _reading(encoder, word)) is not None]
    if not read:
        return []
    try:
        vectors = encoder.encode_text([text for _, text in read])
    except UsageError:  # one of them cannot be read after all
        if len(words) == 1:
            return []
        return [found for pair in words for found in _known(encoder, [pair])]
    return [(row, text, vector) for (row, text), vector in zip(read, vectors, strict=True)]


def _reading(encoder: TextEncoder, phrase: str) -> str | None:
    try:
        reading = try_reading(encoder, phrase)
    except UsageError:  # it is too long
        return None
    return None if isinstance(reading, UnknownWordError) else reading.read_as


def unknown_note(unknown: Sequence[str], count: int, encoder: str, what: str = "names") -> list[str]:
    """A sentence for a report about what the encoder does not know; none when it knows all.

    Args:
        unknown: What it does not know.
        count: Of all, known or not.
        encoder: Its name.
        what: What they are.
    """
    if not unknown:
        return []
    shown = ", ".join(name[:40] for name in unknown[:_SHOWN])
    more = f" and {len(unknown) - _SHOWN:,} more" if len(unknown) > _SHOWN else ""
    return [f"`{encoder}` does not know {len(unknown):,} of {count:,} {what}, which count as missed: {shown}{more}."]


_SHOWN = 8
