"""What every model answers with, wherever it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .grammar import MaskGrammar


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of a model.

    Attributes:
        text: What it wrote.
        tokens: How many tokens that took; None if the model did not say.
        seconds: Time from the question to the answer.
        cut: The answer reached the limit and was cut there.
    """

    text: str
    tokens: int | None
    seconds: float
    cut: bool


class Asker(Protocol):
    """A model that answers a question about a picture. name: for people."""

    name: str

    def ask(
        self, image: NDArray[np.uint8], question: str, *, max_tokens: int, grammar: MaskGrammar | None = None
    ) -> Answer:
        """Answer a question.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            question: The question.
            max_tokens: Maximum number of tokens in the answer.
            grammar: Allow only these masks. UsageError if the model cannot follow it.
        """
