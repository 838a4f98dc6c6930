"""A logits processor for `transformers` that allows nothing but valid masks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .grammar import MaskGrammar, State
from .vocabulary import Vocabulary, vocabulary

if TYPE_CHECKING:
    import torch


def logits_processor(
    tokenizer: Any, grammar: MaskGrammar, prompt_length: int, eos: Collection[int] | None = None
) -> MaskLogits:
    """A processor for `generate(logits_processor=[...])`.

    Args:
        tokenizer: A tokenizer of `transformers`.
        grammar: The masks that are allowed.
        prompt_length: Number of tokens before the answer; 0 if `generate` gets embeddings.
        eos: Ids of the tokens that end an answer; None for the tokenizer's.

    Raises:
        ModelError: The tokenizer cannot write a label or a count.
    """
    tokens = vocabulary(tokenizer)
    tokens.check(grammar)
    return MaskLogits(tokens, grammar, prompt_length, [tokenizer.eos_token_id] if eos is None else eos)


class MaskLogits:
    """Sets the logits of all tokens that may not follow to -inf. For any number of sequences, and for beams.

    Args:
        tokens: The vocabulary of the model.
        grammar: The masks that are allowed.
        prompt_length: Number of tokens before the answer.
        eos: Ids of the tokens that end an answer; they are allowed once the mask is complete.
    """

    def __init__(self, tokens: Vocabulary, grammar: MaskGrammar, prompt_length: int, eos: Collection[int]) -> None:
        self.tokens, self.grammar, self.prompt_length = tokens, grammar, prompt_length
        self._eos = np.array(sorted(eos), np.int64)
        self._states: dict[tuple[int, ...], State] = {}
        self._allowed: dict[State, NDArray[np.int64]] = {}
        self._whole = tokens.has_bytes_of(grammar)
        self._alive: dict[State, bool] = {}

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the logits `(n, vocabulary)` for the sequences `(n, length)`."""
        import torch

        out = torch.full_like(scores, -torch.inf)
        states: dict[tuple[int, ...], State] = {}
        for row, ids in enumerate(input_ids[:, self.prompt_length :].tolist()):
            written = tuple(ids)
            state = states[written] = self._state(written)
            allowed = torch.from_numpy(self.allowed(state)).to(scores.device)
            out[row, allowed] = scores[row, allowed]
        self._states = states
        return out

    def allowed(self, state: State) -> NDArray[np.int64]:
        """The ids of the tokens that may follow, after which the mask can still be finished.

        Raises ModelError if there are none.
        """
        known = self._allowed.get(state)
        if known is None:
            if self.grammar.finished(state):
                known = self._eos
            else:
                ids = [found for to, found in self.tokens.continuations(self.grammar, state) if self._leads_on(to)]
                if not ids:
                    raise ModelError("the tokenizer has no tokens that finish the mask; decode without constraints")
                known = np.concatenate(ids)
            self._allowed[state] = known
        return known

    def _leads_on(self, state: State) -> bool:
        """Return True if tokens can finish the mask. Tokens that are whole words have dead ends: behind a token that
        is a space, no token may begin the next label."""
        if self._whole or self.grammar.finished(state):
            return True
        if (known := self._alive.get(state)) is not None:
            return known
        path = [(state, self._next(state))]
        while path:
            at, following = path[-1]
            for to in following:
                alive = True if self.grammar.finished(to) else self._alive.get(to)
                if alive:
                    self._alive.update((passed, True) for passed, _ in path)
                    return True
                if alive is None:
                    path.append((to, self._next(to)))
                    break
            else:
                self._alive[at] = False
                path.pop()
        return False

    def _next(self, state: State) -> Iterator[State]:
        return iter([to for to, _ in self.tokens.continuations(self.grammar, state)])

    def _state(self, written: tuple[int, ...]) -> State:
        if written and (before := self._states.get(written[:-1])) is not None:
            return self._after(before, written[-1:])
        return self._after(self.grammar.start(), written)

    def _after(self, state: State, ids: tuple[int, ...]) -> State:
        for index in ids:
            if self.grammar.finished(state):  # what follows is eos or padding
                break
            following = self.grammar.advance(state, self.tokens.text(index))
            if following is None:
                raise ModelError("the answer so far is no mask; begin to constrain it at its first token")
            state = following
        return state
