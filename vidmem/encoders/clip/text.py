"""The text side of every open_clip model: phrases, alone or in prompts, to unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UsageError
from ...records import Float32
from ..base import Calibration, EncoderInfo, TextEncoder
from ..templates import BARE, IMAGENET, filled
from ..truncation import Cutting

if TYPE_CHECKING:
    from .files import Loaded

BATCH = 128
"""Texts at a time: 80 prompts of one phrase are one batch, and memory stays small for thousands."""
CONTRAST = ("background, any other thing",)
"""TextRegion's contrast phrase: a track that is rather this than the question does not count as found."""
CONTRAST_NAME, NAME_WORDS = "background, anything but {}", 5
"""Its contrast phrase in one picture, for a name: for phrases of at most so many words. The number is ours: appendix
A.4 says that long ones burden the text encoder."""
SAME_MEANING = 0.95
"""A contrast phrase whose cosine to the question is above this does not speak against it."""
CALIBRATION = Calibration(
    text_threshold=0.2,
    contrast_probability=0.5,  # the phrase against CONTRAST
    visual_threshold=0.8,
    product_threshold=0.18,
    temperature=0.01,  # CLIP's logit scale, 100
)
"""Not calibrated, for lack of weights to calibrate with. Cosines of CLIP to a fitting text lie at .2 to .3."""


class ClipText(TextEncoder):
    """The text side, float32 on the CPU wherever pictures are encoded: a question gives one answer everywhere.

    prompts: templates that each phrase is put into; the unit mean of their unit vectors is its vector.
    """

    has_templates = True

    def __init__(self, info: EncoderInfo, loaded: Loaded, prompts: tuple[str, ...]) -> None:
        self.info, self._loaded, self._prompts = info, loaded, prompts
        self._against: Float32 | None = None
        self._cuttings: dict[tuple[str, ...], Cutting] = {}

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        """As TextEncoder. Of a phrase that does not fit with its longest prompt the first words count, see Cutting."""
        return self.encode_in(phrases, self._prompts)

    def fits(self, phrase: str) -> bool:
        """Whether all of a phrase counts."""
        return self._cutting(self._prompts).fits(phrase)

    def encode_names(self, names: Sequence[str]) -> Float32:
        """`(n, Dt)` unit vectors of names, each in the 80 sentences of IMAGENET: slower, and better for what is to be
        told apart from many others."""
        return self.encode_in(names, IMAGENET)

    def encode_in(self, phrases: Sequence[str], prompts: tuple[str, ...] = BARE) -> Float32:
        """`(n, Dt)` unit vectors of the phrases in `prompts`. Raises UsageError for one that is empty, or whose first
        word is too long."""
        if any(not phrase.strip() for phrase in phrases):
            raise UsageError("the phrase is empty; name a thing")
        phrases = [self._cutting(prompts)(phrase) for phrase in phrases]
        texts = [text for phrase in phrases for text in filled(prompts, phrase)]
        vectors = self._vectors(texts).reshape(len(phrases), len(prompts), self.info.text_dim).mean(axis=1)
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)

    def contrast(self, vector: Float32) -> Float32:
        if self._against is None:
            self._against = self.encode_in(CONTRAST)
        against: Float32 = self._against[self._against @ vector < SAME_MEANING]
        return against

    def contrast_for(self, phrase: str, vector: Float32) -> Float32:
        """What speaks against a phrase in one picture, `(1, Dt)`: "background, anything but ..." for a name, and
        CONTRAST for a sentence."""
        if len(phrase.split()) > NAME_WORDS:
            return self.encode_in(CONTRAST)
        return self.encode_in([CONTRAST_NAME.format(phrase)])

    def _cutting(self, prompts: tuple[str, ...]) -> Cutting:
        """Prompts of many words are not those of many tokens, so each is counted; all are short."""
        if prompts not in self._cuttings:
            count = self._loaded.count
            self._cuttings[prompts] = Cutting(
                lambda phrase: max(count(text) for text in filled(prompts, phrase)), self._loaded.context
            )
        return self._cuttings[prompts]

    def _vectors(self, texts: list[str]) -> Float32:
        """Unit vectors of texts as they are, `(n, Dt)`."""
        import torch
        from torch.nn import functional as F

        parts = [np.empty((0, self.info.text_dim), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(texts), BATCH):
                ids = self._loaded.tokenize(texts[start : start + BATCH])
                parts.append(F.normalize(self._loaded.model.encode_text(ids).float(), dim=-1).numpy())
        return np.concatenate(parts)


def text_dim(loaded: Loaded) -> int:
    """Dt: measured on one text, since each kind of tower names it otherwise."""
    import torch

    with torch.inference_mode():
        return int(loaded.model.encode_text(loaded.tokenize(["a"])).shape[-1])
