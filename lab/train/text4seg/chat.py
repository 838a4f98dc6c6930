"""From a conversation to tokens, and which of them the loss is on.

The chat template of the model is rendered with and without each answer. What the answer adds is found by comparing the
two, never by searching for marks of a layout, so that any template works that only ever appends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor

from vidmem.errors import MediaError, ModelError
from vidmem.export.coco import open_picture
from vidmem.vlm.chat import adds_special
from vidmem.vlm.local import LocalModel

from .records import Conversation, Turn

IGNORED = -100
"""The label of a token that is not in the loss."""
PER_TOKEN = ("mm_token_type_ids", "token_type_ids")
"""Inputs of a model that have a value for each token; all others but the mask belong to pictures."""


class Unusable(Exception):
    """A record that cannot be trained on; the message is the reason."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One record, ready for a model.

    Attributes:
        ids: `(L,)` int64.
        labels: `(L,)` int64: the id where the loss is on that token, else IGNORED.
        kinds: Other inputs with a value for each token, `(L,)` each.
        pictures: Inputs for the pictures, as the processor makes them.
        where: The record's place, for messages.
    """

    ids: Tensor
    labels: Tensor
    kinds: dict[str, Tensor]
    pictures: dict[str, Tensor]
    where: str

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def answers(self) -> int:
        """The number of tokens that the loss is on."""
        return int((self.labels != IGNORED).sum())


class Chat:
    """The tokens of conversations, by the processor and the template of a model.

    turns: the most turns that the conversations have. Raises ModelError if the template is not one that only appends,
    or if the model has no token that ends an answer.
    """

    def __init__(self, local: LocalModel, turns: int = 1) -> None:
        self.processor, self.template, self.folder = local.processor, local.template, local.folder
        self.stops = _stops(local)
        self._ends = [str(local.tokenizer.convert_ids_to_tokens(token)) for token in self.stops]
        if self._tokens(self._ends[0])[-1:] != [self.stops[0]]:
            raise ModelError(
                f"the tokenizer does not read its own mark {self._ends[0]!r}, which ends an answer; fetch its files "
                f"again: {self.folder}"
            )
        self._check_template(turns)

    def encode(self, conversation: Conversation, max_length: int) -> Example:
        """Return the tokens of a conversation, with labels on its answers and on the tokens that end them.

        A template that ends answers with no token of the model's (that of LLaVA 1.5) gets one after each, so that the
        model learns to stop.

        Raises:
            Unusable: It has more than `max_length` tokens, a picture is missing or damaged, or the processor refuses
                it.
        """
        pictures = [_open(path) for path in conversation.pictures]
        text, spans = self._text(conversation)
        inputs = self._process(text, pictures)
        ids, raw = inputs["input_ids"][0], self._tokens(text)
        if len(ids) > max_length:
            raise Unusable(f"it has {len(ids)} tokens, more than {max_length}")
        labels = torch.full_like(ids, IGNORED)
        seen = 0
        for turn, (start, end) in zip(conversation.turns, spans, strict=True):
            seen += sum(isinstance(part, Path) for part in turn.question)
            # A picture is one mark in `raw` and many in `ids`; those of later turns are not before this answer.
            shift = len(ids) - len(raw)
            if seen < len(pictures):
                shift = len(self._process(text[:end], pictures[:seen])["input_ids"][0]) - len(self._tokens(text[:end]))
            first, last = self._span(raw, text, start, end)
            place = slice(first + shift, last + shift)
            if ids[place].tolist() != raw[first:last]:
                raise Unusable("its pictures and texts cannot be told apart among its tokens")
            labels[place] = ids[place]
        kinds = {name: inputs[name][0] for name in PER_TOKEN if name in inputs}
        others = {n: v for n, v in inputs.items() if n not in (*PER_TOKEN, "input_ids", "attention_mask")}
        return Example(ids, labels, kinds, others, conversation.where)

    def prompt(self, conversation: Conversation) -> dict[str, Tensor]:
        """Return the inputs, with a batch dimension of 1, after which a model writes the last answer. Raises
        Unusable."""
        pictures = [_open(path) for path in conversation.pictures]
        text, spans = self._text(conversation)
        return self._process(text[: spans[-1][0]], pictures)

    def _text(self, conversation: Conversation) -> tuple[str, list[tuple[int, int]]]:
        """The rendered conversation, and where in it each answer begins and its end mark ends."""
        messages = _messages(conversation)
        ahead = len(messages) - 2 * len(conversation.turns)
        text = self._render(messages, False)
        out, at, spans = "", 0, []
        for turn in range(len(conversation.turns)):
            asked = ahead + 2 * turn + 1
            prompt = self._render(messages[:asked], True)
            whole = self._render(messages[: asked + 1], False)
            whole = whole if text.startswith(whole) else whole.rstrip()
            if not (text.startswith(prompt) and text.startswith(whole)) or len(whole) <= len(prompt):
                raise ModelError(
                    "the chat template does not keep prefixes: the text before an answer is another one when the "
                    f"answer is there, so the loss cannot be on answers alone; take another template: {self.folder}"
                )
            added = text[len(prompt) : len(whole)]
            ends = [added.rfind(end) + len(end) for end in self._ends if end in added]
            if not ends:
                added = added.rstrip() + self._ends[0]
            out += text[at : len(prompt)]
            spans.append((len(out), len(out) + max(ends, default=len(added))))
            out, at = out + added, len(whole)
        return out + text[at:], spans

    def _render(self, messages: list[dict[str, Any]], prompt: bool) -> str:
        try:
            return str(
                self.processor.apply_chat_template(
                    messages, chat_template=self.template, tokenize=False, add_generation_prompt=prompt
                )
            )
        except Exception as error:  # Jinja raises what a template wants
            raise ModelError(
                f"the chat template cannot be used ({_first_line(error)}); take the one of the published model: "
                f"{self.folder}"
            ) from None

    def _process(self, text: str, pictures: Sequence[Image.Image]) -> dict[str, Tensor]:
        try:
            inputs = self.processor(
                text=[text],
                images=list(pictures) or None,
                add_special_tokens=adds_special(self.processor.tokenizer, text),
                return_tensors="pt",
            )
        except Exception as error:  # processors raise many kinds of errors when text and pictures do not fit
            raise Unusable(f"the processor refuses it ({_first_line(error)})") from None
        return {name: value for name, value in inputs.items() if isinstance(value, Tensor)}

    def _tokens(self, text: str) -> list[int]:
        """The tokens of a text in which each picture is still one mark."""
        tokenizer = self.processor.tokenizer
        found = tokenizer(text, add_special_tokens=adds_special(tokenizer, text))["input_ids"]
        return [int(token) for token in found]

    def _span(self, raw: list[int], text: str, start: int, end: int) -> tuple[int, int]:
        """Which tokens the characters from `start` to `end` are."""
        before, after = self._tokens(text[:start]), self._tokens(text[:end])
        if raw[: len(before)] != before or raw[: len(after)] != after:
            raise Unusable("the first or last token of an answer is joined with the text beside it")
        return len(before), len(after)

    def _check_template(self, turns: int) -> None:
        words = Turn(("a", Path("picture")), "b"), Turn(("c",), "d")
        for count in (1, 2) if turns > 1 else (1,):
            text, spans = self._text(Conversation(words[:count], "", ""))
            try:
                for start, end in spans:
                    self._span(self._tokens(text), text, start, end)
            except Unusable as error:
                raise ModelError(
                    f"the chat template does not keep prefixes as tokens ({error}); take another template: "
                    f"{self.folder}"
                ) from None


def _messages(conversation: Conversation) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    if conversation.system:
        out.append({"role": "system", "content": [{"type": "text", "text": conversation.system}]})
    for turn in conversation.turns:
        parts = [{"type": "text", "text": p} if isinstance(p, str) else {"type": "image"} for p in turn.question]
        out.append({"role": "user", "content": parts})
        out.append({"role": "assistant", "content": [{"type": "text", "text": turn.answer}]})
    return out


def _stops(local: LocalModel) -> tuple[int, ...]:
    """The tokens that end an answer; the tokenizer's own is first if it is among the model's."""
    given = getattr(getattr(local.model, "generation_config", None), "eos_token_id", None)
    if given is None:
        given = getattr(local.model.config.get_text_config(), "eos_token_id", None)
    ids = [given] if isinstance(given, int) else list(given or ())
    own = local.tokenizer.eos_token_id
    if own is not None:
        ids = [own, *(token for token in ids if token != own)] if own in ids or not ids else ids
    if not ids:
        raise ModelError(
            "the model has no token that ends an answer; write eos_token_id into generation_config.json: "
            f"{local.folder}"
        )
    return tuple(int(token) for token in ids)


def _open(path: Path) -> Image.Image:
    try:
        return ImageOps.exif_transpose(open_picture(path)).convert("RGB")
    except MediaError as error:
        raise Unusable(str(error)) from None
    except (OSError, ValueError, SyntaxError) as error:
        raise Unusable(f"the picture cannot be read ({error}): {path}") from None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:160] if lines else type(error).__name__
