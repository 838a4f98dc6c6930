"""The base classes of encoders: what an encoder must implement, and what has a default.

An encoder knows nothing of the store, and no other part of vidmem knows an encoder by name.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..records import Float32, Frame, RegionTokens, SourceInfo, View
from .probability import Probabilities


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds above which an answer counts as found, fitted per encoder (benchmarks/calibrate.py for `tiny`).

    If `probability` has a curve for a kind of question, it replaces the thresholds.

    Attributes:
        text_threshold: Minimum cosine of a track's text token to the phrase.
        contrast_probability: Minimum softmax share of the phrase against the contrast phrases, at `temperature`.
        visual_threshold: Minimum cosine of a track's visual token to the token of a picture.
        product_threshold: Minimum product of both cosines when words and a picture are given (.18 in T-REN's code).
        contrast_probability_product: Minimum share when words and a picture are given.
        temperature: Temperature of the softmax over the phrase and the contrast phrases.
        same_thing: Minimum cosine of two visual tokens that show one thing (query/reid.py).
        probability: Curves from scores to probabilities; None if none were fitted.
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
    """Facts about a loaded encoder.

    Attributes:
        name: Its spelling on the command line, with the backbone, such as `clip:ViT-B-32/openai`.
        weights: sha256 over the weights that tokens depend on. Memories with the same value are comparable.
        visual_dim: Width Dv of a track's visual token.
        text_dim: Width Dt of a track's text token.
        knows: What it can name, in one line for people.
        open_vocabulary: True if it reads any phrase.
        calibration: Thresholds above which an answer counts as found.
        regions: sha256 over the weights that find regions, if those are another network; else empty.
    """

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
    """How an encoder with a closed vocabulary reads a phrase.

    Attributes:
        read_as: The phrase to pass to `encode_text` instead.
        note: What is read differently from what was typed, in one line for people; empty if nothing is.
        unknown: A word that the encoder does not know. If set, nothing is read.
        near: Names that are spelled like `unknown`.
    """

    read_as: str
    note: str = ""
    unknown: str = ""
    near: tuple[str, ...] = ()


class TextEncoder(ABC):
    """The text side of an encoder. A question in words loads only this side, so it should load quickly."""

    info: EncoderInfo
    max_letters: int = 2000
    """Longer phrases are refused. Encoders cut a phrase to what they read, and splitting a very long word is slow."""
    max_words: int | None = None
    """Phrases of more words are refused; None for no limit."""
    has_templates: bool = False
    """True if `encode_names` puts names into sentences."""

    @abstractmethod
    def encode_text(self, phrases: Sequence[str]) -> Float32:
        """`(n, Dt)` float32 unit vectors of `n` phrases.

        Raises:
            UsageError: The encoder cannot read a phrase.
        """

    @abstractmethod
    def contrast(self, vector: Float32) -> Float32:
        """`(c, Dt)` unit vectors of phrases that compete with the phrase of `vector` `(Dt,)`.

        A track counts as found if it is more similar to the phrase than to these.
        """

    def contrast_for(self, phrase: str, vector: Float32) -> Float32:
        """As `contrast`, for a phrase in a question about a single picture. vector: that of the phrase."""
        return self.contrast(vector)

    def encode_names(self, names: Sequence[str]) -> Float32:
        """`(n, Dt)` unit vectors of names of classes, each averaged over many sentences.

        Raises:
            UsageError: The encoder has no sentences (`has_templates`).
        """
        raise UsageError(f"`{self.info.name}` reads no sentences; leave `templates` out")

    def reading(self, phrase: str) -> Reading:
        """How a phrase is read; by default unchanged. Must not raise.

        An encoder with a closed vocabulary should say what it does not understand, and leave the vectors of phrases
        that it knows unchanged.
        """
        return Reading(phrase)

    def names(self) -> Mapping[str, str]:
        """All names of a closed vocabulary, each with the name that it is a synonym of, or "". Empty if not listed."""
        return {}

    def fits(self, phrase: str) -> bool:
        """Return True if the whole phrase is encoded, False if it is cut."""
        return True


@dataclass(frozen=True, slots=True, eq=False)
class ViewTokens:
    """Tokens of `n` views.

    Attributes:
        visual: `(n, Dv)` float32 unit rows.
        text: `(n, Dt)` float32 rows no longer than 1. The direction is the name, the length is the confidence.
    """

    visual: Float32
    text: Float32


class ViewEncoder(ABC):
    """The second step of an encoder: it encodes the best views of each track once, which gives the track's tokens."""

    view_pixels: int
    """Longest side of a view in pixels."""
    max_views: int
    """Maximum number of views of a track that are encoded, the best ones."""
    wants_hint: bool = False
    """True if it uses `View.hint`."""

    @abstractmethod
    def look(self, views: Sequence[View]) -> ViewTokens:
        """Tokens of each view. They must not depend on the other views in the call."""


