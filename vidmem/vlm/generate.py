"""Ask a model from a folder: the most likely token at each step, up to a limit."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..export.textmask import CLOSE, OPEN
from .answer import Answer
from .chat import encode, messages, render
from .constrained import logits_processor
from .grammar import MaskGrammar
from .local import LocalModel, load

if TYPE_CHECKING:
    import torch

TAIL = 24
"""Tokens at the end of an answer in which the end tag is looked for; each byte of the tag may be a token."""


class LocalAsker:
    """An `Asker` that runs here."""

    def __init__(self, local: LocalModel) -> None:
        self.local, self.name = local, local.folder.name
        self.eos = _end_tokens(local)

    @classmethod
    def open(cls, folder: str, device: str | None = None) -> LocalAsker:
        """Load the model of a folder. Raises as `local.load`."""
        return cls(load(folder, device))

    def ask(
        self, image: NDArray[np.uint8], question: str, *, max_tokens: int, grammar: MaskGrammar | None = None
    ) -> Answer:
        import torch

        local, begun = self.local, time.perf_counter()
        inputs = encode(local, image, render(local, messages(image, question), prompt=True))
        start = inputs["input_ids"].shape[1]
        inputs = inputs.to(local.device)
        for name, value in inputs.items():
            if torch.is_floating_point(value):
                inputs[name] = value.to(local.dtype)
        processors = [] if grammar is None else [logits_processor(local.tokenizer, grammar, start, self.eos)]
        try:
            with torch.inference_mode():
                ids = self._generate(inputs, start, max_tokens, processors)[0, start:].tolist()
        except torch.OutOfMemoryError:
            raise ModelError(
                f"the model does not fit into the memory of {local.device}; take a smaller one, or `device` cpu: "
                f"{local.folder}"
            ) from None
        except (RuntimeError, ValueError, IndexError) as error:  # a folder whose parts do not fit together
            lines = str(error).splitlines() or [type(error).__name__]
            raise ModelError(f"the model cannot answer ({lines[0][:160]}); fetch it again: {local.folder}") from None
        ended = next((i for i, token in enumerate(ids) if token in self.eos), None)
        text = self.decoded(ids[:ended])
        cut = ended is None and CLOSE not in text
        return Answer(text, len(ids), time.perf_counter() - begun, cut)

    def decoded(self, ids: Sequence[int]) -> str:
        """The text of tokens without the special ones, but with the tags of masks even if these are special."""
        tokenizer = self.local.tokenizer
        tags = {tokenizer.convert_tokens_to_ids(tag) for tag in (OPEN, CLOSE)}
        added = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
        hidden = added.union(tokenizer.all_special_ids) - tags
        shown = [token for token in ids if token not in hidden]
        return str(tokenizer.decode(shown, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _generate(self, inputs: Any, start: int, max_tokens: int, processors: Sequence[Any]) -> torch.Tensor:
        from transformers import LogitsProcessorList, StoppingCriteriaList

        from ..encoders.transformers_compat import quiet

        pad = self.local.tokenizer.pad_token_id
        with quiet():
            generated: torch.Tensor = self.local.model.generate(
                **inputs,
                max_new_tokens=max_tokens,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                # Some models come with a penalty for repetition, and a mask repeats its labels.
                repetition_penalty=1.0,
                no_repeat_ngram_size=0,
                eos_token_id=sorted(self.eos) or None,
                pad_token_id=pad if pad is not None else min(self.eos, default=0),
                logits_processor=LogitsProcessorList(processors),
                stopping_criteria=StoppingCriteriaList([_EndTag(self, start)]),
            )
        return generated


class _EndTag:
    """Stops an answer behind the end tag."""

    def __init__(self, asker: LocalAsker, start: int) -> None:
        self.asker, self.start = asker, start

    def __call__(self, input_ids: torch.Tensor, scores: Any, **more: Any) -> torch.Tensor:
        import torch

        done = [CLOSE in self.asker.decoded(ids[-TAIL:]) for ids in input_ids[:, self.start :].tolist()]
        return torch.tensor(done, device=input_ids.device)


def _end_tokens(local: LocalModel) -> Collection[int]:
    """The tokens that end an answer: the model's and the tokenizer's."""
    named = getattr(local.model.generation_config, "eos_token_id", None)
    ends = {*named} if isinstance(named, (list, tuple)) else {named}
    return frozenset(token for token in ends | {local.tokenizer.eos_token_id} if isinstance(token, int))
