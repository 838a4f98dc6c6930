"""The text side of all open_clip models: turns phrases into unit vectors, with or without prompts."""

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
"""Number of texts that are encoded at a time. The 80 prompts of a phrase fit."""
CONTRAST = ("background, any other thing",)
"""TextRegion's contrast phrase. A track that is more similar to it than to the question does not count as found."""
CONTRAST_NAME, NAME_WORDS = "background, anything but {}", 5
"""TextRegion's contrast phrase for a name in a single picture, and the maximum number of words of a name. The paper
says only that long phrases overload the text encoder (appendix A.4); the number is our choice."""
SAME_MEANING = 0.95
"""A contrast phrase whose cosine to the question is at least this means the same and is left out."""
CALIBRATION = Calibration(
    text_threshold=0.2,
    contrast_probability=0.5,  # the phrase against CONTRAST
    visual_threshold=0.8,
    product_threshold=0.18,
    temperature=0.01,  # CLIP's logit scale, 100
)
"""Not calibrated, for lack of weights to calibrate with. CLIP's cosine to a fitting text is .2 to .3."""


class ClipText(TextEncoder):
    """The text side. It runs in float32 on the CPU, so that a question has the same answer on every device.

    prompts: Templates that phrases are put into. A phrase's vector is the mean of its unit vectors, normalised.
    """

    has_templates = True

    def __init__(self, info: EncoderInfo, loaded: Loaded, prompts: tuple[str, ...]) -> None:
        self.info, self._loaded, self._prompts = info, loaded, prompts
        self._contrast: Float32 | None = None
        self._cuttings: dict[tuple[str, ...], Cutting] = {}

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        """As `TextEncoder.encode_text`. A phrase that does not fit with its longest prompt is cut; see `Cutting`."""
        return self.encode_in(phrases, self._prompts)

    def fits(self, phrase: str) -> bool:
        """As `TextEncoder.fits`."""
        return self._cutting(self._prompts).fits(phrase)

    def encode_names(self, names: Sequence[str]) -> Float32:
        """`(n, Dt)` unit vectors of names, each from the 80 sentences of IMAGENET.

        Slower than `encode_text`, and better at telling many names apart.
        """
        return self.encode_in(names, IMAGENET)

    def encode_in(self, phrases: Sequence[str], prompts: tuple[str, ...] = BARE) -> Float32:
        """`(n, Dt)` unit vectors of phrases that are put into `prompts`.

        Raises:
            UsageError: A phrase is empty, or its first word is too long.
        """
        if any(not phrase.strip() for phrase in phrases):
            raise UsageError("the phrase is empty; name a thing")
        phrases = [self._cutting(prompts)(phrase) for phrase in phrases]
        texts = [text for phrase in phrases for text in filled(prompts, phrase)]
        vectors = self._vectors(texts).reshape(len(phrases), len(prompts), self.info.text_dim).mean(axis=1)
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)

    def contrast(self, vector: Float32) -> Float32:
        if self._contrast is None:
            self._contrast = self.encode_in(CONTRAST)
        different: Float32 = self._contrast[self._contrast @ vector < SAME_MEANING]
        return different

    def contrast_for(self, phrase: str, vector: Float32) -> Float32:
        """As `TextEncoder.contrast_for`, `(1, Dt)`: CONTRAST_NAME for a name, CONTRAST for a sentence."""
        if len(phrase.split()) > NAME_WORDS:
            return self.encode_in(CONTRAST)
        return self.encode_in([CONTRAST_NAME.format(phrase)])

    def _cutting(self, prompts: tuple[str, ...]) -> Cutting:
        """Cuts phrases so that each prompt fits. The longest prompt in words need not be the longest in tokens."""
        if prompts not in self._cuttings:
            count = self._loaded.count
            self._cuttings[prompts] = Cutting(
                lambda phrase: max(count(text) for text in filled(prompts, phrase)), self._loaded.context
            )
        return self._cuttings[prompts]

    def _vectors(self, texts: list[str]) -> Float32:
        """Unit vectors `(n, Dt)` of texts."""
        import torch
        from torch.nn import functional as F

        parts = [np.empty((0, self.info.text_dim), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(texts), BATCH):
                ids = self._loaded.tokenize(texts[start : start + BATCH])
                parts.append(F.normalize(self._loaded.model.encode_text(ids).float(), dim=-1).numpy())
        return np.concatenate(parts)


def text_dim(loaded: Loaded) -> int:
    """Dt, measured on a text, since towers have no common name for it."""
    import torch

    with torch.inference_mode():
        return int(loaded.model.encode_text(loaded.tokenize(["a"])).shape[-1])