@runtime_checkable
class MaskSource(Protocol):
    """A source of regions for encoders that pool features under masks."""

    def of_frames(self, frames: Sequence[Frame], info: SourceInfo) -> Iterable[NDArray[np.generic]]:
        """Masks `(n, h, w)` of each frame; the frames are consecutive frames of one source. n may be 0.

        h and w are the size of the frame's picture or of the source.

        Raises:
            ModelError: Masks are missing or damaged.
        """

    def of_picture(self, image: NDArray[np.uint8]) -> NDArray[np.generic]:
        """Masks `(n, h, w)` of a picture `(h, w, 3)` that belongs to no source.

        Raises:
            UsageError: The masks belong to files.
        """


class Encoder(TextEncoder):
    """Both sides of an encoder: regions of pictures, and the text side.

    Regions carry the tokens of their tracks (the mean over a track's regions), unless the encoder has `views`.
    """

    masks: MaskSource | None = None
    """Where its regions come from; None if it finds them itself."""
    has_patches: bool = False
    """True if it implements `patches`."""
    whole_regions: bool = False
    """True if a phrase refers to a whole region in `ground`, False if to the region's largest connected part."""

    @abstractmethod
    def working_size(self, width: int, height: int) -> tuple[int, int]:
        """The size (width, height) to which pictures of the given size are scaled before `encode`."""

    @abstractmethod
    def encode(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[RegionTokens]:
        """Region tokens, before merging, of pictures `(h, w, 3)` uint8 RGB of one working size.

        Points and boxes must be in pixels of the `width` x `height` original.
        """

    @property
    def views(self) -> ViewEncoder | None:
        """The second step; None if regions already carry the tokens of their track."""
        return None

    def parallel(self) -> AbstractContextManager[int]:
        """A context manager that gives the number of calls of `encode` that may run in parallel; by default 1.

        On a CPU, parallel batches are faster than threads within one operation.
        """
        return nullcontext(1)

    def encode_frames(self, frames: Sequence[Frame], info: SourceInfo) -> list[RegionTokens]:
        """Regions of frames of one source, in order; by default those that `encode` finds in the pictures."""
        return self.encode_each([frame.image for frame in frames], [(info.width, info.height)] * len(frames))

    def encode_each(self, images: Sequence[NDArray[np.uint8]], sizes: Sequence[tuple[int, int]]) -> list[RegionTokens]:
        """Regions of pictures that may differ in size. sizes: width and height of each original.

        Neighbours of one size are encoded as one batch.
        """
        found: list[RegionTokens] = []
        pairs = zip(images, sizes, strict=True)
        for (_, (width, height)), same in itertools.groupby(pairs, lambda pair: (pair[0].shape, pair[1])):
            found += self.encode([image for image, _ in same], width, height)
        return found

    def encode_fine(self, frame: Frame, info: SourceInfo) -> RegionTokens:
        """The regions of one frame, with masks at the frame's own size where `masks` gave them."""
        (found,) = self.encode_frames([frame], info)
        return found

    def patches(self, images: Sequence[NDArray[np.uint8]]) -> Float32:
        """Patch features in the space of texts, for heat maps: pictures as for `encode` -> `(B, h, w, Dt)` unit rows.

        Only called if `has_patches`.
        """
        raise NotImplementedError

    def referring(self) -> Encoder:
        """The encoder for finding the region that a phrase refers to (`ground`); by default itself."""
        return self
