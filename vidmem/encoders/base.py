"""What an encoder is to the rest of vidmem. No encoder knows the store; the indexer knows no encoder by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import UnknownWordError
from ..records import Float32, RegionTokens, View
from .probability import Probabilities


@dataclass(frozen=True, slots=True)
class Calibration:
    """When an answer counts as found, fitted per encoder (benchmarks/calibrate.py for `tiny`).

    text_threshold: least cosine of a track's text token to the phrase. contrast_probability: least softmax share of
    the phrase against the encoder's contrast phrases, at `temperature`. visual_threshold: least cosine to the token
    of a picture. product_threshold: least visual x textual product when both are given (T-REN's code uses .18).
    contrast_probability_product: the least share when both are given. These tests decide where no curve does.
    same_thing: cosine of visual tokens from which on two tracks show one thing (query/reid.py).
    probability: the curves from scores to probabilities; None when nobody fitted any.
    """

    text_threshold: float
    contrast_probability: float
    visual_threshold: float
    product_threshold: float
    contrast_probability_product: float = 0.0
    temperature: float = 0.06
    same_thing: float = 0.8
    probability: Probabilities | None = None


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """name: as on the command line. weights: sha256 over the weights that tokens come from, what makes two memories
    comparable. knows: one line for people, what it can name. open_vocabulary: whether any phrase is fair. regions: the
    same over the weights of the region step, where that is another network; else empty. visual_dim, text_dim: of a
    track's tokens."""

    name: str
    weights: str
    visual_dim: int
    text_dim: int
    knows: str
    open_vocabulary: bool
    calibration: Calibration
    regions: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """How an encoder with a closed vocabulary reads a phrase. read_as: what to give to `encode_text` in its place.
    note: what is not read as it was said, one line for people, empty where there is nothing to say. unknown: a word
    that it does not know, in which case nothing is read; near: names like that."""

    read_as: str
    note: str = ""
    unknown: str = ""
    near: tuple[str, ...] = ()


class TextEncoder(Protocol):
    """The text side alone: what `where` needs for a phrase. Must be quick to load.

    It may also have `encode_names(names)`, as `encode_text` for names of classes, each in many sentences.

    One with a closed vocabulary (`info.open_vocabulary` is False) may also have `reading(phrase)` -> Reading, which
    leaves the vectors of phrases that it knows as they are, and `names()` -> dict of all that it knows: each name, and
    what it is another name of, empty for a name of its own. Neither raises. Without `reading` a phrase is read as it
    is.
    """

    info: EncoderInfo

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        """`(n, Dt)` float32 unit vectors. Raises UsageError for a phrase that it cannot read."""

    def contrast(self, vector: Float32) -> Float32:
        """`(c, Dt)` unit vectors of phrases that a track must be less like than `vector` `(Dt,)` to count as found.

        One that knows better phrases for a single picture also has `contrast_for(phrase)`, with the same result.
        """


@dataclass(frozen=True, slots=True, eq=False)
class ViewTokens:
    """What a look at `n` views gave. visual `(n, Dv)` float32: unit rows. text `(n, Dt)` float32: rows no longer than
    1; the direction is the name, the length is how sure it is."""

    visual: Float32
    text: Float32


@runtime_checkable
class ViewEncoder(Protocol):
    """The second step: it looks at the best views of a track, once each, and what it sees are the track's tokens.

    view_pixels: the longest side in which it wants views. most_views: of one track, the best ones. wants_hint: whether
    it reads `View.hint`.
    """

    view_pixels: int
    most_views: int
    wants_hint: bool

    def look(self, views: Sequence[View]) -> ViewTokens:
        """Tokens of each view, whatever views it is looked at together with."""


class Encoder(TextEncoder, Protocol):
    """Both sides: regions of frames, and the text side.

    Where the tokens of regions only serve to follow things, it also has `views`, a ViewEncoder; without it the means
    of its regions' tokens are a track's tokens.

    It may also have `parallel()`, a context manager that gives the number of calls of `encode` that may run at a time
    while it is entered; without it there is one. On a CPU whole batches side by side waste less than each operation
    cut into parts that wait for each other.

    One that has features of single patches in the space of texts also has `patches(images)`: pictures as for `encode`
    -> `(B, h, w, Dt)` float32 unit vectors, for heat maps.

    One whose regions come from elsewhere than the picture also has `encode_frames(frames, info)`, or None for that
    name: frames of one source, in order -> as `encode`.
    """

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        """The size (width, height) in which it wants pictures of the given size."""

    def encode(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[RegionTokens]:
        """Region tokens, not yet merged, of pictures `(h, w, 3)` uint8 RGB of one working size; points and boxes are
        given in pixels of the `width` x `height` original."""


def read(encoder: TextEncoder, phrase: str) -> Reading:
    """How the encoder reads `phrase`. Raises UnknownWordError for a word that it does not know."""
    own = getattr(encoder, "reading", None)
    if own is None:
        return Reading(phrase)
    found: Reading = own(phrase)
    if found.unknown:
        raise UnknownWordError(found.unknown, found.near, found.note)
    return found
